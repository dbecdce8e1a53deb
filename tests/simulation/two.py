"""Two regions in one ride log: the small one and `west`, each with rides and a history of its own."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dataflows.connectors.sources import open_rides
from dataflows.jobs.bootstrap import bootstrap_region
from schemas.events.codec import decode_slow, encode_event
from schemas.records.records import RegionBootstrapped, SlotClosed, region_log
from tests.simulation.moved import world_without_duplicates
from tests.simulation.runs import Place, settle
from tests.simulation.world import DEFINITION, UNTIL, Entry, World, make_region, write_history

WEST = "west"
SEEDS = (11, 12)
PARTITIONS = 2
HOURS = 5.0
# Until then every partition has events: no slot needs an excuse, so the records depend on the rides alone.
FIRST_MIN, BUSY_MIN = 95, 175


@dataclass(frozen=True, slots=True)
class Both:
    """A place whose rides are of two regions, and whose home has the first one only.

    Attributes:
        west: File that defines the second region.
        history: Rides of the second region before the live hours, as a folder.
    """

    place: Place
    west: Path
    history: Path

    def add_words(self) -> list[object]:
        """The arguments of `ridecast region add` for the second region."""
        return [self.west, "--history", self.history, "--until", UNTIL]


def two_worlds() -> World:
    """The live hours of both regions in one log, as the small one sees them: events of the other move cuts and count nothing."""
    mine, theirs = (world_without_duplicates(seed, hours=HOURS, partitions=PARTITIONS) for seed in SEEDS)
    logs = []
    for own, other in zip(mine.logs, theirs.logs, strict=True):
        merged = sorted([*own, *map(_of_west, other)], key=lambda entry: entry.logged_at_us)
        logs.append(tuple(replace(entry, event=replace(entry.event, offset=offset)) for offset, entry in enumerate(merged)))
    return replace(mine, logs=tuple(logs))


def _of_west(entry: Entry) -> Entry:
    fields = decode_slow(entry.value)
    assert isinstance(fields, dict)
    event = replace(entry.event, event_id=entry.event.event_id + 1_000_000, counted=False)
    return Entry(entry.logged_at_us, encode_event({**fields, "region": WEST}), event)


def settle_both(folder: Path, *, rides: str = "", bootstrapped: Sequence[str] = (), **extra: object) -> Both:
    """Write both regions down, and bootstrap the first; the second too if it is named."""
    place = settle(two_worlds(), folder, rides=rides, **extra)
    west, history = folder / "west.json", folder / "west_history"
    west.write_text(json.dumps(DEFINITION | {"id": WEST}), "utf-8")
    write_history(history, 3, WEST)  # another number of partitions than the live log has
    if WEST in bootstrapped:
        stores = place.open()
        bootstrap_region(stores, make_region(id=WEST), open_rides(str(history)), UNTIL)
        stores.close()
    return Both(place, west, history)


def payloads_of(place: Place, region: str) -> list[bytes]:
    """Every payload of a region's log in a home that other processes may be writing."""
    stores = place.open()
    try:
        return [stored.payload for stored in stores.ledger.scan(region_log(region))]
    finally:
        stores.close()


def last_slot(place: Place, region: str) -> int:
    """The last closed slot of a region, or -1."""
    stores = place.open()
    try:
        closed = stores.ledger.find(region_log(region), SlotClosed)
        return closed.slot if closed is not None else -1
    finally:
        stores.close()


def is_bootstrapped(place: Place, region: str) -> bool:
    """Whether a region's log has begun."""
    stores = place.open()
    try:
        return stores.ledger.find(region_log(region), RegionBootstrapped) is not None
    finally:
        stores.close()


def end(running: subprocess.Popen[bytes]) -> int:
    """Stop a run as a person does; returns its exit status."""
    running.terminate()
    try:
        return running.wait(30)
    finally:
        running.kill()
