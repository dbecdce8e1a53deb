"""What a person sees of the words of children: each thing once, nothing that only a debugger reads."""

import io
import os

import pytest

from ridecast.relay import REPEAT_AFTER_S, Relay, traceback_wanted


class Heard:
    """A relay whose clock stands where a test puts it, and what came out of it."""

    def __init__(self, *, everything: bool = False) -> None:
        self.lines: list[str] = []
        self.now_s = 0.0
        self._relay = Relay(self.lines.append, everything=everything, clock=lambda: self.now_s)

    def hear(self, text: str | bytes) -> list[str]:
        """Everything that has come out once a child has said this."""
        self._relay.lines(io.BytesIO(text if isinstance(text, bytes) else text.encode()))
        return self.lines


PANIC = "thread '<unnamed>' panicked at src/run.rs:1:\nconnection closed\nnote: run with `RUST_BACKTRACE=1` environment variable\n"


def test_lines_come_through_in_order() -> None:
    """What is no noise is passed on without the space at its end; empty lines are not."""
    assert ["one", "  two", "three"] == Heard().hear("one\n  two \n\n\nthree")


def test_the_same_is_said_once_a_minute() -> None:
    """A child that is started again and again repeats itself: whoever watches hears it again after a minute."""
    heard = Heard()
    heard.hear("ridecast: disk full\n" * 3)
    heard.now_s = REPEAT_AFTER_S - 1
    assert heard.hear("ridecast: disk full\nother\n") == ["ridecast: disk full", "other"]
    heard.now_s = REPEAT_AFTER_S
    assert heard.hear("ridecast: disk full\n") == ["ridecast: disk full", "other", "ridecast: disk full"]


def test_a_time_stamp_makes_no_difference() -> None:
    """The same log line at another moment is the same; it is shown with the time of the first."""
    first, second = "2026-01-02 03:04:05,678 WARNING kafka away", "2026-01-02 03:04:06,000 WARNING kafka away"
    assert [first] == Heard().hear(f"{first}\n{second}\n")


@pytest.mark.parametrize(
    "noise",
    [
        PANIC,
        "note: Some details are omitted, run with `RUST_BACKTRACE=full`\n",
        "worker 1:\terror connecting to worker 0: refused; retrying\n",
        "worker 0:\tconnection from worker 1\n",
    ],
)
def test_what_a_cluster_says_of_itself_is_left_out(noise: str) -> None:
    """A panic with its text and its hint, and how processes meet, are not passed on; what stands around them is."""
    assert ["before", "after"] == Heard().hear(f"before\n{noise}after\n")


def test_whoever_looks_for_a_fault_gets_everything() -> None:
    """With `everything` no line is left out, not the second of two equal ones either."""
    assert PANIC.splitlines() * 2 == Heard(everything=True).hear(PANIC * 2)


def test_bytes_that_are_no_text_are_shown() -> None:
    """A child's broken bytes stop nothing."""
    assert ["a\ufffdb", "c"] == Heard().hear(b"a\xffb\nc\n")


def test_a_stream_is_followed_until_it_ends() -> None:
    """The thread that follows a pipe ends with it, and closes it."""
    lines: list[str] = []
    out, into = os.pipe()
    stream = os.fdopen(out, "rb")
    thread = Relay(lines.append).follow(stream)
    os.write(into, b"one\ntw")
    os.write(into, b"o\n")
    os.close(into)
    thread.join(10)
    assert (["one", "two"], False, True) == (lines, thread.is_alive(), stream.closed)


@pytest.mark.parametrize(("value", "wanted"), [("1", True), ("", False), (None, False)])
def test_a_variable_asks_for_everything(monkeypatch: pytest.MonkeyPatch, value: str | None, wanted: bool) -> None:
    """RIDECAST_TRACEBACK with any text asks for everything."""
    monkeypatch.delenv("RIDECAST_TRACEBACK", raising=False)
    if value is not None:
        monkeypatch.setenv("RIDECAST_TRACEBACK", value)
    assert wanted is traceback_wanted()
