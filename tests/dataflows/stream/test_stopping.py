"""One stop event: signals set it, in any moment, and every waiter hears of it."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from dataflows.stream.stopping import SAME_REQUEST_S, SIGNALS, StopEvent, stop_on_signals


@pytest.fixture
def stop() -> Iterator[StopEvent]:
    """An event that listens; afterwards signals mean what they meant before."""
    before = [signal.getsignal(number) for number in SIGNALS]
    yield stop_on_signals()
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_wait_without_a_limit(stop: StopEvent, number: signal.Signals) -> None:
    """A loop that waits in the main thread for nothing in particular ends when the signal comes."""
    assert not stop.is_set()
    threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
    assert stop.wait()
    assert stop.is_set()
    assert number == stop.number


def test_the_first_signal_is_the_one_that_asked(stop: StopEvent) -> None:
    """A second signal does not change the exit code that the first one leads to."""
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    assert stop.is_set()
    assert signal.SIGTERM == stop.number


def test_every_waiter_wakes() -> None:
    """Threads that wait on the same event all end, and later waits return at once."""
    stop, woken = StopEvent(), list[bool]()
    threads = [threading.Thread(target=lambda: woken.append(stop.wait(30))) for _ in range(3)]
    for thread in threads:
        thread.start()
    stop.set()
    for thread in threads:
        thread.join(10)
    assert [True] * 3 == woken
    assert stop.wait(30)
    assert 0 == stop.number


def test_a_wait_has_its_limit() -> None:
    """Without a stop a wait takes as long as it was given, and says so."""
    stop, begun = StopEvent(), time.monotonic()
    assert not stop.wait(0.05)
    assert 0.05 <= time.monotonic() - begun < 5
    assert not stop.wait(0)


def test_every_look_shows_that_the_process_works() -> None:
    """Loops that look or wait are heard, a long wait again and again, and a process that is still starting is not."""
    looks: list[None] = []
    stop = StopEvent(lambda: looks.append(None))
    stop.starting = True
    stop.is_set()
    assert looks == []
    stop.starting = False
    stop.is_set()
    assert len(looks) == 1
    stop.wait(1.2)
    assert len(looks) >= 3


def test_a_further_signal_is_told_apart_from_an_echo() -> None:
    """A second signal right after the first is the same request; a later one calls the handler, wherever the process is."""
    before = [signal.getsignal(number) for number in SIGNALS]
    stop, again = StopEvent(), list[int]()
    stop.listen(again=again.append)
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
    assert (stop.is_set(), again) == (True, [])
    time.sleep(SAME_REQUEST_S + 0.1)
    os.kill(os.getpid(), signal.SIGTERM)
    assert (signal.SIGINT, [signal.SIGTERM]) == (stop.number, again)
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)
