"""Where a region resumes when its source is compared with the log: the same source, one created again, and another one."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dataflows.connectors.source_identity import SourceIdentity
from dataflows.stream.region_run import open_region_run
from dataflows.stream.resume import FROM_LOWEST, UNKNOWN, accepted_change, plan_resume
from dataflows.stream.start import record_start
from dataflows.stream.stores import Stores
from ledger.store.recording import Recorder
from schemas.errors import SourceMoved, UsageError
from schemas.records.record_codec import encode
from schemas.records.records import HorizonShort, PartitionsChanged, Record, SlotClosed, SourceChanged
from state.counting.partials import NO_ROWS, Partial
from tests.simulation.fixtures import Settled
from tests.simulation.runs import LOG, copied, run_here

ALL = (0, 1, 2)
TOPIC = SourceIdentity(cluster="c1", topic="rides.raw", topic_id="first")
AGAIN = SourceIdentity(cluster="c1", topic="rides.raw", topic_id="second")
ELSEWHERE = SourceIdentity(cluster="c2", topic="rides.raw", topic_id="second")


@pytest.fixture
def stores(settled: Settled, tmp_path: Path) -> Iterator[Stores]:
    """A home with closed slots whose last run read a topic."""
    place = copied(settled.place, tmp_path / "home")
    run_here(place)
    opened = place.open()
    record_start(opened, "run small", TOPIC.to_json(), 1)
    yield opened
    opened.close()


def last_slot(stores: Stores) -> int:
    """The newest closed slot."""
    found = stores.ledger.find(LOG, SlotClosed)
    assert found is not None
    return found.slot


def append(stores: Stores, *records: Record) -> None:
    """Append records to the region's log."""
    Recorder(stores.ledger, LOG).append(stores.ledger.head(LOG).size, [encode(record) for record in records])


@pytest.mark.parametrize("identity", [TOPIC, UNKNOWN])
def test_the_same_source_changes_nothing(stores: Stores, identity: SourceIdentity) -> None:
    """With the partitions and identity of the last run, every partition resumes at its cut."""
    plan = plan_resume(stores.ledger, "small", ALL, identity)
    assert ((), ()) == (plan.recorded, plan.changes)
    assert all(point.counted_until > 0 for point in plan.points.values())


def test_a_topic_created_again_is_read_from_its_lowest_offset(stores: Stores) -> None:
    """Another id of the same topic is a change with both identities; no offset of the old one is used."""
    append(stores, HorizonShort(region="small", partition=0, wanted_offset=0, found_offset=25))
    assert {0: 25} == plan_resume(stores.ledger, "small", ALL, TOPIC).warmed_from
    plan = plan_resume(stores.ledger, "small", (0, 1), AGAIN)
    slot = last_slot(stores) + 1
    changed = SourceChanged(region="small", slot=slot, before=TOPIC.to_json(), after=AGAIN.to_json())
    assert (changed, PartitionsChanged(region="small", slot=slot, added=(), removed=(2,))) == plan.changes
    assert {0: (FROM_LOWEST, 0), 1: (FROM_LOWEST, 0)} == {p: (point.open_from, point.counted_until) for p, point in plan.points.items()}
    assert {slot - 1} == {point.closed_through for point in plan.points.values()}
    assert {} == plan.warmed_from


def test_a_crash_after_the_change_was_recorded_hides_nothing(stores: Stores) -> None:
    """Recorded but not yet in a slot, a change is neither recorded again nor forgotten, whatever the last start says."""
    append(stores, HorizonShort(region="small", partition=0, wanted_offset=0, found_offset=25))
    plan = plan_resume(stores.ledger, "small", (0, 1), AGAIN)
    append(stores, *plan.changes)
    append(stores, HorizonShort(region="small", partition=1, wanted_offset=0, found_offset=30))
    again = plan_resume(stores.ledger, "small", (0, 1), AGAIN)
    assert {1: 30} == again.warmed_from
    assert (plan.changes, (), plan.points) == (again.recorded, again.changes, again.points)
    back = plan_resume(stores.ledger, "small", ALL, TOPIC)
    assert [SourceChanged, PartitionsChanged] == [type(record) for record in back.changes]
    assert {FROM_LOWEST} == {point.open_from for point in back.points.values()}


def test_an_added_partition_starts_at_offset_0(stores: Stores) -> None:
    """It was empty when it was added, so that what its source has lost since is a gap; the others resume at their cuts."""
    plan = plan_resume(stores.ledger, "small", (0, 1, 2, 3), TOPIC)
    slot = last_slot(stores) + 1
    assert (PartitionsChanged(region="small", slot=slot, added=(3,), removed=()),) == plan.changes
    assert (0, 0, slot - 1, -1) == tuple(
        getattr(plan.points[3], name) for name in ("open_from", "counted_until", "closed_through", "largest_us")
    )
    assert plan_resume(stores.ledger, "small", ALL, TOPIC).points == {p: plan.points[p] for p in ALL}


@pytest.mark.parametrize("other", [ELSEWHERE, SourceIdentity(files="rides", origin="ab")])
def test_another_source_is_refused_with_both_identities(stores: Stores, other: SourceIdentity) -> None:
    """Another cluster or kind of source is probably a wrong address: the error names both and the remedies, until it is accepted."""
    refused = f"expected the ride log of its last run, {TOPIC.line()}, got {other.line()}; use the address of that log; with --accept"
    with pytest.raises(UsageError, match=refused):
        plan_resume(stores.ledger, "small", ALL, other)
    change = accepted_change(stores.ledger, "small", other)
    assert change is not None
    append(stores, change)
    plan = plan_resume(stores.ledger, "small", ALL, other)
    assert ((change,), ()) == (plan.recorded, plan.changes)
    assert {FROM_LOWEST} == {point.open_from for point in plan.points.values()}


def test_no_slot_closes_with_rides_of_another_log(stores: Stores, settled: Settled) -> None:
    """If the source is not confirmed when a slot could close, nothing is recorded of it."""
    asked: list[int] = []

    def moved() -> None:
        asked.append(1)
        raise SourceMoved("the ride log was replaced")

    run = open_region_run(stores.ledger, stores.blobs, "small", ALL, stores.environment, lambda: 0.0, confirm=moved)
    size = run.size
    partials = [excusing(run.slots.next_slot, p, plan_resume(stores.ledger, "small", ALL).points[p].open_from) for p in ALL]
    for partial in partials[:2]:
        assert [] == run.absorb(partial)
    assert [] == asked
    with pytest.raises(SourceMoved, match="replaced"):
        run.absorb(partials[2])
    assert (size, [1]) == (stores.ledger.head(LOG).size, asked)


def excusing(slot: int, partition: int, offset: int) -> Partial:
    """A partial without rides whose partition has cut a slot."""
    empty = np.empty(0, np.int64)
    return Partial(
        "small", partition, offset, offset + 1, np.array([offset]), np.array([slot, slot + 1]), np.array([0, 10**16]), NO_ROWS,
        (NO_ROWS.piece, empty, empty), {},
    )  # fmt: skip
