"""Bootstrapping: what is counted, what may be repeated, and what is refused."""

import dataclasses
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from dataflows.connectors.files.writer import RideLogWriter
from dataflows.connectors.sources import FileRides
from dataflows.jobs.bootstrap import bootstrap_region, count_rides, slot_of_midnight
from dataflows.stream.pump import PumpLimits
from dataflows.stream.stores import Stores, open_stores
from schemas.configuration.settings import Settings
from schemas.errors import ConfigError, UsageError
from schemas.records.count_table import from_table
from schemas.records.record_codec import decode
from schemas.records.records import RegionBootstrapped, SlotCounts
from schemas.regions import load_region
from tests.simulation.reference import CODES
from tests.simulation.runs import LOG
from tests.simulation.world import DEDUP_TOTAL_EVENTS, START_SLOT, UNTIL, make_region, make_world, write_files
from tests.state.counting.plain_slots import SLOT_US

WORLD = make_world(3, hours=26)
NEXT_DAY = "2024-04-01"


@pytest.fixture
def rides(tmp_path: Path) -> FileRides:
    """A day and two hours of the world, damage included."""
    write_files(WORLD, tmp_path / "rides")
    return FileRides(tmp_path / "rides")


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    """An empty embedded home."""
    return open_stores(
        Settings.from_env({"RIDECAST_HOME": str(tmp_path / "home"), "RIDECAST_DEDUP_HORIZON_EVENTS": str(DEDUP_TOTAL_EVENTS)})
    )


def plain_counts(until_slot: int) -> dict[tuple[int, int], int]:
    """Rides per (slot, cell) before a slot: valid, of the counted kind, and not seen within the horizon before."""
    found: dict[tuple[int, int], int] = {}
    for log in WORLD.truth.values():
        last_seen: dict[int, int] = {}
        for event in log:
            if event.reason is not None:
                continue
            again = event.offset - last_seen.get(event.event_id, -WORLD.horizon - 1) <= WORLD.horizon
            last_seen[event.event_id] = event.offset
            slot = event.at_us // SLOT_US
            if event.counted and not again and slot < until_slot:
                found[slot, CODES[event.cell_at]] = found.get((slot, CODES[event.cell_at]), 0) + 1
    return found


def test_every_ride_before_the_midnight_is_counted(stores: Stores, rides: FileRides) -> None:
    """Counts equal the reference, late rides included, and live counting starts at the local midnight after a day of 23 hours."""
    record, fresh = bootstrap_region(stores, WORLD.region, rides, NEXT_DAY)
    assert fresh
    assert record.start_slot == START_SLOT + 23 * 12  # Daylight saving time starts.
    body = decode(stores.blobs.get(record.counts_blob), SlotCounts)
    [table] = body.counts
    slots, cells, counts = from_table(table)
    expected = plain_counts(record.start_slot)
    assert expected == {(s, c): n for s, c, n in zip(slots.tolist(), cells.tolist(), counts.tolist(), strict=True)}
    assert sum(expected.values()) == record.rides
    assert min(slot for slot, _ in expected) == record.first_slot
    stores.close()


