"""What the ledger has at the places that a store names: the newest issue of each measure, and what an issue is that a store holds."""

from dataclasses import dataclass

from ledger.store.blobs import Blobs
from ledger.store.log import Ledger, Stored
from ledger.views.identity import has_entry
from ledger.views.online.protocol import StoredIssue
from ledger.views.online.refresh import blob_of, newest_issues
from ledger.views.reconcile.differences import Reason
from schemas.errors import DamagedError
from schemas.records.record_codec import decode
from schemas.records.records import ForecastIssued, region_log
from schemas.regions import Region


@dataclass(frozen=True, slots=True)
class ExpectedIssue:
    """The issue that a store should hold."""

    issue: StoredIssue
    record: ForecastIssued


class LedgerIssues:
    """The issues of a ledger, with the blob of the newest of one measure at a time in memory."""

    def __init__(self, ledger: Ledger, blobs: Blobs) -> None:
        self._ledger, self._blobs = ledger, blobs

    def newest(self, region: Region, measure: str) -> ExpectedIssue | None:
        """The newest issue of a measure; None before the first.

        Raises:
            NotFound, DamagedError: its blob.
        """
        number = self._ledger.number(region_log(region.id))
        found = [issue for issue in newest_issues(self._ledger, region) if issue.record.measure == measure]
        return self.expected(found[-1], number) if found else None

    def expected(self, stored: Stored[ForecastIssued], number: int) -> ExpectedIssue:
        """An issue with its chunks."""
        record = stored.record
        return ExpectedIssue(StoredIssue(stored.index, stored.payload, blob_of(self._blobs, record), number), record)

    def reason_of(self, region: Region, newest: ExpectedIssue, number: bytes, index: bytes, entry: bytes) -> Reason | None:
        """Why another entry than that of the newest issue is held; None if it is of this ledger and newer: the ledger has grown.

        Args:
            newest: That of the ledger, read before the store.
            number, index, entry: As held; empty if missing.
        """
        try:
            record = decode(entry)
            place = int(number or b"1"), int(index)
        except (DamagedError, ValueError):
            return Reason.DAMAGED
        if not isinstance(record, ForecastIssued):
            return Reason.DAMAGED
        log = region_log(region.id)
        if place[0] == self._ledger.number(log) and has_entry(self._ledger, log, place[1], entry):
            return Reason.STALE if place < newest.issue.place else None
        if place[0] < newest.issue.number:
            return Reason.STALE  # of an earlier origin of the log
        return Reason.AHEAD if place[0] > newest.issue.number or place[1] >= self._ledger.head(log).size else Reason.OTHER_LEDGER
