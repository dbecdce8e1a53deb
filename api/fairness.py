"""How good recent forecasts were for the classes of a region's areas; docs/fairness.md explains the numbers.

A request reads at most MOST_ISSUES issues of the last week, in a thread; the answer is kept until an hour's slots have closed
or the areas file has changed.
"""

from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy, answer, unchanged
from api.context import ApiContext, measure_of
from api.problems import Problem
from api.resource import (
    FLAG,
    INTEGER,
    MEASURE,
    NUMBER,
    REGION,
    TEXT,
    TIME,
    JsonSchema,
    Operation,
    array_of,
    maybe,
    one_of,
    record_of,
)
from ledger.views.region_view import RegionView
from ledger.views.settled import settled_issues
from schemas.configuration.areas import Areas, areas_of, areas_version
from schemas.errors import UsageError
from schemas.forecasts.settled import SettledIssue
from schemas.regions import DAY_MIN, US_PER_S, Region
from state.detect.fairness import MEASURES, fairness
from state.detect.fairness_plain import plain_fairness
from state.detect.outcomes import count_issues

DAYS = 7
MOST_ISSUES = 160  # of a week; at 10 ms for 3,000 cells, two seconds
SEED = 1  # of the intervals, as in `ridecast fairness`
KEPT_MIN = 60


def get_fairness(context: ApiContext, request: Request) -> Response:
    """GET /v1/regions/{region}/fairness"""
    view = context.require_view(request.path_params["region"])
    region, measure = view.region, measure_of(request, view.region)
    newest = view.newest.slot if view.newest else view.boot.start_slot - 1
    until = (newest + 1) // _slots(region, KEPT_MIN) * _slots(region, KEPT_MIN) - region.horizons[-1] - _settle(region)
    version = f"{until}-{areas_version(context.settings.home, region.id)}-{measure}"
    if (same := unchanged(request, CachePolicy.REVALIDATE, version)) is not None:
        return same
    body = context.once.get(("fairness", region.id, measure), version, lambda: _measured(context, view, measure, until))
    return answer(request, body, CachePolicy.REVALIDATE, version)


def _slots(region: Region, minutes: int) -> int:
    return max(1, minutes // region.slot_min)


def _settle(region: Region) -> int:
    return -(-region.settle_lateness_s * US_PER_S // region.slot_us)


def _measured(context: ApiContext, view: RegionView, measure: str, until: int) -> dict[str, object]:
    region = view.region
    try:
        areas = areas_of(region, context.settings.home) or Areas(region.id, region.precision, ())
    except UsageError as cause:
        raise Problem(409, "areas-invalid", str(cause), field="region") from cause
    first = max(until - _slots(region, DAYS * DAY_MIN), view.boot.start_slot)
    step = max(1, -(-(until - first) // MOST_ISSUES))
    read: list[int] = []

    def issues() -> Iterator[SettledIssue]:
        for issue in settled_issues(context.ledger, context.blobs, region, measure, first, until, step=step):
            read.append(issue.slot)
            yield issue

    found = fairness(count_issues(region, areas, issues()), seed=SEED)
    return plain_fairness(region, measure, read, found)


SHARE = record_of(value=maybe(NUMBER), low=maybe(NUMBER), high=maybe(NUMBER))
NAMES = tuple(measure.name for measure in MEASURES)
CLASS: JsonSchema = record_of(
    **{
        "attribute": maybe(TEXT),
        "class": TEXT,
        "horizon_min": INTEGER,
        "days": INTEGER,
        "pairs": INTEGER,
        "rides": INTEGER,
        "enough_data": FLAG,
    },
    **dict.fromkeys(NAMES, SHARE),
)
GAP = record_of(attribute=TEXT, horizon_min=INTEGER, measure=one_of(NAMES), highest=TEXT, lowest=TEXT, gap=SHARE, bound=NUMBER)
FAIRNESS = record_of(
    **{
        "region": TEXT,
        "measure": TEXT,
        "from": maybe(TIME),
        "until": maybe(TIME),
        "issues": INTEGER,
        "sentence": TEXT,
        "clearly_beyond_bound": FLAG,
        "classes": array_of(CLASS),
        "gaps": array_of(GAP),
    }
)

OPERATIONS = (
    Operation(
        "/v1/regions/{region}/fairness",
        "fairness",
        "How good the forecasts of the last week were for the classes of the region's areas",
        get_fairness,
        FAIRNESS,
        (REGION, MEASURE),
        (404, 406, 409, 422, 503),
    ),
)
