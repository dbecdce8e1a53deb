"""The pipeline in one process records the same for any timing, batches and interruptions."""

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings, strategies as st

from dataflows.stream.region_run import SlotReport
from schemas.records.record_codec import decode
from schemas.records.records import RUNS_LOG, HorizonShort, SnapshotTaken
from tests.differences import assert_same_payloads
from tests.simulation.fixtures import Settled
from tests.simulation.reference import assert_rejects_kept
from tests.simulation.runs import copied, run_here


class Killed(Exception):
    """Simulates the death of a process: nothing runs after it."""


def killed_after(slots: int) -> Callable[[SlotReport], None]:
    """Kill the run when that many slots are closed."""
    left = itertools.count(slots - 1, -1)

    def on_slot(_: SlotReport) -> None:
        if next(left) <= 0:
            raise Killed

    return on_slot


@settings(max_examples=6, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from((1, 7, 64, 300)), st.sampled_from((0.0, 0.1, 99.0))), max_size=3),
    st.sampled_from((3, 50, 5_000)),
)
def test_any_batches_and_any_kills_record_the_same(settled: Settled, kills: list[tuple[int, int, float]], last_batch_events: int) -> None:
    """For any batch sizes and kill points, a restart records what an uninterrupted run records."""
    with tempfile.TemporaryDirectory() as folder:
        place = copied(settled.place, Path(folder) / "home")
        for after_slots, batch_events, snapshot_every_s in kills:
            with contextlib.suppress(Killed):
                run_here(place, killed_after(after_slots), batch_events=batch_events, snapshot_every_s=snapshot_every_s)
        assert_same_payloads(settled.expected, run_here(place, batch_events=last_batch_events))
        stores = place.open()
        assert_rejects_kept(place.world, stores)
        stores.close()


def test_without_snapshots_the_state_is_folded_again(settled: Settled, tmp_path: Path) -> None:
    """Losing every snapshot changes nothing but the time that a restart takes."""
    place = copied(settled.place, tmp_path / "home")
    with contextlib.suppress(Killed):
        run_here(place, killed_after(40), snapshot_every_s=0.05, batch_events=20)
    stores = place.open()
    taken = list(stores.ledger.records(RUNS_LOG, SnapshotTaken))
    assert taken
    for snapshot in taken:
        stores.blobs.remove(snapshot.blob)
    stores.close()
    assert_same_payloads(settled.expected, run_here(place))


def test_two_runs_of_nothing_new_add_nothing(settled: Settled, tmp_path: Path) -> None:
    """A bounded run over already counted rides closes no slot again."""
    place = copied(settled.place, tmp_path / "home")
    assert_same_payloads(settled.expected, run_here(place))
    assert_same_payloads(settled.expected, run_here(place))


def test_a_log_without_its_start_is_the_same_after_a_restart(settled: Settled, tmp_path: Path) -> None:
    """On a log whose first events are deleted, an interrupted run records the same as an uninterrupted one."""
    rides = tmp_path / "rides"
    shutil.copytree(settled.place.rides, rides)
    first, second, *_ = sorted((rides / "0").glob("*.avro"))
    first.unlink()
    whole = run_here(copied(settled.place, tmp_path / "whole", rides=rides))
    place = copied(settled.place, tmp_path / "home", rides=rides)
    with contextlib.suppress(Killed):
        run_here(place, killed_after(20), batch_events=50)
    assert whole == run_here(place)
    assert [
        HorizonShort(
            region="small", partition=0, wanted_offset=max(0, int(second.stem) - place.world.horizon), found_offset=int(second.stem)
        )
    ] == [record for record in map(decode, whole) if isinstance(record, HorizonShort)]
