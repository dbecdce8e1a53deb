"""Replays a home, and forges one through the real interface."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from dataflows.audit.replay import replay_region
from dataflows.audit.replay_report import Replay
from dataflows.connectors.sources import open_rides
from ledger.formats.merkle import leaf_hash, root
from ledger.store.blobs import Retention
from schemas.events.cells import cell_text
from schemas.forecasts.chunks import encode_chunks, pack_blob, unpack_blob
from schemas.records.record_codec import decode, encode
from schemas.records.records import (
    ForecastIssued,
    Record,
    SlotClosed,
)
from tests.simulation.runs import LOG, Place, copied, payloads


def replay(place: Place, *, rides: str | None = None, environment: bytes | None = None, **how: object) -> Replay:
    """Replay a home with its own rides, or others; an empty name means none."""
    stores = place.open()
    where = place.rides if rides is None else rides
    source = open_rides(where) if where else None
    try:
        return replay_region(stores.ledger, stores.blobs, environment or stores.environment, "small", source, **how)  # type: ignore[arg-type]
    finally:
        stores.close()


def forged(place: Place, folder: Path, forge: Callable[[Place, list[Record]], dict[int, Record]]) -> Place:
    """A home whose log was rewritten through the real interface with some records changed: index -> record."""
    stores = place.open()
    entries = payloads(stores.ledger)
    stores.close()
    other = copied(place, folder)
    changed = {index: encode(record) for index, record in forge(other, [decode(payload) for payload in entries]).items()}
    entries = [changed.get(index, payload) for index, payload in enumerate([*entries, *[b""] * (len(changed) - len(entries))])]
    for path in [*(folder / "ledger").glob("region__*"), *folder.glob("checkpoints/**/*small*"), *folder.glob("checkpoints/region*")]:
        path.unlink(missing_ok=True)
    stores = other.open()
    stores.ledger.append(LOG, 0, entries)
    stores.close()
    return other


def index_of(records: Sequence[Record], kind: type[Record], slot: int) -> int:
    """Index of a slot's record of a kind."""
    return next(i for i, record in enumerate(records) if isinstance(record, kind) and getattr(record, "slot", -1) == slot)


def busy_slot(records: Sequence[Record], after: int) -> int:
    """A slot with counts."""
    return next(record.slot for record in records if isinstance(record, SlotClosed) and record.slot > after and record.counts)


def moved(place: Place, records: list[Record], slot: int, milli: int) -> tuple[int, ForecastIssued, str]:
    """A changed issue of a slot, with one mean moved: (index, record, cell)."""
    at = index_of(records, ForecastIssued, slot)
    issued = records[at]
    assert isinstance(issued, ForecastIssued)
    stores = place.open()
    columns = unpack_blob(stores.blobs.get(issued.blob)).columns(issued.horizons_min)
    mean = columns.mean.copy()
    mean[3, 1] += milli
    chunks = encode_chunks(dataclasses.replace(columns, mean=mean))
    blob = stores.blobs.put(pack_blob(chunks), Retention.FORECAST)
    stores.close()
    other = dataclasses.replace(issued, root=root([leaf_hash(chunk) for chunk in chunks]), blob=blob)
    return at, other, cell_text(int(columns.cells[3]), 6)
