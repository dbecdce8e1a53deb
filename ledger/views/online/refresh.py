"""How an online store becomes as new as a region's log: by the publisher, or by a process that keeps its own store."""

from collections.abc import Sequence

from ledger.store.blobs import Blobs
from ledger.store.log import Ledger, Stored
from ledger.views.online.protocol import OnlineStore, StoredIssue
from schemas.records.records import ForecastIssued, region_log
from schemas.regions import Region


def newest_issues(ledger: Ledger, region: Region) -> list[Stored[ForecastIssued]]:
    """The issues of the newest slot that has any, in order of the log."""
    log = region_log(region.id)
    last = ledger.entry(log, ForecastIssued)
    if last is None:
        return []
    # A slot's issues are appended together: found by slot, none is missed that comes while we look.
    found = [ledger.entry(log, ForecastIssued, slot=last.slot, subject=name) for name in region.measures]
    return sorted((issue for issue in found if issue is not None), key=lambda issue: issue.index)


def refresh(store: OnlineStore, blobs: Blobs, issues: Sequence[Stored[ForecastIssued]], number: int) -> int:
    """Put the issues that are newer than what the store holds; returns how many were put.

    Args:
        issues: Of one region, as `newest_issues` finds them.
        number: Of the origin of their log.
    """
    put = 0
    for issue in issues:
        record = issue.record
        if store.newest(record.region, record.measure) < (number, issue.index):
            put += store.put(StoredIssue(issue.index, issue.payload, blob_of(blobs, record), number))
    return put


def blob_of(blobs: Blobs, issue: ForecastIssued) -> bytes:
    """The chunks of an issue, empty for one without cells."""
    return blobs.get(issue.blob) if issue.blob else b""
