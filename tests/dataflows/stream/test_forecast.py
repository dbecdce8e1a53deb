"""The real Bytewax flow, as processes: any batch size, number of processes and kill point record the same."""

import random
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from dataflows.stream.forecast import flow_from_environment
from schemas.errors import ConfigError
from tests.differences import assert_same_payloads
from tests.simulation.fixtures import Settled
from tests.simulation.reference import assert_rejects_kept
from tests.simulation.runs import Place, copied, finish, kill, last_words, payloads_at, start_cluster, wait_until, watching

BATCHES = (1, 7, 64, 5_000)


def run_until(place: Place, entries: int, running: list[subprocess.Popen[bytes]]) -> None:
    """Wait until the region's log has that many entries, or the run is over."""
    with watching(place) as size:
        wait_until(lambda: size() >= entries or any(process.poll() is not None for process in running), what=f"{entries} entries")


runs = st.tuples(st.integers(1, 3), st.sampled_from(BATCHES))


@settings(
    max_examples=4,
    deadline=None,
    print_blob=True,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # each example takes seconds: shrinking would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(runs, st.floats(0.0, 1.0)), max_size=2), runs)
def test_any_processes_batches_and_kills_record_the_same(
    settled: Settled, kills: list[tuple[tuple[int, int], float]], last: tuple[int, int]
) -> None:
    """One to three processes with any batch size, killed at any entry of the log, record what one uninterrupted run records."""
    with tempfile.TemporaryDirectory() as folder:
        place = copied(settled.place, Path(folder) / "home")
        for (processes, batch_events), share in kills:
            running = start_cluster(place, processes, batch_events)
            until = int(share * len(settled.expected))
            run_until(place, until, running)
            kill(running)
        finish(place, *start_cluster(place, *last))
        assert_same_payloads(settled.expected, payloads_at(place))
        stores = place.open()
        assert_rejects_kept(place.world, stores)
        stores.close()


def test_when_one_process_dies_the_others_end(settled: Settled, tmp_path: Path) -> None:
    """A cluster that loses a process ends within seconds with a failure, so that a supervisor can start all of it again."""
    place = copied(settled.place, tmp_path / "home")
    running = start_cluster(place, 2, 1)
    run_until(place, 20, running)
    victim = random.Random(1).choice(running)
    kill([victim])
    [other] = [process for process in running if process is not victim]
    assert other.wait(60) != 0, last_words(place)
    found = payloads_at(place)
    assert_same_payloads(settled.expected[: len(found)], found)


def test_a_stopped_flow_saves_and_closes_nothing_more(settled: Settled, tmp_path: Path) -> None:
    """SIGTERM ends every process with status 0, the log is a prefix of the full one, and a restart completes it."""
    place = copied(settled.place, tmp_path / "home")
    running = start_cluster(place, 2, 1)
    run_until(place, 20, running)
    for process in running:
        process.terminate()
    finish(place, *running)
    found = payloads_at(place)
    assert len(found) < len(settled.expected)
    assert_same_payloads(settled.expected[: len(found)], found)
    time.sleep(0.1)
    finish(place, *start_cluster(place, 3, 5_000))
    assert_same_payloads(settled.expected, payloads_at(place))


def test_a_flow_without_regions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error in Bytewax's own runner names the missing variable."""
    monkeypatch.setenv("RIDECAST_REGIONS", "")
    with pytest.raises(ConfigError, match="RIDECAST_REGIONS: expected names of regions"):
        flow_from_environment()
