"""How large the errors of a region's recent forecasts were, busy cells first.

A request reads at most 48 issues of the last day, in a thread; the answer is kept until half an hour's slots have closed.
"""

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy, answer, unchanged
from api.context import ApiContext, measure_of
from api.resource import INTEGER, MEASURE, NUMBER, REGION, TEXT, TIME, Operation, array_of, maybe, one_of, record_of
from ledger.views.recent import newest_settled, recent_issues
from ledger.views.region_view import RegionView
from schemas.times import iso
from state.forecast.evaluation import BANDS
from state.forecast.live_errors import errors_by_band

KEPT_MIN = 30


def get_errors(context: ApiContext, request: Request) -> Response:
    """GET /v1/regions/{region}/errors"""
    view = context.require_view(request.path_params["region"])
    region, measure = view.region, measure_of(request, view.region)
    newest = view.newest.slot if view.newest else view.boot.start_slot - 1
    kept = max(1, KEPT_MIN // region.slot_min)
    until = newest_settled(region, (newest + 1) // kept * kept - 1)
    version = f"{until}-{measure}"
    if (same := unchanged(request, CachePolicy.REVALIDATE, version)) is not None:
        return same
    body = context.once.get(("errors", region.id, measure), version, lambda: _measured(context, view, measure, until))
    return answer(request, body, CachePolicy.REVALIDATE, version)


def _measured(context: ApiContext, view: RegionView, measure: str, until: int) -> dict[str, object]:
    region = view.region
    issues = list(recent_issues(context.ledger, context.blobs, region, measure, until, view.boot.start_slot))
    ends = [iso((issue.slot + 1) * region.slot_us) for issue in issues]
    return {
        "region": region.id,
        "measure": measure,
        "from": ends[0] if ends else None,
        "until": ends[-1] if ends else None,
        "issues": len(issues),
        "bands": [asdict(row) for row in errors_by_band(region, issues)],
    }


BAND = record_of(
    band=one_of(BANDS),
    horizon_min=INTEGER,
    cells=INTEGER,
    windows=INTEGER,
    rides=INTEGER,
    wape_median=maybe(NUMBER),
    baseline_wape_median=maybe(NUMBER),
    rmse_mean=maybe(NUMBER),
    baseline_rmse_mean=maybe(NUMBER),
)
ERRORS = record_of(
    **{"region": TEXT, "measure": TEXT, "from": maybe(TIME), "until": maybe(TIME), "issues": INTEGER, "bands": array_of(BAND)}
)

OPERATIONS = (
    Operation(
        "/v1/regions/{region}/errors",
        "errors",
        "Errors of the settled forecasts of the last day by band of cells, busy cells first",
        get_errors,
        ERRORS,
        (REGION, MEASURE),
        (404, 406, 422, 503),
    ),
)
