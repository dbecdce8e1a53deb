"""A past that happens again: what is released when, in steps, after interruptions, and at a clock's pace."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from dataflows.connectors.feed import READ_EVENTS, Feed
from dataflows.connectors.files.ridelog import RideLogReader, RideLogWriter
from dataflows.stream.stopping import StopEvent
from tests.tree import ROOT

START_US = 1_400_000_000_000_000
S_US = 1_000_000
NUMBERS = iter(range(10**9))

Log = list[list[tuple[int, bytes]]]  # per partition: time, value


def write(folder: Path, times: list[list[int]]) -> Log:
    """A finished log of events at these seconds, per partition."""
    log: Log = [[(START_US + s * S_US, b"%d at %d, %d" % (p, s, i)) for i, s in enumerate(ts)] for p, ts in enumerate(times)]
    with RideLogWriter(folder, len(times)) as writer:
        for partition, entries in enumerate(log):
            for start in range(0, len(entries), 3):
                part = entries[start : start + 3]
                writer.append(partition, np.array([at for at, _ in part], np.int64), [b""] * len(part), [value for _, value in part])
                writer.flush()
    return log


def read(folder: Path, partitions: int) -> Log:
    """What a log holds now."""
    out: Log = []
    for partition in range(partitions):
        batch = RideLogReader(folder, partition).read(0, 10**6)
        out.append([] if batch is None else list(zip(batch.logged_at_us.tolist(), batch.values, strict=True)))
        assert batch is None or batch.offsets.tolist() == list(range(len(batch)))
    return out


def until(log: Log, until_us: int) -> Log:
    """The entries logged before that time."""
    return [[entry for entry in entries if entry[0] < until_us] for entries in log]


times = st.lists(st.lists(st.integers(0, 60), max_size=25).map(sorted), min_size=1, max_size=3)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times, st.lists(st.tuples(st.integers(-1, 70), st.booleans()), max_size=5))
def test_what_is_due_is_there_and_nothing_else(tmp_path: Path, seconds: list[list[int]], steps: list[tuple[int, bool]]) -> None:
    """After any steps, with interruptions anywhere, the copy holds exactly what was logged before the latest time, at its own offsets."""
    folder = tmp_path / str(next(NUMBERS))
    log = write(folder / "past", seconds)
    feed, latest, released = Feed(folder / "past", folder / "live"), START_US - S_US, 0
    for second, interrupted in [*steps, (71, False)]:
        at_us = START_US + second * S_US
        latest = max(latest, at_us)
        released += feed.release(at_us)
        due = until(log, latest)
        assert due == read(folder / "live", len(log))
        assert sum(map(len, due)) == released
        left = [entry[0] for entries, there in zip(log, due, strict=True) for entry in entries[len(there) :]]
        assert min(left, default=None) == feed.next_us()
        assert (not left) == feed.done
        if interrupted:
            feed.close()
            feed = Feed(folder / "past", folder / "live")
    feed.close()
    assert log == read(folder / "live", len(log))


def test_more_than_one_read_is_released_at_once(tmp_path: Path) -> None:
    """A step that is due holds as many events as it holds, whatever one read gives."""
    n = 2 * READ_EVENTS + 7
    at = START_US + np.arange(n)
    with RideLogWriter(tmp_path / "past", 1) as writer:
        writer.append(0, at, [b""] * n, [b"%d" % i for i in range(n)])
    feed = Feed(tmp_path / "past", tmp_path / "live")
    assert n == feed.release(START_US + n)
    assert feed.done
    feed.close()


def test_time_passes_at_the_pace_that_was_asked_for(tmp_path: Path) -> None:
    """An hour at 7,200 times its speed takes half a second, in order, and ends by itself."""
    log = write(tmp_path / "past", [[0, 900, 1_800, 3_600], [10, 3_599]])
    feed = Feed(tmp_path / "past", tmp_path / "live")
    begun = time.monotonic()
    feed.run(7_200.0, 60 * S_US, StopEvent())
    assert time.monotonic() - begun >= 0.5
    assert feed.done
    feed.close()
    assert log == read(tmp_path / "live", 2)


def test_told_to_stop_it_releases_no_more(tmp_path: Path) -> None:
    """Between steps it asks whether to go on; what was released stays, and another feed goes on from there."""
    log = write(tmp_path / "past", [[0, 100, 200, 300]])
    asked = iter([False, False, True])

    class Asked(StopEvent):
        def is_set(self) -> bool:
            return next(asked, True)

    feed = Feed(tmp_path / "past", tmp_path / "live")
    feed.run(1e9, 100 * S_US, Asked())
    feed.close()
    assert until(log, START_US + 100 * S_US) == read(tmp_path / "live", 1)
    again = Feed(tmp_path / "past", tmp_path / "live")
    again.run(1e9, 100 * S_US, StopEvent())
    again.close()
    assert log == read(tmp_path / "live", 1)


def test_nothing_to_feed_is_the_end(tmp_path: Path) -> None:
    """An empty past is done at once."""
    write(tmp_path / "past", [[], []])
    feed = Feed(tmp_path / "past", tmp_path / "live")
    assert feed.done
    assert feed.next_us() is None
    feed.run(1.0, S_US, StopEvent())
    feed.close()
    assert [[], []] == read(tmp_path / "live", 2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_waits_at_the_end_and_stops_when_asked(tmp_path: Path, number: signal.Signals) -> None:
    """`run_feed` does not end by itself, so that no supervisor starts it again, and ends with status 0 when told to."""
    log = write(tmp_path / "past", [[0, 5], [3]])
    imports = "from dataflows.connectors.feed import run_feed; from dataflows.stream.stopping import stop_on_signals"
    code = f"{imports}; run_feed({str(tmp_path / 'past')!r}, {str(tmp_path / 'live')!r}, 1e6, stop_on_signals())"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        give_up_at = time.monotonic() + 60
        while not (tmp_path / "live" / "1").is_dir() or log != read(tmp_path / "live", 2):
            assert process.poll() is None
            assert time.monotonic() < give_up_at
            time.sleep(0.02)
        assert process.poll() is None
        process.send_signal(number)
        assert 0 == process.wait(30)
    finally:
        process.kill()
        process.wait()
