"""The proof of one number, found by region, cell, target and horizon."""

import time
from dataclasses import dataclass

from ledger.formats.proof import SUFFIX
from ledger.store.blobs import Blobs
from ledger.store.log import Ledger
from ledger.store.provers import Provers
from ledger.views.issues import find_issue
from ledger.views.notes import covering_note
from schemas.errors import NotFound
from schemas.times import iso


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


def _covering_note(ledger: Ledger, log: str, index: int) -> str:
    note = covering_note(ledger, log, index, time.sleep)
    if note is None:
        what = "no checkpoint" if ledger.guard.note(log) is None else f"no checkpoint covers entry {index} yet"
        raise NotFound(f"{log}: {what}: it is signed within a second of an append, while Ridecast runs on this home")
    return note
