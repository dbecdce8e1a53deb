"""The oracle itself: an uninterrupted run in one process compared with the plain reference."""

from collections import Counter
from pathlib import Path

import pytest

from ledger.check.verify import verify_log
from schemas.events.rides import Reason
from schemas.records.record_codec import decode
from schemas.records.records import SlotStatus
from tests.simulation.fixtures import Settled
from tests.simulation.reference import assert_bounded, assert_rejects_kept
from tests.simulation.runs import LOG, closed_slots, run_here, settle
from tests.simulation.world import make_world


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_uninterrupted_run_equals_the_plain_reference(seed: int, tmp_path: Path) -> None:
    """Counts, corrections, cuts and totals of every slot equal the reference's, and every reject's bytes are stored."""
    world = make_world(seed, hours=4)
    place = settle(world, tmp_path)
    records = closed_slots(run_here(place))
    stores = place.open()
    assert_bounded(world, records, stores)
    assert_rejects_kept(world, stores)
    report = verify_log(stores.ledger, LOG, stores.blobs)
    assert () == tuple(report.problems)
    stores.close()


def test_a_world_has_everything_that_can_go_wrong() -> None:
    """Late rides, duplicates of every distance, every reason to reject, other kinds, early rides, an idle partition and an outage."""
    world = make_world(7)
    assert world == make_world(7)
    events = [entry.event for log in world.logs for entry in log]
    assert set(Reason) == {event.reason for event in events if event.reason is not None}
    assert {True, False} == {event.counted for event in events}
    distances = []
    for log in world.truth.values():
        seen: dict[int, int] = {}
        for event in log:
            if event.reason is None:
                if event.event_id in seen:
                    distances.append(event.offset - seen[event.event_id])
                seen[event.event_id] = event.offset
    assert any(distance < 30 for distance in distances)
    assert any(200 < distance <= world.horizon for distance in distances)
    assert any(distance > world.horizon for distance in distances)
    assert any(entry.logged_at_us - entry.event.at_us > 3_600_000_000 for log in world.logs for entry in log)


def test_a_run_has_every_status(settled: Settled) -> None:
    """The shared world has observed, partial and unobserved slots, corrections and excused partitions."""
    records = closed_slots(settled.expected)
    assert set(SlotStatus) == {record.status for record in records}
    assert any(record.corrections for record in records)
    assert any(cut.excused for record in records for cut in record.partitions)
    kinds = {"RegionBootstrapped", "SlotClosed", "ForecastIssued", "SlotScored", "StateDigested", "UniverseChanged"}
    assert kinds | {"SchemaRecorded"} == set(Counter(type(decode(payload)).__name__ for payload in settled.expected))
