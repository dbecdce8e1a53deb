"""Recent forecasts of one cell and horizon, each with the rides that followed."""

from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy, answer, unchanged
from api.context import ApiContext, cell_of, horizon_of, measure_of
from api.forecasts import HORIZON_MIN
from api.points import Numbers
from api.problems import Problem
from api.resource import (
    CELL,
    INTEGER,
    MEASURE,
    REGION,
    RIDES,
    TEXT,
    TIME,
    Operation,
    Parameter,
    array_of,
    bounded,
    maybe,
    record_of,
    whole_number,
)
from api.times import iso
from ledger.views.region_view import RegionView
from schemas.records.records import SlotStatus

DEFAULT_HOURS, MOST_HOURS = 6, 48


def get_track(context: ApiContext, request: Request) -> Response:
    """GET /v1/regions/{region}/cells/{cell}/track"""
    view = context.require_view(request.path_params["region"])
    region = view.region
    measure, cell = measure_of(request, region), cell_of(request.path_params["cell"], region)
    horizon = horizon_of(request, region) or 0
    hours = whole_number(request, "hours", DEFAULT_HOURS, 1, MOST_HOURS)
    size, newest = view.size, view.newest  # In this order: see `api.history.get_history`.
    if newest is None:
        raise Problem(409, "not-available-yet", f"region {region.id}: no slot has closed yet", field="region")
    version = f"{size}-{measure}-{horizon}-{hours}"
    if (same := unchanged(request, CachePolicy.REVALIDATE, version)) is not None:
        return same
    points = []
    for slot in range(max(view.first_kept_slot, newest.slot + 1 - hours * 60 // region.slot_min), newest.slot + 1):
        stored = view.issue(measure, slot)
        record = stored.record if stored else None
        numbers = context.points.numbers(record, cell, horizon) if record else None
        points.append(_point(view, measure, cell, slot, region.horizons[horizon], numbers, stored.index if stored else None))
    if not any(point["mean"] is not None for point in points):
        raise Problem(404, "cell-without-forecast", f"cell: no forecast for {request.path_params['cell']} in these hours", field="cell")
    body = {
        "region": region.id,
        "measure": measure,
        "cell": request.path_params["cell"].lower(),
        "horizon_min": region.horizons_min[horizon],
        "slot": newest.slot,
        "points": points,
    }
    return answer(request, body, CachePolicy.REVALIDATE, version)


def _point(
    view: RegionView, measure: str, cell: int, slot: int, slots: int, numbers: Numbers | None, index: int | None
) -> dict[str, object]:
    mean, median, lower, upper, baseline = numbers or (None,) * 5
    return {
        "target": iso((slot + 1) * view.region.slot_us),
        "index": index,
        "mean": mean,
        "median": median,
        "lower": lower,
        "upper": upper,
        "baseline": baseline,
        "truth": truth_of(view, measure, cell, slot + 1, slots),
    }


def truth_of(view: RegionView, measure: str, cell: int, first: int, slots: int) -> int | None:
    """Rides in slots [first, first + slots) as known now; None while one is open, or if one was not observed."""
    facts = [view.facts(slot) for slot in range(first, first + slots)]
    if any(fact is None or fact.status is SlotStatus.UNOBSERVED for fact in facts):
        return None
    return sum(fact.count(measure, cell) for fact in facts if fact is not None)


POINT = record_of(
    target=TIME,
    index=maybe(INTEGER),
    mean=maybe(RIDES),
    median=maybe(RIDES),
    lower=maybe(RIDES),
    upper=maybe(RIDES),
    baseline=maybe(RIDES),
    truth=maybe(INTEGER),
)
TRACK = record_of(region=TEXT, measure=TEXT, cell=TEXT, horizon_min=INTEGER, slot=INTEGER, points=array_of(POINT))

OPERATIONS = (
    Operation(
        "/v1/regions/{region}/cells/{cell}/track",
        "track",
        "Recent forecasts of one cell, with the rides of the same window",
        get_track,
        TRACK,
        (
            REGION,
            CELL,
            HORIZON_MIN,
            MEASURE,
            Parameter("hours", f"Hours to go back, 1 to {MOST_HOURS}; default: {DEFAULT_HOURS}.", bounded(1, MOST_HOURS)),
        ),
        (404, 406, 409, 422, 503),
    ),
)
