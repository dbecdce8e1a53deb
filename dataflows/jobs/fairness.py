"""Measures the fairness of what was served: issued forecasts and settled counts of a period, by the classes of their cells."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dataflows.stream.stores import Stores
from ledger.views.regions import bootstrap_of
from ledger.views.settled import settled_issues
from schemas.configuration.areas import Areas
from schemas.errors import NotFound
from schemas.forecasts.settled import SettledIssue
from schemas.records.records import SlotClosed, region_log
from schemas.regions import DAY_MIN, US_PER_S, Region
from state.detect.fairness import Fairness, fairness
from state.detect.outcomes import count_issues

DEFAULT_DAYS = 28
SEED = 1  # of the intervals: the same ledger gives the same ones


@dataclass(frozen=True, slots=True)
class Period:
    """Slots [first, until) at whose cuts forecasts were issued; every `step`-th is read."""

    first: int
    until: int
    step: int


@dataclass(frozen=True, slots=True)
class MeasuredFairness:
    """What was found for one measure of demand.

    Attributes:
        issues: Slots of those that were read, ascending.
        found: Measures and gaps.
    """

    region: Region
    measure: str
    issues: list[int]
    found: Fairness


def period_of(stores: Stores, region: Region, first: int | None, until: int | None) -> Period:
    """The period in question: by default the last 28 days whose forecasts have settled, at windows that do not overlap.

    Args:
        first, until: Slots; the forecasts for windows that start in [first, until) are meant.
    Raises:
        NotFound: no slot is closed yet.
    """
    newest = stores.ledger.find(region_log(region.id), SlotClosed)
    if newest is None:
        raise NotFound(f"region {region.id}: no slot is closed yet", remedy="run `ridecast run` first")
    settle = -(-region.settle_lateness_s * US_PER_S // region.slot_us)
    end = newest.slot + 1 - region.horizons[-1] - settle if until is None else until - 1
    begin = end - DEFAULT_DAYS * DAY_MIN // region.slot_min if first is None else first - 1
    return Period(max(begin, bootstrap_of(stores.ledger, region.id).start_slot), end, region.horizons[0])


def measure_fairness(
    stores: Stores, region: Region, measure: str, areas: Areas, period: Period, *, on_issue: Callable[[int, int], None] = lambda *_: None
) -> MeasuredFairness:
    """Measures and gaps of a period.

    Args:
        on_issue: Called with (slots done, slots in total).
    Raises:
        NotFound: no issue of the period has settled, or the chunks of all have expired.
    """
    slots: list[int] = []

    def watched() -> Iterator[SettledIssue]:
        read = settled_issues(stores.ledger, stores.blobs, region, measure, period.first, period.until, step=period.step)
        for issue in read:
            slots.append(issue.slot)
            on_issue(issue.slot - period.first, period.until - period.first)
            yield issue

    sums = count_issues(region, areas, watched())
    if not slots:
        raise NotFound(f"region {region.id}: no forecast of {measure} in this period has settled and is still kept")
    return MeasuredFairness(region, measure, slots, fairness(sums, seed=SEED))
