"""Which entry issued the forecast that a person means, by region, cell and target; and from which slot on chunks are kept."""

from dataclasses import dataclass

from ledger.store.blobs import Retention
from ledger.store.log import Ledger, Stored
from ledger.views.regions import region_of
from schemas.errors import NotFound, UsageError
from schemas.events.cells import cell_code
from schemas.records.records import RUNS_LOG, BlobsExpired, ForecastIssued, region_log
from schemas.regions import Region
from schemas.times import local_iso, parse_target


@dataclass(frozen=True, slots=True)
class FoundIssue:
    """A forecast that a command names: its region, measure and cell, the start of its window, and the entry that issued it."""

    region: Region
    measure: str
    cell: int
    target_us: int
    stored: Stored[ForecastIssued]


def find_issue(ledger: Ledger, name: str, *, cell: str, target: str, measure: str | None = None, words: str = "--") -> FoundIssue:
    """The issue that a person means.

    Args:
        name: Of a region that is bootstrapped.
        cell: Geohash, as long as the region's precision.
        target: Start of the window; without a zone it is the region's local time.
        measure: One of the region's; its first if None.
        words: What stands before `cell` and `target` in errors: `--` where they are options.
    Raises:
        NotFound: nothing was issued for that target.
        UsageError: cell, target or measure cannot be one of this region.
    """
    region = region_of(ledger, name)
    chosen = region.measures[0] if measure is None else measure
    if chosen not in region.measures:
        raise UsageError(f"--measure: expected one of {', '.join(region.measures)}, got {measure!r}")
    code = cell_code(cell.lower())
    if len(cell) != region.precision:
        raise UsageError(f"{words}cell: expected {region.precision} letters in region {name}, got {cell!r}")
    try:
        target_us = parse_target(target, region)
    except UsageError as cause:
        raise UsageError(f"{words}target: {cause}") from None
    log = region_log(name)
    stored = ledger.entry(log, ForecastIssued, target_us // region.slot_us - 1, chosen)
    if stored is None:
        ends = [ledger.entry(log, ForecastIssued, subject=chosen, last=last) for last in (True, False)]
        newest, first = (local_iso(((end.slot or 0) + 1) * region.slot_us, region) if end is not None else None for end in ends)
        said = "none yet" if newest is None else f"the newest has target {newest}, the first {first}"
        raise NotFound(f"{words}target: region {name} issued no forecast of {chosen} for {local_iso(target_us, region)}; {said}")
    return FoundIssue(region, chosen, code, target_us, stored)


def expired_until(ledger: Ledger, region: str) -> int:
    """First slot whose forecast chunks are not recorded as expired; 0 if none are."""
    records = ledger.records(RUNS_LOG, BlobsExpired)
    return max((one.until_slot for one in records if (one.region, one.retention) == (region, Retention.FORECAST)), default=0)
