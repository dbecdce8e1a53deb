"""The lineage of one served number: every record between the rides and the number, by index, offset and digest.

Nothing is recomputed (see `dataflows.audit.replay`) or proved (see `ledger prove`): a trace names the records that both
of them use.
"""

from dataclasses import dataclass

import numpy as np

from ledger.formats.checkpoint import Checkpoint, parse_checkpoint
from ledger.formats.merkle import leaf_hash, root
from ledger.formats.note import parse_note
from ledger.store.blobs import Blobs
from ledger.store.log import Ledger
from ledger.views.champions import InForce, champion_at
from ledger.views.issues import find_issue
from ledger.views.known import fold_change_at
from ledger.views.regions import bootstrap_of
from ledger.views.writers import Writer, may_have_written, writers_of
from schemas.errors import VERIFY_LEDGER, DamagedError, NotFound
from schemas.forecasts.chunks import decode_chunk, unpack_blob
from schemas.records.records import FALLBACKS, Fallback, FoldChanged, ForecastIssued, ModelTrained, RegionBootstrapped, SlotClosed
from schemas.regions import DAY_MIN, Region
from state.demand.history import HISTORY_DAYS
from state.forecast.routes import Role, role_of, scope_of

NUMBERS = ("mean", "median", "lower", "upper", "dispersion", "baseline")


@dataclass(frozen=True, slots=True)
class Served:
    """The served numbers, in 1/1000, and the chunk that contains them."""

    cell: int
    horizon_min: int
    numbers: dict[str, int]
    fallback: Fallback
    chunk: int
    chunks: int
    chunk_hash: bytes  # leaf hash, under the root of the issue


@dataclass(frozen=True, slots=True)
class Counted:
    """The counts behind a forecast: slots [first_slot, slot]; those below `start_slot` come from the bootstrap.

    Attributes:
        first_slot: Oldest slot in the history of the fold.
        live_slots: Number of these slots that were counted live.
        index: Index of the newest slot's `SlotClosed`.
        closed: That entry.
        offsets: Partition -> offsets [from, to) of the rides counted live in these slots, from their cuts.
    """

    first_slot: int
    live_slots: int
    index: int
    closed: SlotClosed
    offsets: dict[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Trace:
    """The lineage of one number.

    Attributes:
        index: Index of the issue's entry.
        checkpoint: The newest signed checkpoint if it covers the entry, otherwise None.
        champion: The promotion and the training of the model in force, the region's own or that which stood in; None if there
            was none.
        bootstrapped: Index of the bootstrap record, and the record: definition, rules, history.
        fold: The record that put the fold's rules in force; None for the bootstrap's own.
        writers: The runs that may have written the entry, with their environments.
    """

    region: Region
    log: str
    index: int
    issued: ForecastIssued
    served: Served
    checkpoint: Checkpoint | None
    counted: Counted
    champion: InForce | None
    bootstrapped: tuple[int, RegionBootstrapped]
    fold: tuple[int, FoldChanged] | None
    fold_version: int
    writers: tuple[Writer, ...]


def trace(ledger: Ledger, blobs: Blobs, name: str, *, cell: str, target: str, horizon_min: int, measure: str | None = None) -> Trace:
    """The lineage of one number.

    Args:
        name: Name of a bootstrapped region.
        cell, target, measure: As for `ledger.views.issues.find_issue`.
        horizon_min: Length of the window, minutes.
    Raises:
        NotFound: no such number was issued, or its chunks have expired.
        UsageError: cell, target or measure is invalid for this region.
        DamagedError: the stored chunks do not match the root in the entry.
    """
    found = find_issue(ledger, name, cell=cell, target=target, measure=measure)
    issued = found.stored.record
    log, index, slot = found.stored.log, found.stored.index, issued.slot
    boot = bootstrap_of(ledger, name)
    booted = ledger.entry(log, RegionBootstrapped)
    closed = ledger.entry(log, SlotClosed, slot)
    if closed is None or booted is None:
        raise DamagedError(f"{log} entry {index}: expected an entry that closes slot {slot}, found none", remedy=VERIFY_LEDGER)
    record = closed.record
    change = fold_change_at(ledger, name, slot, record.control_size)
    return Trace(
        found.region,
        log,
        index,
        issued,
        _served(blobs, index, issued, found.cell, horizon_min),
        _checkpoint(ledger, log, index),
        _counted(ledger, log, found.region, boot, closed.index, record),
        champion_at(ledger, scope_of(role_of(issued) or Role.CHAMPION, name, found.region.parent), found.measure, record.control_size),
        (booted.index, boot),
        change,
        change[1].version if change is not None else boot.fold_version,
        may_have_written(writers_of(ledger, name), index),
    )


def _served(blobs: Blobs, index: int, issued: ForecastIssued, cell: int, horizon_min: int) -> Served:
    if horizon_min not in issued.horizons_min or not issued.blob:
        raise NotFound(f"entry {index}: no forecast for {horizon_min} min; its horizons are {', '.join(map(str, issued.horizons_min))}")
    blob = unpack_blob(blobs.get(issued.blob))
    if root([leaf_hash(chunk) for chunk in blob.chunks]) != issued.root:
        raise DamagedError(f"entry {index}: the stored chunks do not match its root", remedy=VERIFY_LEDGER)
    found = blob.chunk_of(cell)
    if found is None:
        raise NotFound(f"entry {index}: no forecast for that cell: it had no ride in the 28 days before")
    number, chunk = found
    columns = decode_chunk(chunk, issued.horizons_min)
    row, column = int(np.flatnonzero(columns.cells == np.uint64(cell))[0]), issued.horizons_min.index(horizon_min)
    values = {name: int(getattr(columns, name)[row, column]) for name in NUMBERS}
    return Served(cell, horizon_min, values, FALLBACKS[int(columns.fallback[row])], number, len(blob.chunks), leaf_hash(chunk))


def _checkpoint(ledger: Ledger, log: str, index: int) -> Checkpoint | None:
    note = ledger.guard.note(log)
    found = parse_checkpoint(parse_note(note)[0]) if note is not None else None
    return found if found is not None and found.size > index else None


def _counted(ledger: Ledger, log: str, region: Region, boot: RegionBootstrapped, index: int, record: SlotClosed) -> Counted:
    """The counts in the history of the fold after a slot."""
    first = max(boot.first_slot, record.slot + 1 - HISTORY_DAYS * DAY_MIN // region.slot_min)
    live_from = max(first, boot.start_slot)
    before = ledger.find(log, SlotClosed, live_from - 1)
    first_offsets = {cut.partition: cut.cut for cut in before.partitions} if before is not None else {}
    offsets = {cut.partition: (first_offsets.get(cut.partition, 0), cut.cut) for cut in record.partitions}
    return Counted(first, record.slot + 1 - live_from, index, record, offsets)


def training_range(trained: ModelTrained, region: Region) -> tuple[int, int]:
    """Event times [from, until) of the data that a model was trained on, microseconds UTC."""
    return trained.first_slot * region.slot_us, trained.until_slot * region.slot_us
