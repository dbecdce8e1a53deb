"""Following a log, on SQLite and on PostgreSQL: every entry once and in order, and changes of the log are reported."""

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ledger.store.continuing import continue_log
from ledger.store.log import Ledger
from ledger.views.follow import BATCH_ENTRIES, NOWHERE, Batch, Change, Follower, Pace, Place
from schemas.records.record_codec import encode
from schemas.records.records import LogContinued, ModelPromoted, SlotScored
from tests.ledger.places import LOG, Place as Home, scored

SOON_S = 20.0  # timeout for events that take milliseconds
NUMBERS = itertools.count()


@pytest.fixture(params=["sqlite", "postgres"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    """The place of an empty ledger."""
    found = Home(tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else "")
    yield found
    found.abandon()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Home]:
    """The place of an empty ledger, on SQLite."""
    found = Home(tmp_path)
    yield found
    found.abandon()


def grow(ledger: Ledger, count: int, log: str = LOG) -> int:
    """Append some entries; returns the size after them."""
    size = ledger.head(log).size
    return ledger.append(log, size, [scored(size + at) for at in range(count)]).size


def take(follower: Follower, limit: int = BATCH_ENTRIES) -> Batch:
    """The next batch; moves the follower after it."""
    batch = follower.step(limit)
    assert batch is not None
    follower.move(batch.next)
    return batch


def indexes(batch: Batch) -> list[int]:
    """Indexes of the entries in a batch."""
    return [stored.index for stored in batch.entries]


def cut_and_continue(home: Home, size: int) -> Ledger:
    """The ledger, reopened after its log was rolled back and then continued."""
    home.close()
    home.set_back(size)
    ledger = home.open()
    continue_log(ledger, LOG, "restored from a copy")
    return ledger


def test_batches_are_bounded_and_leave_nothing_out(home: Home) -> None:
    """A follower that starts in the middle gets every entry once, in order, at most `limit` per batch, then nothing."""
    ledger = home.open()
    grow(ledger, 9)
    follower = Follower(ledger, LOG, Place(1, 2))
    assert [[2, 3, 4], [5, 6, 7], [8]] == [indexes(take(follower, 3)) for _ in range(3)]
    assert follower.step() is None
    grow(ledger, 1)
    assert ([9], None) == (indexes(take(follower)), follower.step())


def test_a_long_log_comes_in_batches(small: Home) -> None:
    """Without an explicit limit, no batch is larger than the default."""
    ledger = small.open()
    promoted = [encode(ModelPromoted(region="nyc", measure="pickups", model=b"%d" % i, alias="champion", reason="")) for i in range(2_001)]
    ledger.append("control", 0, promoted)
    follower = Follower(ledger, "control", Place(1, 0))
    assert [BATCH_ENTRIES, BATCH_ENTRIES, 1] == [len(take(follower).entries) for _ in range(3)]


def test_what_is_not_dealt_with_comes_again(home: Home) -> None:
    """A batch is returned again until the follower is moved, so that a failing handler loses nothing."""
    ledger = home.open()
    grow(ledger, 3)
    follower = Follower(ledger, LOG, Place(1, 0))
    first = follower.step(2)
    assert first == follower.step(2)
    assert [[0, 1], [2]] == [indexes(take(follower, 2)), indexes(take(follower, 2))]


def test_other_kinds_are_passed_over(home: Home) -> None:
    """With kinds, a batch holds only entries of those kinds, and its next place is after the others too."""
    ledger = home.open()
    promoted = encode(ModelPromoted(region="nyc", measure="pickups", model=b"m", alias="champion", reason=""))
    ledger.append(LOG, 0, [promoted, scored(1), promoted, promoted, scored(2), promoted])
    follower = Follower(ledger, LOG, Place(1, 0), kinds=(SlotScored,))
    assert ([1], Place(1, 2)) == (indexes(take(follower, 1)), follower.place)
    assert ([4], Place(1, 6)) == (indexes(take(follower, 2)), follower.place)
    assert follower.step() is None
    both = Follower(ledger, LOG, Place(1, 0), kinds=(SlotScored, ModelPromoted))
    assert [0, 1, 2, 3, 4, 5] == indexes(take(both))


def test_a_continued_log_is_said_before_its_entries(home: Home) -> None:
    """A follower after the cut gets the change until it moves, and resumes at the cut, where the log records the change."""
    ledger = home.open()
    grow(ledger, 8)
    follower = Follower(ledger, LOG, Place(1, 0))
    take(follower)
    ledger = cut_and_continue(home, 5)
    grow(ledger, 6)
    follower = Follower(ledger, LOG, follower.place)
    for _ in range(2):
        batch = follower.step()
        assert batch is not None
        assert (Change.CONTINUED, 8, Place(2, 5), ()) == (batch.change, batch.start, batch.next, batch.entries)
    follower.move(Place(2, 5))
    after = take(follower)
    assert list(range(5, ledger.head(LOG).size)) == indexes(after)
    assert LogContinued.__name__ in [stored.kind for stored in after.entries[:3]]
    assert follower.step() is None


def test_who_had_not_reached_the_cut_keeps_its_place(home: Home) -> None:
    """A follower before the cut gets the new origin and misses no entry."""
    grow(home.open(), 8)
    ledger = cut_and_continue(home, 5)
    follower = Follower(ledger, LOG, Place(1, 3))
    assert (Change.CONTINUED, Place(2, 3)) == (take(follower).change, follower.place)
    assert 3 == indexes(take(follower))[0]


def test_a_log_that_went_back_is_said(home: Home) -> None:
    """A log that is shorter than the place without a record of it is a change, never an empty batch."""
    ledger = home.open()
    grow(ledger, 8)
    follower = Follower(ledger, LOG, Place(1, 0))
    take(follower)
    home.set_back(5)
    batch = Follower(home.open(), LOG, follower.place).step()
    assert batch is not None
    assert (Change.WENT_BACK, 8, Place(1, 5)) == (batch.change, batch.start, batch.next)


def test_a_log_of_the_same_length_that_is_another_is_said(small: Home) -> None:
    """A follower at the end of a log reports once that the log was rewritten."""
    ledger = small.open()
    grow(ledger, 4)
    follower = Follower(ledger, LOG, Place(1, 0))
    take(follower)
    assert follower.step() is None
    small.tamper("UPDATE logs SET frontier = zeroblob(32)")
    batch = follower.step()
    assert batch is not None
    assert Change.WENT_BACK is batch.change
    follower.move(batch.next)
    assert follower.step() is None


def test_who_never_looked_is_told_the_origin(home: Home) -> None:
    """From NOWHERE, a follower first reports the origin of the log, even for an empty log."""
    ledger = home.open()
    follower = Follower(ledger, LOG)
    assert NOWHERE == follower.place
    assert (Change.CONTINUED, Place(1, 0)) == (take(follower).change, follower.place)
    assert follower.step() is None
    grow(ledger, 2)
    assert [0, 1] == indexes(take(follower))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5), st.booleans()), max_size=12))
