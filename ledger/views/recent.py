"""The newest issues whose windows have settled, a bounded number spread over some hours."""

from collections.abc import Iterator

from ledger.store.blobs import Blobs
from ledger.store.log import Ledger
from ledger.views.settled import settled_issues
from schemas.forecasts.settled import SettledIssue
from schemas.regions import US_PER_S, Region

HOURS = 24
MOST_ISSUES = 48  # at 10 ms for 3,000 cells, half a second


def newest_settled(region: Region, closed: int) -> int:
    """The slot after that of the newest issue whose windows have settled, when a slot is the newest that is closed."""
    settle = -(-region.settle_lateness_s * US_PER_S // region.slot_us)
    return closed + 1 - region.horizons[-1] - settle


def recent_issues(ledger: Ledger, blobs: Blobs, region: Region, measure: str, until: int, first: int) -> Iterator[SettledIssue]:
    """At most MOST_ISSUES of the last HOURS hours, ascending.

    Args:
        until: Slot after that of the newest issue to read.
        first: No issue is older.
    """
    begin = max(until - HOURS * 60 // region.slot_min, first)
    if begin < until:
        step = max(1, -(-(until - begin) // MOST_ISSUES))
        yield from settled_issues(ledger, blobs, region, measure, begin, until, step=step)
