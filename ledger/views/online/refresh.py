"""Bring an online store up to date with a region's log; used by the publisher and by processes with their own store."""

from collections.abc import Sequence

from ledger.store.blobs import Blobs
from ledger.store.log import Ledger, Stored
from ledger.views.online.protocol import OnlineStore, StoredIssue
from schemas.records.records import ForecastIssued, region_log
from schemas.regions import Region


def newest_issues(ledger: Ledger, region: Region) -> list[Stored[ForecastIssued]]:
    """The issues of the newest slot with issues, in log order."""
    log = region_log(region.id)
    last = ledger.entry(log, ForecastIssued)
    if last is None:
        return []
    # The issues of a slot are appended together, so a search by slot never returns only some of them.
    found = [ledger.entry(log, ForecastIssued, slot=last.slot, subject=name) for name in region.measures]
    return sorted((issue for issue in found if issue is not None), key=lambda issue: issue.index)


def refresh(store: OnlineStore, blobs: Blobs, issues: Sequence[Stored[ForecastIssued]], number: int) -> int:
    """Put the issues that are newer than the stored ones; returns how many were put.

    Args:
        issues: Of one region, as `newest_issues` returns them.
        number: Of the origin of their log.
    """
    put = 0
    for issue in issues:
        record = issue.record
        if store.newest(record.region, record.measure) < (number, issue.index):
            put += store.put(StoredIssue(issue.index, issue.payload, blob_of(blobs, record), number))
    return put


def blob_of(blobs: Blobs, issue: ForecastIssued) -> bytes:
    """The blob with the chunks of an issue; empty for one without cells."""
    return blobs.get(issue.blob) if issue.blob else b""
