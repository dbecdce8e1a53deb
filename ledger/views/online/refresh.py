"""Bring an online store up to date with a region's log; used by the publisher and by processes with their own store."""

import logging
from collections.abc import Sequence

from ledger.store.blobs import Blobs
from ledger.store.log import Ledger, Stored
from ledger.views.identity import has_entry
from ledger.views.online.protocol import OnlineStore, StoredIssue
from schemas.errors import StoreUnavailable
from schemas.records.records import ForecastIssued, region_log
from schemas.regions import Region

log = logging.getLogger(__name__)


def newest_issues(ledger: Ledger, region: Region) -> list[Stored[ForecastIssued]]:
    """The issues of the newest slot with issues, in log order."""
    name = region_log(region.id)
    last = ledger.entry(name, ForecastIssued)
    if last is None:
        return []
    # The issues of a slot are appended together, so a search by slot never returns only some of them.
    found = [ledger.entry(name, ForecastIssued, slot=last.slot, subject=measure) for measure in region.measures]
    return sorted((issue for issue in found if issue is not None), key=lambda issue: issue.index)


def refresh(ledger: Ledger, store: OnlineStore, blobs: Blobs, issues: Sequence[Stored[ForecastIssued]], number: int) -> int:
    """Put the issues that are newer than the stored ones; returns how many were put.

    A stored issue that counts as newer or equal but is not an entry of the ledger is of another ledger: it is replaced.

    Args:
        issues: Of one region, as `newest_issues` returns them.
        number: Of the origin of their log.
    """
    put = 0
    for issue in issues:
        record = issue.record
        held = store.held(record.region, record.measure)
        if held is not None and held.place >= (number, issue.index):
            if held.entry == issue.payload or has_entry(ledger, issue.log, held.index, held.entry):
                continue  # The same, or of a publisher that was faster.
            log.warning(
                "online store: %s %s: it held entry %d of another ledger; replaced by entry %d",
                record.region,
                record.measure,
                held.index,
                issue.index,
            )
        else:
            held = None
        put += store.put(StoredIssue(issue.index, issue.payload, blob_of(blobs, record), number), instead_of=held)
    return put


def state_of(ledger: Ledger, store: OnlineStore, region: Region) -> str:
    """How an online store compares with the ledger, in words, for the region's first measure."""
    issues = [issue for issue in newest_issues(ledger, region) if issue.record.measure == region.measures[0]]
    try:
        held = store.held(region.id, region.measures[0])
    except StoreUnavailable as cause:
        return f"does not answer: {cause}"
    if held is None:
        return "empty"
    if not has_entry(ledger, region_log(region.id), held.index, held.entry):
        return f"holds entry {held.index} of another ledger"
    behind = issues[-1].index - held.index if issues else 0
    return f"behind: holds entry {held.index}, the newest is {issues[-1].index}" if behind > 0 else "up to date"


def blob_of(blobs: Blobs, issue: ForecastIssued) -> bytes:
    """The blob with the chunks of an issue; empty for one without cells."""
    return blobs.get(issue.blob) if issue.blob else b""
