"""Heartbeats: a child that works is heard, one that is silent is noticed, and a suspended machine is no silence."""

import os

import pytest

from dataflows.stream.stopping import nothing
from ridecast.heartbeat import BEAT_EVERY_S, START_LIMITS, VARIABLE, Heartbeat, Pulse, heartbeat_of


@pytest.fixture
def pulse() -> Pulse:
    """A pipe between a child and its supervisor, at second 0."""
    return Pulse(0.0)


def test_a_beat_ends_the_silence(pulse: Pulse) -> None:
    """Silence grows in each turn and ends with a beat."""
    assert [1.0, 2.0] == [pulse.silent_s(1.0), pulse.silent_s(2.0)]
    os.write(pulse.writing, b"..")
    assert (0.0, True) == (pulse.silent_s(3.0), pulse.begun)
    assert 0.5 == pulse.silent_s(3.5)


def test_the_start_may_take_longer(pulse: Pulse) -> None:
    """Before its first beat a child has a multiple of the limit; after it, the limit."""
    seconds = range(1, START_LIMITS * 5 + 2)
    assert [float(START_LIMITS * 5 + 1)] == [now for now in map(float, seconds) if pulse.hangs(now, 5.0)]
    os.write(pulse.writing, b".")
    begin = float(seconds[-1])
    assert [False] * 6 + [True] == [pulse.hangs(begin + second, 5.0) for second in range(7)]


def test_a_suspended_machine_is_no_silence(pulse: Pulse) -> None:
    """An hour in which the supervisor itself did not turn counts as one second."""
    os.write(pulse.writing, b".")
    assert not pulse.hangs(1.0, 60.0)
    assert not pulse.hangs(3_601.0, 60.0)
    assert 1.0 == pytest.approx(pulse.silent_s(3_601.0))


def test_a_closed_pipe_is_silent(pulse: Pulse) -> None:
    """When the child has ended, reading its pipe is no beat."""
    pulse.hand_over()
    assert (1.0, False) == (pulse.silent_s(1.0), pulse.begun)
    pulse.close()


def test_beats_are_few_and_never_block() -> None:
    """However often a loop turns, a beat is sent at most every half second; a full or broken pipe changes nothing."""
    reading, writing = os.pipe()
    now_s = [0.0]
    environ = {VARIABLE: str(writing)}
    assert heartbeat_of(environ) is not nothing
    assert environ == {}
    beat = Heartbeat(writing, lambda: now_s[0]).beat
    for _ in range(100):
        beat()
    now_s[0] = BEAT_EVERY_S
    beat()
    assert os.read(reading, 100) == b".."
    os.set_blocking(reading, False)
    for turn in range(1, 70_000):  # more than a pipe holds
        now_s[0] += BEAT_EVERY_S * turn
        beat()
    os.close(reading)
    now_s[0] += BEAT_EVERY_S * 1e6
    beat()
    os.close(writing)


def test_a_process_without_a_supervisor_has_no_heartbeat() -> None:
    """A worker that a person starts by hand beats for nobody."""
    assert heartbeat_of({}) is nothing
    assert heartbeat_of({VARIABLE: "x"}) is nothing
