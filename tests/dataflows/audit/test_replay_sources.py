"""Replay of rides that are shared with another region, or stored in Kafka."""

import dataclasses
import json
from pathlib import Path

import pytest

from dataflows.audit.replay import replay_region
from dataflows.audit.replay_report import Replay, Verdict
from dataflows.connectors.sources import open_rides
from dataflows.jobs.bootstrap import bootstrap_region
from dataflows.stream.start import run_embedded
from ledger.views.regions import bootstrap_of
from schemas.errors import UsageError
from schemas.records.record_codec import encode
from schemas.records.records import SlotClosed, region_log
from schemas.regions import RegionId
from tests.services.fixtures import TopicFactory
from tests.simulation.fixtures import Settled
from tests.simulation.runs import Place, copied, run_here, settle
from tests.simulation.world import UNTIL, make_world, write_files, write_kafka


def replayed(place: Place, region: str = "small") -> Replay:
    """Replay all of a region."""
    stores = place.open()
    source = open_rides(place.rides)
    try:
        return replay_region(stores.ledger, stores.blobs, stores.environment, region, source)
    finally:
        source.close()
        stores.close()


def shared(place: Place, folder: Path) -> Place:
    """The same place, with rides of a region `smaller` among those of `small`."""
    logs = tuple(
        tuple(dataclasses.replace(entry, value=entry.value.replace(b"Smaller", b"smaller")) for entry in log) for log in place.world.logs
    )
    write_files(dataclasses.replace(place.world, logs=logs), folder / "shared")
    return dataclasses.replace(copied(place, folder / "home"), rides=str(folder / "shared"))


def ran(place: Place, *regions: str) -> list[SlotClosed]:
    """The slots that `small` closes in a run of these regions."""
    stores = place.open(dedup_horizon_events=4 * place.world.horizon)  # of four partitions, the default for a home without history
    if "smaller" in regions:
        bootstrap_region(stores, dataclasses.replace(place.world.region, id=RegionId("smaller")), None, UNTIL)
    source = open_rides(place.rides)
    run_embedded(stores, source, regions, bounded=True)
    closed = list(stores.ledger.records(region_log("small"), SlotClosed))
    source.close()
    stores.close()
    return closed


def test_rides_of_another_region_move_cuts_again(settled: Settled, tmp_path: Path) -> None:
    """A region closes the same slots beside another one and alone, and replaying either gives the same again."""
    both, alone = shared(settled.place, tmp_path / "both"), shared(settled.place, tmp_path / "alone")
    closed = ran(both, "small", "smaller")
    assert any(cut.uncounted.get("other_region") for record in closed for cut in record.partitions)
    assert closed == ran(alone, "small")
    for place, region in ((both, "small"), (both, "smaller"), (alone, "small")):
        found = replayed(place, region)
        assert ({Verdict.IDENTICAL: len(closed)}, []) == (found.verdicts, found.notes)
        assert all(slot.from_rides for slot in found.slots)


def test_regions_of_different_rules_are_not_run_together(settled: Settled, tmp_path: Path) -> None:
    """Two regions with different recorded horizons of deduplication cannot be replayed together: this is refused."""
    place = copied(settled.place, tmp_path / "home")
    stores = place.open()
    # A bootstrap takes the rules of the regions that are there; homes of earlier releases hold different ones.
    other = dataclasses.replace(bootstrap_of(stores.ledger, "small"), region=RegionId("smaller"), dedup_horizon_events=250)
    definition = json.loads(other.definition) | {"id": "smaller"}
    stores.ledger.append(region_log("smaller"), 0, [encode(dataclasses.replace(other, definition=json.dumps(definition)))])
    source = open_rides(place.rides)
    with pytest.raises(UsageError, match=r"region smaller: expected the same intake rules as small .*333.*250"):
        run_embedded(stores, source, ["small", "smaller"], bounded=True)
    source.close()
    stores.close()


def test_rides_in_kafka_are_read_again(kafka: str, kafka_topic: TopicFactory, tmp_path: Path) -> None:
    """A home that was written from a topic is identical in a replay from that topic."""
    world = make_world(11, hours=2.0)
    topic = kafka_topic(0)
    write_kafka(world, kafka, topic)
    place = settle(world, tmp_path, rides=f"kafka://{kafka}/{topic}")
    run_here(place)
    found = replayed(place)
    assert {Verdict.IDENTICAL: len(found.slots)} == found.verdicts
    assert all(slot.from_rides for slot in found.slots)
    assert found.slots
