"""Which entries belong to which close: findings before it, all others after it, and none without a close."""

from pathlib import Path

import pytest

from ledger.formats.keys import Signer
from ledger.store.log import Ledger, open_embedded
from ledger.views.closes import closes
from schemas.errors import DamagedError
from schemas.records.record_codec import encode
from schemas.records.records import EnvironmentChanged, Record, SlotClosed, SourceGap, StateDigested, UniverseChanged

LOG = "region/nyc"


def closed(slot: int) -> SlotClosed:
    """A slot without rides."""
    return SlotClosed(
        region="nyc",
        slot=slot,
        status="observed",
        partitions=(),
        counts=(),
        corrections=(),
        counts_blob=b"",
        control_size=0,
        control_root=b"",
    )


def filled(folder: Path, *records: Record) -> Ledger:
    """A ledger with these records."""
    ledger = open_embedded(folder, instance="local", clock=lambda: 0.0, signer=Signer("ridecast/local", bytes(32)))
    ledger.append(LOG, 0, [encode(record) for record in records])
    return ledger


UNIVERSE, DIGEST, GAP = (
    UniverseChanged(region="nyc", slot=1, version=1, cells=0, added=(), retired=()),
    StateDigested(region="nyc", slot=1, integers=b"", models=b""),
    SourceGap(region="nyc", partition=0, from_offset=3, to_offset=4),
)


def test_entries_are_grouped_by_their_slot(tmp_path: Path) -> None:
    """A gap belongs to the next slot, and records of other kinds to none; a range may start within a close."""
    changed = EnvironmentChanged(region="nyc", slot=2, environment=b"")
    ledger = filled(tmp_path, closed(1), UNIVERSE, DIGEST, changed, GAP, closed(2), closed(3), DIGEST)
    found = list(closes(ledger, LOG))
    assert [(1, 0, 2), (2, 1, 0), (3, 0, 1)] == [(close.record.slot, len(close.before), len(close.after)) for close in found]
    assert [[0, 1, 2], [4, 5], [6, 7]] == [[stored.index for stored in close.entries] for close in found]
    assert [2, 3] == [close.record.slot for close in closes(ledger, LOG, 1)]
    assert [1] == [close.record.slot for close in closes(ledger, LOG, 0, 5)]


def test_an_entry_without_its_slot_is_damage(tmp_path: Path) -> None:
    """An issue or score before its close is reported with its entry, not silently skipped."""
    with pytest.raises(DamagedError, match="region/nyc entry 0: expected a UniverseChanged to follow the entry that closes its slot"):
        list(closes(filled(tmp_path / "first", UNIVERSE, closed(1)), LOG))
    with pytest.raises(DamagedError, match="region/nyc entry 2: expected a StateDigested to follow"):
        list(closes(filled(tmp_path / "later", closed(1), GAP, DIGEST, closed(2)), LOG))
