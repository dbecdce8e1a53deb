"""The regions: progress, age of data, and recent forecast errors."""

from collections import Counter

from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy, answer
from api.context import ApiContext
from api.resource import (
    FLAG,
    INTEGER,
    NUMBER,
    REGION,
    TEXT,
    TIME,
    JsonSchema,
    Operation,
    Parameter,
    array_of,
    bounded,
    if_watched,
    maybe,
    one_of,
    record_of,
    whole_number,
)
from api.times import iso, local_iso
from ledger.views.freshness import Freshness
from ledger.views.region_view import RegionView, sums_of
from ledger.views.source_news import sentence
from ledger.views.standing import Standing
from schemas.records.records import SlotStatus

DEFAULT_HOURS, MOST_HOURS = 24, 168


def get_regions(context: ApiContext, request: Request) -> Response:
    """GET /v1/regions"""
    regions = [_summary(context, name, context.view(name)) for name in context.regions]
    return answer(request, {"instance": context.settings.instance, "regions": regions}, CachePolicy.NO_STORE)


def get_region(context: ApiContext, request: Request) -> Response:
    """GET /v1/regions/{region}"""
    view = context.require_view(request.path_params["region"])
    hours = whole_number(request, "hours", DEFAULT_HOURS, 1, MOST_HOURS)
    with view.lock:
        body: dict[str, object] = {
            **_summary(context, view.region.id, view),
            "events": _events(view),
            "source_news": [
                {"kind": type(record).__name__, "index": index, "text": sentence(record)} for index, record in reversed(view.source_news)
            ],
            "scored_hours": hours,
            "scores": recent_scores(view, hours),
        }
    return answer(request, body, CachePolicy.NO_STORE)


def _summary(context: ApiContext, name: str, view: RegionView | None) -> dict[str, object]:
    if view is None:
        return {"region": name, "status": "not_bootstrapped"} | dict.fromkeys(list(SUMMARY_FIELDS)[2:])
    region, newest = view.region, view.newest
    end_us = (newest.slot + 1) * region.slot_us if newest else None
    age, stand = context.age(view), context.standing(name)
    return {
        "region": name,
        "status": "serving" if newest else "waiting",
        "timezone": region.timezone,
        "measures": list(region.measures),
        "horizons_min": list(region.horizons_min),
        "slot_min": region.slot_min,
        "precision": region.precision,
        "counted_from": local_iso(view.boot.start_slot * region.slot_us, region),
        "slot": newest.slot if newest else None,
        "slot_status": newest.status.value if newest else None,
        "slot_rides": newest.rides if newest else None,
        "data_until": iso(end_us) if end_us is not None else None,
        "data_until_local": local_iso(end_us, region) if end_us is not None else None,
        "age_s": age.age_s if age is not None else None,
        "age_slots": round(age.slots, 2) if age is not None else None,
        "stale": age.stale if age is not None else None,
        "freshness": age.freshness.value if age is not None else None,
        "standing": stand.standing.value,
        "standing_slot": stand.slot,
        "standing_reason": stand.reason,
        "log": view.log,
        "size": view.size,
    }


def _events(view: RegionView) -> dict[str, object]:
    rejected: Counter[str] = Counter()
    for totals in view.partitions.values():
        rejected.update(totals.rejected)
    held = view.partitions.values()
    return {
        "received": sum(totals.received for totals in held),
        "accepted": sum(totals.accepted for totals in held),
        "duplicate": sum(totals.duplicate for totals in held),
        "rejected": dict(sorted(rejected.items())),
        "corrections": view.corrections,
    }


