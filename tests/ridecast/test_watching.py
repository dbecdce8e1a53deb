"""The last known state: it has an age when it is old, and neither an error nor a hang of the look-up reaches whoever shows it."""

import threading
import time

import pytest

from ridecast import watching
from ridecast.watching import AGED_AFTER_S, LastKnown
from schemas.errors import StoreUnavailable


def test_an_old_answer_has_its_age_and_the_reason() -> None:
    """While the look-up fails the last answer stays, with its age and the reason; the next answer has neither."""
    now_s = [0.0]
    answers: list[str | Exception] = ["slot 1", StoreUnavailable("no database"), ValueError("bug"), "slot 2"]

    def look() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    known = LastKnown(look, "starting ...", lambda: now_s[0])
    assert known.text() == "starting ..."
    known.once()
    now_s[0] = AGED_AFTER_S - 1
    known.once()
    assert known.text() == "slot 1"
    now_s[0] = 60.0
    assert known.text() == "slot 1  (as of 60 s ago: no database)"
    known.once()
    assert known.text() == "slot 1  (as of 60 s ago: ValueError('bug'))"
    known.once()
    assert known.text() == "slot 2"


def test_the_last_word_is_looked_up() -> None:
    """At the end the summary is read once, after the last look-up has ended."""
    known = LastKnown(lambda: "slot 1", "starting ...")
    known.start()
    assert known.end(lambda: "all done") == "all done"


def test_a_look_up_that_hangs_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a database that does not answer, the state is old and the end comes all the same."""
    monkeypatch.setattr(watching, "LAST_WORD_S", 0.2)
    monkeypatch.setattr(watching, "LOOK_EVERY_S", 0.01)
    looking, release = threading.Event(), threading.Event()

    def look() -> str:
        looking.set()
        release.wait(30)
        return "late"

    known = LastKnown(look, "starting ...")
    known.start()
    assert looking.wait(10)
    begun = time.monotonic()
    assert known.end(lambda: "all done") == "starting ..."
    assert time.monotonic() - begun < 5
    release.set()
