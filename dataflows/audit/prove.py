"""The proof of one number, found by region, cell, target and horizon."""

import time
from dataclasses import dataclass

from ledger.formats.checkpoint import parse_checkpoint
from ledger.formats.note import parse_note
from ledger.formats.proof import SUFFIX
from ledger.store.blobs import Blobs
from ledger.store.log import Ledger, Stored
from ledger.store.provers import Provers
from ledger.views.regions import bootstrap_of
from schemas.errors import NotFound, UsageError
from schemas.events.cells import cell_code
from schemas.records.records import ForecastIssued, region_log
from schemas.regions import Region, region_from_json
from schemas.times import iso, local_iso, parse_target

PATIENCE_S = 1.5  # a checkpoint is written within a second of its entries
PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof, a file name for it, and the entry that issued the number."""

    text: str
    file_name: str
    log: str
    index: int


def prove(ledger: Ledger, blobs: Blobs, name: str, *, cell: str, target: str, horizon_min: int, measure: str | None = None) -> Proof:
    """The proof of one number.

    Args:
        ledger, blobs: Open for reading.
        name: Name of a bootstrapped region.
        cell: Geohash with the region's precision.
        target: Start of the window; without a zone it is the region's local time.
        horizon_min: Length of the window, minutes.
        measure: A measure of the region; its first if None.
    Raises:
        NotFound: no such number was issued, its chunks have expired, or no checkpoint covers it.
        UsageError: cell, target or measure is invalid for this region.
    """
    found = find_issue(ledger, name, cell=cell, target=target, measure=measure)
    log, stored = found.stored.log, found.stored
    note = _covering_note(ledger, log, stored.index)
    text = Provers(ledger, blobs, kept=1).proof(stored, note, cell=found.cell, horizon_min=horizon_min)
    stamp = iso(found.target_us).replace("-", "").replace(":", "")
    return Proof(text, f"{name}-{found.measure}-{cell.lower()}-{stamp}-{horizon_min}{SUFFIX}", log, stored.index)


@dataclass(frozen=True, slots=True)
class FoundIssue:
    """A forecast: its region, measure and cell, the start of its window, and the entry that issued it."""

    region: Region
    measure: str
    cell: int
    target_us: int
    stored: Stored[ForecastIssued]


def find_issue(ledger: Ledger, name: str, *, cell: str, target: str, measure: str | None = None) -> FoundIssue:
    """Find the issue of a forecast; arguments as for `prove`.

    Raises:
        NotFound: nothing was issued for that target.
        UsageError: cell, target or measure is invalid for this region.
    """
    region = region_from_json(bootstrap_of(ledger, name).definition, where=name)
    chosen = region.measures[0] if measure is None else measure
    if chosen not in region.measures:
        raise UsageError(f"--measure: expected one of {', '.join(region.measures)}, got {measure!r}")
    code = cell_code(cell.lower())
    if len(cell) != region.precision:
        raise UsageError(f"--cell: expected {region.precision} letters in region {name}, got {cell!r}")
    try:
        target_us = parse_target(target, region)
    except UsageError as cause:
        raise UsageError(f"--target: {cause}") from None
    log = region_log(name)
    stored = ledger.entry(log, ForecastIssued, target_us // region.slot_us - 1, chosen)
    if stored is None:
        newest = ledger.entry(log, ForecastIssued, subject=chosen)
        known = "none yet" if newest is None else f"the newest has target {local_iso(((newest.slot or 0) + 1) * region.slot_us, region)}"
        raise NotFound(f"--target: region {name} issued no forecast of {chosen} for {local_iso(target_us, region)}; {known}")
    return FoundIssue(region, chosen, code, target_us, stored)


def _covering_note(ledger: Ledger, log: str, index: int) -> str:
    """The newest signed checkpoint; waits until it covers an entry."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        note = ledger.guard.note(log)
        if note is not None and parse_checkpoint(parse_note(note)[0]).size > index:
            return note
        if time.monotonic() >= deadline_s:
            what = "no checkpoint" if note is None else f"no checkpoint covers entry {index} yet"
            raise NotFound(f"{log}: {what}: it is signed within a second of an append, while Ridecast runs on this home")
        time.sleep(PAUSE_S)