def recent_scores(view: RegionView, hours: int) -> list[dict[str, object]]:
    """Pooled errors of the last hours per measure and horizon, of served forecasts and of the baseline."""
    out: list[dict[str, object]] = []
    for measure in view.region.measures:
        pooled: dict[int, Counter[str]] = {}
        slots: Counter[int] = Counter()
        for score in view.recent_scores(measure, hours * 60 // view.region.slot_min):
            for row in score.rows:
                pooled.setdefault(row.horizon_min, Counter()).update(sums_of(row))
                slots[row.horizon_min] += 1
        for horizon_min, sums in sorted(pooled.items()):
            out.append({"measure": measure, "horizon_min": horizon_min, "slots": slots[horizon_min], **ratios(sums)})
    return out


def ratios(sums: Counter[str]) -> dict[str, object]:
    """WAPE of the medians, RMSE of the means, and the share of true counts inside the interval; None without data."""
    truth_milli, cells = sums["truth"] * 1000, sums["cells"]

    def share(part: int, whole: int) -> float | None:
        return round(part / whole, 6) if whole else None

    def rmse(square_error_micro: int) -> float | None:
        return round((square_error_micro / 1_000_000 / cells) ** 0.5, 6) if cells else None

    return {
        "truth": sums["truth"],
        "wape_median": share(sums["abs_error_milli"], truth_milli),
        "baseline_wape_median": share(sums["baseline_abs_error_milli"], truth_milli),
        "rmse_mean": rmse(sums["square_error_micro"]),
        "baseline_rmse_mean": rmse(sums["baseline_square_error_micro"]),
        "covered": share(sums["covered"], cells),
    }


SUMMARY_FIELDS: dict[str, JsonSchema] = {
    "region": TEXT,
    "status": {"enum": ["serving", "waiting", "not_bootstrapped"]},
    "timezone": maybe(TEXT),
    "measures": maybe(array_of(TEXT)),
    "horizons_min": maybe(array_of(INTEGER)),
    "slot_min": maybe(INTEGER),
    "precision": maybe(INTEGER),
    "counted_from": maybe(TIME),
    "slot": maybe(INTEGER),
    "slot_status": maybe(one_of(SlotStatus)),
    "slot_rides": maybe(INTEGER),
    "data_until": maybe(TIME),
    "data_until_local": maybe(TIME),
    "age_s": maybe(INTEGER),
    "age_slots": maybe(NUMBER),
    "stale": maybe(FLAG),
    "freshness": maybe(one_of(Freshness)),
    "standing": maybe(one_of(Standing)),
    "standing_slot": maybe(INTEGER),
    "standing_reason": maybe(TEXT),
    "log": maybe(TEXT),
    "size": maybe(INTEGER),
}
SCORE = record_of(
    measure=TEXT,
    horizon_min=INTEGER,
    slots=INTEGER,
    truth=INTEGER,
    wape_median=maybe(NUMBER),
    baseline_wape_median=maybe(NUMBER),
    rmse_mean=maybe(NUMBER),
    baseline_rmse_mean=maybe(NUMBER),
    covered=maybe(NUMBER),
)
EVENTS = record_of(
    received=INTEGER,
    accepted=INTEGER,
    duplicate=INTEGER,
    rejected={"type": "object", "additionalProperties": INTEGER},
    corrections=INTEGER,
)
NEWS = record_of(kind=TEXT, index=INTEGER, text=TEXT)
HOURS = Parameter("hours", f"Hours of event time over which scores are pooled; default: {DEFAULT_HOURS}.", bounded(1, MOST_HOURS))

OPERATIONS = (
    Operation(
        "/v1/regions",
        "regions",
        "Every region: progress and age of its data",
        get_regions,
        record_of(instance=TEXT, regions=array_of(record_of(**SUMMARY_FIELDS))),
        problems=(406, 503),
        in_memory=if_watched,
    ),
    Operation(
        "/v1/regions/{region}",
        "region",
        "One region, with counts of its events and its live error compared with the baseline",
        get_region,
        record_of(**SUMMARY_FIELDS, events=EVENTS, source_news=array_of(NEWS), scored_hours=INTEGER, scores=array_of(SCORE)),
        (REGION, HOURS),
        (404, 406, 409, 422, 503),
        in_memory=if_watched,
    ),
)