def test_a_place_taken_up_again_is_as_if_never_left(small: Home, steps: list[tuple[int, int, bool]]) -> None:
    """Whenever the log grows and another follower takes over at the same place, all entries come once and in order."""
    ledger, log = small.open(), f"log{next(NUMBERS)}"
    follower, seen = Follower(ledger, log), list[int]()
    for appended, limit, restarted in steps:
        grow(ledger, appended, log)
        if restarted:
            follower = Follower(ledger, log, follower.place)
        batch = follower.step(limit)
        if batch is not None:
            seen += indexes(batch)
            follower.move(batch.next)
    for batch in follower.catch_up(3):
        seen += indexes(batch)
        follower.move(batch.next)
    assert list(range(ledger.head(log).size)) == seen
    small.close()


def test_what_comes_is_handled_until_told_to_stop(home: Home) -> None:
    """A running follower handles old and new entries once, also of a log that did not exist, and ends when `stop` is set."""
    writer, stop, seen = home.open(), threading.Event(), list[int]()

    def handle(batch: Batch) -> Place:
        seen.extend(indexes(batch))
        return batch.next

    thread = threading.Thread(target=Follower(home.open(), LOG).run, args=(stop, handle))
    thread.start()
    for count in (1, 2, 3):
        grow(writer, count)
        give_up_at = time.monotonic() + SOON_S
        while len(seen) < writer.head(LOG).size and time.monotonic() < give_up_at:
            time.sleep(0.01)
    stop.set()
    thread.join(SOON_S)
    assert not thread.is_alive()
    assert [0, 1, 2, 3, 4, 5] == seen


class Waits:
    """A fake wake-up that records the timeouts and wakes when configured."""

    def __init__(self, *woken: bool) -> None:
        self.asked_s: list[float] = []
        self._woken = list(woken)

    def wait(self, stop: object, timeout_s: float) -> bool:
        """Record the timeout."""
        self.asked_s.append(timeout_s)
        return self._woken.pop(0)

    def close(self) -> None:
        """Nothing to close."""


def test_waits_double_until_something_comes() -> None:
    """An idle loop waits longer each time up to a bound; a wake-up or a new entry resets the wait."""
    waits = Waits(False, False, False, False, True, False, False)
    pace = Pace(waits, 0.1, 0.5)
    for _ in range(6):
        pace.wait(threading.Event())
    pace.restart()
    pace.wait(threading.Event())
    assert [0.1, 0.2, 0.4, 0.5, 0.5, 0.1, 0.1] == waits.asked_s