def test_the_files_of_the_history_are_named_by_their_digests(
    stores: Stores, rides: FileRides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record names every file with the digest of its bytes and its events; very many files are summarised by partition."""
    record, _ = bootstrap_region(stores, WORLD.region, rides, NEXT_DAY)
    paths = sorted((tmp_path / "rides").glob("[0-9]/*.avro"))
    digests = [hashlib.sha256(path.read_bytes()).digest() for path in paths]
    assert [(f"{path.parent.name}/{path.name}", digest) for path, digest in zip(paths, digests, strict=True)] == [
        (file.name, file.sha256) for file in record.files
    ]
    for partition, log in enumerate(WORLD.logs):
        assert len(log) == sum(file.rows for file in record.files if file.name.startswith(f"{partition}/"))
    monkeypatch.setattr("dataflows.jobs.bootstrap.MOST_FILES", 2)
    other = open_stores(Settings.from_env({"RIDECAST_HOME": str(tmp_path / "other")}))
    together, _ = bootstrap_region(other, WORLD.region, rides, NEXT_DAY)
    of_first = [digest for path, digest in zip(paths, digests, strict=True) if path.parent.name == "0"]
    assert ["0/*", "1/*", "2/*"] == [file.name for file in together.files]
    assert (hashlib.sha256(b"".join(of_first)).digest(), len(WORLD.logs[0])) == (together.files[0].sha256, together.files[0].rows)


def test_a_second_time_changes_nothing(stores: Stores, rides: FileRides) -> None:
    """The same bootstrap again reports the existing record; the log has only one."""
    first, _ = bootstrap_region(stores, WORLD.region, rides, NEXT_DAY)
    assert (first, False) == bootstrap_region(stores, WORLD.region, rides, NEXT_DAY)
    assert len(stores.ledger.read(LOG, 0, kind=RegionBootstrapped)) == 1
    stores.close()


def test_a_region_keeps_its_rules_of_evidence(stores: Stores, rides: FileRides) -> None:
    """The rules of evidence come from the settings at the first time, whatever the settings later."""
    first, _ = bootstrap_region(stores, WORLD.region, rides, NEXT_DAY)
    assert (10, 16, 259_200) == (first.evidence_events, first.evidence_window_events, first.hold_s)
    stores.settings = dataclasses.replace(stores.settings, evidence_events=12, evidence_window_events=24)
    assert (first, False) == bootstrap_region(stores, WORLD.region, rides, NEXT_DAY)
    stores.close()


def test_evidence_that_no_window_holds_is_refused(stores: Stores, rides: FileRides) -> None:
    """More events than a window has are refused before anything is counted, with both settings."""
    stores.settings = dataclasses.replace(stores.settings, evidence_events=17)
    message = r"RIDECAST_EVIDENCE_EVENTS: expected at most RIDECAST_EVIDENCE_WINDOW_EVENTS \(16\), got 17"
    with pytest.raises(ConfigError, match=message):
        bootstrap_region(stores, WORLD.region, rides, NEXT_DAY)
    assert [] == stores.ledger.read(LOG, 0, kind=RegionBootstrapped)
    stores.close()


def test_a_log_that_has_grown_since_is_the_same_history(stores: Stores, rides: FileRides, tmp_path: Path) -> None:
    """Rides after the midnight change the files, not the history: the first record stays."""
    first, _ = bootstrap_region(stores, WORLD.region, rides, UNTIL)
    with RideLogWriter(tmp_path / "rides", len(WORLD.truth)) as log:
        log.append(0, np.array([2**50]), [b""], [b"later, and no ride at all"])
    assert (first, False) == bootstrap_region(stores, WORLD.region, FileRides(tmp_path / "rides"), UNTIL)
    stores.close()


@pytest.mark.parametrize("until", [UNTIL, "2024-04-02"])
def test_another_history_is_refused(stores: Stores, rides: FileRides, until: str) -> None:
    """Another midnight is refused with a message that names both, and the record stays."""
    bootstrap_region(stores, WORLD.region, rides, NEXT_DAY)
    with pytest.raises(UsageError, match=rf"small: already bootstrapped until {NEXT_DAY} .* got until {until} .* use another --home"):
        bootstrap_region(stores, WORLD.region, rides, until)
    assert len(stores.ledger.read(LOG, 0, kind=RegionBootstrapped)) == 1
    stores.close()


def test_a_region_may_start_without_history(stores: Stores) -> None:
    """Without rides the region starts at the midnight with no history."""
    record, fresh = bootstrap_region(stores, WORLD.region, None, UNTIL)
    assert fresh
    assert (START_SLOT, START_SLOT, 0, b"") == (record.first_slot, record.start_slot, record.rides, record.counts_blob)
    stores.close()


def test_batches_do_not_matter(stores: Stores, rides: FileRides, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts are the same whatever the batch size, and however often partial sums are merged."""
    [whole] = count_rides(stores, WORLD.region, rides, START_SLOT + 100).counts
    monkeypatch.setattr("dataflows.jobs.bootstrap.MERGE_EVERY_BATCHES", 3)
    monkeypatch.setattr("dataflows.jobs.bootstrap.limits_of", lambda _: PumpLimits(batch_events=11))
    [small] = count_rides(stores, WORLD.region, rides, START_SLOT + 100).counts
    for name in ("slots", "cells", "counts"):
        assert np.array_equal(getattr(whole, name), getattr(small, name))
    stores.close()


@pytest.mark.parametrize("merge_every", [1, 200])
@pytest.mark.parametrize(
    ("until", "expected"),
    [
        ("2013-05-01", "expected rides before 2013-05-01, found none: they span 2024-03-30 to 2024-04-01; give a later date"),
        ("2024-04-04", "found none after 2024-04-01: they span 2024-03-30 to 2024-04-01; give 2024-04-02 or earlier"),
    ],
)
def test_a_date_far_from_the_rides_is_refused(
    stores: Stores, rides: FileRides, monkeypatch: pytest.MonkeyPatch, until: str, expected: str, merge_every: int
) -> None:
    """A date before all rides or days after them names their span, in long inputs too, and nothing is recorded."""
    monkeypatch.setattr("dataflows.jobs.bootstrap.MERGE_EVERY_BATCHES", merge_every)
    with pytest.raises(UsageError, match=expected):
        bootstrap_region(stores, WORLD.region, rides, until)
    assert (LOG not in stores.ledger.logs()) or stores.ledger.head(LOG).size == 0
    stores.close()


@pytest.mark.parametrize("merge_every", [1, 200])
def test_rides_of_another_region_are_reported(stores: Stores, rides: FileRides, monkeypatch: pytest.MonkeyPatch, merge_every: int) -> None:
    """If no event belongs to the region, the message has the number of events read, and the regions that they are of."""
    monkeypatch.setattr("dataflows.jobs.bootstrap.MERGE_EVERY_BATCHES", merge_every)
    events = sum(len(log) for log in WORLD.logs)
    with pytest.raises(UsageError, match=f"region tehran: .* found none of this region among {events:,} events; give the --region") as said:
        bootstrap_region(stores, load_region("tehran"), rides, NEXT_DAY)
    assert re.search(r"\([\d,]+ events read, .* are of other regions \('small'\); for example partition ", str(said.value))
    assert not (stores.settings.home / "intake").exists()
    stores.close()


@pytest.mark.parametrize("until", ["2024-04-02", "2024-04-03"])
def test_a_date_soon_after_the_rides_is_accepted(stores: Stores, rides: FileRides, until: str) -> None:
    """The midnight after the last ride is the usual date, and one more day without rides is accepted too."""
    record, fresh = bootstrap_region(stores, WORLD.region, rides, until)
    assert (True, slot_of_midnight(WORLD.region, until)) == (fresh, record.start_slot)
    stores.close()


@pytest.mark.parametrize("until", ["2024-13-01", "yesterday", "", "2024-3-1"])
def test_an_invalid_date_is_refused(until: str) -> None:
    """The message has the expected form and the given text."""
    with pytest.raises(UsageError, match=rf"--until: expected a date as YYYY-MM-DD, got '{until}'"):
        slot_of_midnight(make_region(), until)
