"""Proofs from a ledger: combines an issue's entry, blob, path and checkpoint, and caches the most recent issues.

The caller finds the issue; the proof format is in `ledger.formats.proof`.
"""

import threading
from collections import OrderedDict

from ledger.formats.checkpoint import parse_checkpoint
from ledger.formats.note import parse_note
from ledger.formats.proof import IssueProver
from ledger.store.blobs import Blobs
from ledger.store.log import Ledger, Stored
from ledger.store.stored_tiles import stored_nodes
from schemas.errors import NotFound
from schemas.records.records import ForecastIssued

KEPT_ISSUES = 64  # about 0.2 MB each with 3,100 cells

Key = tuple[str, int, str]  # log, index, checkpoint


class Provers:
    """Makes proofs; threads may share it.

    Args:
        ledger, blobs: Open.
        kept: How many issues to cache, each with the checkpoint of its proofs.
    """

    def __init__(self, ledger: Ledger, blobs: Blobs, kept: int = KEPT_ISSUES) -> None:
        self._ledger, self._blobs, self._kept = ledger, blobs, kept
        self._cached: OrderedDict[Key, IssueProver] = OrderedDict()
        self._lock = threading.Lock()

    def proof(self, stored: Stored[ForecastIssued], note: str, *, cell: int, horizon_min: int) -> str:
        """The proof of one number.

        Args:
            stored: The entry of the issue.
            note: A signed checkpoint of its log, of a size above the entry's index.
            cell: Code of the cell.
            horizon_min: One of the issue's windows, minutes.
        Raises:
            NotFound: the issue has no such cell or horizon, its blob is missing, or the checkpoint is older than the entry.
            DamagedError: entry, blob, stored hashes and checkpoint do not match.
        """
        return self._prover(stored, note).proof(cell, horizon_min)

    def _prover(self, stored: Stored[ForecastIssued], note: str) -> IssueProver:
        key = stored.log, stored.index, note
        with self._lock:
            if key in self._cached:
                self._cached.move_to_end(key)
                return self._cached[key]
        prover = self._make(stored, note)
        with self._lock:
            self._cached[key] = prover
            while len(self._cached) > self._kept:
                self._cached.popitem(last=False)
        return prover

    def _make(self, stored: Stored[ForecastIssued], note: str) -> IssueProver:
        digest = stored.record.blob
        if not digest:
            raise NotFound(f"entry {stored.index}: no forecasts were issued: the region had no cells")
        size = parse_checkpoint(parse_note(note)[0]).size
        if stored.index >= size:
            raise NotFound(f"entry {stored.index}: not yet covered by the checkpoint of {size} entries")
        return IssueProver(stored.payload, stored.index, self._blobs.get(digest), stored_nodes(self._ledger, stored.log, size), note)
