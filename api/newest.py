"""The newest issue of every region and measure, held ready in memory; always one that this ledger's log holds.

The log alone says which issue is newest. The online store only saves reading its blob: what it holds is used if it has
the same entry, byte for byte, and chunks with the digest that the entry names. A store that is behind, does not answer,
or was filled from another ledger is passed over, and the ledger's own blob is used; every answer says so.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from api.arms import Experiments
from api.points import blob_of
from api.prepared import PreparedIssue
from ledger.store.blobs import Blobs
from ledger.store.log import Stored
from ledger.views.online.protocol import OnlineStore
from ledger.views.region_view import RegionView
from schemas.errors import RidecastError
from schemas.records.records import ForecastIssued

log = logging.getLogger(__name__)


class Source(StrEnum):
    """Where the chunks of an answer come from."""

    ONLINE_STORE = "online_store"
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True)
class Held:
    """An issue that is ready to be served.

    Attributes:
        issue: Its bytes.
        entry: Payload of its entry in the log.
        source: Where its chunks were last found.
    """

    issue: PreparedIssue
    entry: bytes
    source: Source


class NewestIssues:
    """Holds the newest issues; `refresh` may wait for stores, `held` never does.

    Args:
        blobs: Blobs of the ledger.
        store: Online store, if there is one.
        store_answers: Whether the online store is worth asking.
        experiments: Those that issues may name.
    """

    def __init__(self, blobs: Blobs, store: OnlineStore | None, store_answers: Callable[[], bool], experiments: Experiments) -> None:
        self._experiments = experiments
        self._blobs, self._store, self._store_answers = blobs, store, store_answers
        self._held: dict[tuple[str, str], Held] = {}
        self._refused: dict[tuple[str, str], str] = {}  # why the store's issue was last passed over, to log it once
        self._ahead: dict[tuple[str, str], int] = {}  # index of an issue in the store that the log does not have, as last seen

    def held(self, region: str, measure: str) -> Held | None:
        """The newest issue as of the last refresh."""
        return self._held.get((region, measure))

    def forget(self, region: str) -> None:
        """Hold nothing of a region: its log was rolled back or continued."""
        for place in [place for place in self._held if place[0] == region]:
            del self._held[place]

    def refresh(self, view: RegionView, measure: str) -> bool:
        """Take the newest issue of a log as its view has it; returns whether it, or its source, is another one than before.

        Raises:
            RidecastError: the ledger's blob is needed and cannot be read; the issue before it is still held.
        """
        place = view.region.id, measure
        stored = view.newest_issue(measure)
        if stored is None:
            return self._held.pop(place, None) is not None
        held = self._held.get(place)
        same = held is not None and held.issue.index == stored.index and held.entry == stored.payload
        if held is not None and same and held.source is Source.ONLINE_STORE and self._still_there(place, stored.index):
            return False
        blob = self._from_store(view, measure, stored)
        source = Source.LEDGER if blob is None else Source.ONLINE_STORE
        if held is not None and same:
            if source is not held.source:
                self._held[place] = Held(held.issue, held.entry, source)
            return source is not held.source
        record = stored.record
        if blob is None:
            blob = self._blobs.get(record.blob) if record.blob else b""
        columns = blob_of(blob).columns(record.horizons_min)
        challenged = self._experiments.challenged(record, columns)
        prepared = PreparedIssue(stored.index, record, columns, view.region, view.log, challenged)
        self._held[place] = Held(prepared, stored.payload, source)
        return True

    def _still_there(self, place: tuple[str, str], index: int) -> bool:
        """Whether the store answers and still has the issue that was taken from it, or already the next one."""
        try:
            return self._store is not None and self._store_answers() and self._store.newest(*place)[1] >= index
        except RidecastError:
            return False

    def _from_store(self, view: RegionView, measure: str, stored: Stored[ForecastIssued]) -> bytes | None:
        """The blob of an issue if the online store has that issue of this log, else None; says why, once."""
        place = view.region.id, measure
        if self._store is None:
            return None
        try:
            blob, why = self._look(view, measure, stored) if self._store_answers() else (None, "does not answer")
        except RidecastError as cause:
            blob, why = None, str(cause)
        if why and self._refused.get(place) != why:
            log.warning("online store: region %s, %s: %s; forecasts come from the ledger", *place, why)
        if blob is not None or why:
            self._refused[place] = why
        return blob

    def _look(self, view: RegionView, measure: str, stored: Stored[ForecastIssued]) -> tuple[bytes | None, str]:
        """The blob, or None with the reason, which is empty if the store is only a moment behind or ahead."""
        place = view.region.id, measure
        if self._store is None or self._store.newest(*place)[1] < stored.index:
            return None, ""
        issue = self._store.get(*place)
        if issue is None or stored.index < issue.index < view.size:
            return None, ""
        if issue.index >= view.size:
            before, self._ahead[place] = self._ahead.get(place), issue.index
            # The log may just have grown: the view is refreshed before the next look.
            foreign = f"holds entry {issue.index}, and the log has fewer: it was filled from another ledger"
            return None, foreign if before == issue.index else ""
        digest = hashlib.sha256(issue.blob).digest() if issue.blob else b""
        if issue.entry != stored.payload or digest != stored.record.blob:
            return None, f"entry {issue.index} is another one in the log: it was filled from another ledger"
        return issue.blob, ""
