"""The forecasts of a region: newest, for a target, or as known at a time, for one cell, several or all.

The newest ones are held ready (`api.newest`); past ones come from the blob that an entry names. Nothing is computed.
"""

from dataclasses import dataclass

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from api.answers import JSON, CachePolicy, answer, compressed, respond_prepared, takes_gzip, unchanged
from api.context import ApiContext, cell_of, horizon_of, measure_of
from api.forecast_rows import forecast_rows, header_of
from api.newest import Source
from api.points import blob_of
from api.prepared import said_of
from api.problems import Problem, bad_value
from api.resource import (
    CELL,
    DIGEST,
    FLAG,
    INTEGER,
    MEASURE,
    NUMBER,
    REGION,
    RIDES,
    TEXT,
    TIME,
    JsonSchema,
    Operation,
    Parameter,
    array_of,
    bounded,
    maybe,
    one_of,
    record_of,
    whole_number,
)
from api.times import iso, local_iso, parse_target, parse_time
from ledger.store.log import Stored
from ledger.views.freshness import Freshness
from ledger.views.region_view import RegionView
from schemas.events.cells import cell_text
from schemas.events.rides import Int64s
from schemas.forecasts.chunks import ForecastColumns
from schemas.records.records import Fallback, ForecastIssued, SlotStatus
from schemas.regions import US_PER_S, Region
from state.forecast.arms import Arm
from state.forecast.routes import Role

PAST = frozenset(("target", "known_at"))  # parameters that ask for another issue than the newest
MOST_CELLS = 1_000  # in one query
ALL = "all"
CELLS: JsonSchema = {"type": "string", "maxLength": 13 * MOST_CELLS}


@dataclass(frozen=True, slots=True)
class SelectedIssue:
    """The past issue that a query selects.

    Attributes:
        index: Of the issue's entry.
        record: The entry.
        at_us: Time of the query, in event time.
        fixed: Whether the response can never change.
    """

    index: int
    record: ForecastIssued
    at_us: int
    fixed: bool


def get_forecasts(context: ApiContext, request: Request) -> Response:
    """GET /v1/regions/{region}/forecasts"""
    view = context.require_view(request.path_params["region"])
    region = view.region
    measure, horizon = measure_of(request, region), horizon_of(request, region)
    wanted = _wanted(request, region)
    top = whole_number(request, "top", 0, 1, MOST_CELLS)
    if top and wanted is not None:
        raise bad_value("top", "expected without cell, because it selects the cells")
    if not _asks_for_past(request):
        return _newest(context, request, view, measure, horizon, wanted, top)
    selected = _select_issue(context, view, measure, request)
    record = selected.record
    cache = CachePolicy.IMMUTABLE if selected.fixed else CachePolicy.REVALIDATE
    age_s = max(0, (selected.at_us - record.target_us) // US_PER_S)
    age = None if selected.fixed else context.age_at(view, record.target_us)
    stale = age is not None and age.stale
    version = f"{selected.index}-{record.blob.hex()[:16]}{'-stale' if stale else ''}"
    if (held := unchanged(request, cache, version)) is not None:
        return held
    columns = blob_of(context.blobs.get(record.blob) if record.blob else b"").columns(record.horizons_min)
    rows = _rows_of(columns, wanted, top, horizon or 0)
    found = set(columns.cells[rows].tolist())
    missing = [cell_text(code, region.precision) for code in wanted or () if code not in found]
    if missing and not len(rows):
        raise no_such_cells(missing, record, region, selected.index)
    body: dict[str, object] = {
        **header_of(record, region, view.log, selected.index),
        "age_s": age_s,
        "stale": stale,
        "freshness": age.freshness.value if age is not None else None,
        "source": Source.LEDGER.value,
        "forecasts": forecast_rows(columns, rows, record, region, horizon, context.experiments.challenged(record, columns)),
        "without_forecast": missing,
    }
    return answer(request, body, cache, version)


def from_memory(context: ApiContext, request: Request) -> bool:
    """Whether a request asks for the newest forecasts, which are held ready."""
    return context.in_memory(request) and not _asks_for_past(request)


def _asks_for_past(request: Request) -> bool:
    return bool(request.scope["query_string"]) and not PAST.isdisjoint(request.query_params)


# --- the newest issue, from memory ---------------------------------------------------------------


def _newest(
    context: ApiContext, request: Request, view: RegionView, measure: str, horizon: int | None, wanted: list[int] | None, top: int
) -> Response:
    held = context.newest.held(view.region.id, measure)
    if held is None:
        if view.newest_issue(measure) is None:
            raise _not_yet(view, "no slot has closed yet")
        raise Problem(503, "store-unavailable", "the newest forecasts cannot be read; try again", headers={"retry-after": "2"})
    issue = held.issue
    age = context.age_at(view, issue.record.target_us)
    fallback = held.source is Source.LEDGER and context.store is not None
    version = f"{issue.version}{'' if age.freshness is Freshness.LIVE else f'-{age.freshness}'}{'-ledger' if fallback else ''}"
    if (same := unchanged(request, CachePolicy.REVALIDATE, version)) is not None:
        return same
    said = said_of(age.age_s, age.stale, age.freshness.value, held.source.value)
    more = {"ridecast_source": held.source.value} if fallback else {}
    if wanted is None:
        data, gzipped = issue.selected(said, (horizon, top), gzipped=takes_gzip(request))
        return respond_prepared(CachePolicy.REVALIDATE, version, data, JSON, gzipped=gzipped, **more)
    rows = [issue.row_of[code] for code in wanted if code in issue.row_of]
    missing = [cell_text(code, view.region.precision) for code in wanted if code not in issue.row_of]
    if missing and not rows:
        raise no_such_cells(missing, issue.record, view.region, issue.index)
    data, gzipped = compressed(request, issue.some(said, rows, horizon, missing))
    return respond_prepared(CachePolicy.REVALIDATE, version, data, JSON, gzipped=gzipped, **more)


# --- which issue ---------------------------------------------------------------------------------


def _select_issue(context: ApiContext, view: RegionView, measure: str, request: Request) -> SelectedIssue:
    region = view.region
    target, known_at = request.query_params.get("target"), request.query_params.get("known_at")
    known_us = parse_time("known_at", known_at, region) if known_at is not None else None
    if target is not None:
        target_us = parse_target("target", target, region)
        stored = issue_for(view, measure, target_us, known_us)
        return SelectedIssue(stored.index, stored.record, target_us if known_us is None else known_us, True)
    assert known_us is not None  # by `_asks_for_past`
    return _known(view, measure, known_us)


def issue_for(view: RegionView, measure: str, target_us: int, known_us: int | None) -> Stored[ForecastIssued]:
    """The entry that issued the forecasts of a target.

    Raises:
        Problem: it does not exist, not yet, or was not known at that time.
    """
    region = view.region
    slot = target_us // region.slot_us - 1
    newest = view.newest
    if slot < view.boot.start_slot:
        first = local_iso((view.boot.start_slot + 1) * region.slot_us, region)
        raise Problem(404, "before-start", f"target: the first forecast of {region.id} has target {first}", field="target")
    if newest is None or slot > newest.slot:
        state = f"the newest has target {local_iso((newest.slot + 1) * region.slot_us, region)}" if newest else "no slot has closed yet"
        raise _not_yet(view, state, "target")
    if known_us is not None and known_us < view.visible_us(slot):
        raise _not_yet(view, f"it is known from {iso(view.visible_us(slot))}", "known_at")
    return _past(view, measure, slot, "target")


def _known(view: RegionView, measure: str, known_us: int) -> SelectedIssue:
    newest = view.newest
    slot = (known_us - view.region.issue_lateness_s * US_PER_S) // view.region.slot_us - 1
    if slot < view.boot.start_slot:
        first = iso(view.visible_us(view.boot.start_slot))
        raise Problem(404, "before-start", f"known_at: the first forecast of {view.region.id} is known from {first}", field="known_at")
    if newest is None:
        raise _not_yet(view, "no slot has closed yet", "known_at")
    # For a time that the log has not reached, this is what is known now; it may change later.
    stored = _past(view, measure, min(slot, newest.slot), "known_at")
    return SelectedIssue(stored.index, stored.record, known_us, slot <= newest.slot)


def _past(view: RegionView, measure: str, slot: int, field: str) -> Stored[ForecastIssued]:
    stored = view.issue(measure, slot)
    if stored is None:
        raise Problem(404, "no-forecast", f"{field}: slot {slot} of {view.region.id} issued no forecast of {measure}", field=field)
    return stored


def _not_yet(view: RegionView, state: str, field: str | None = None) -> Problem:
    detail = f"region {view.region.id}: this forecast is not available yet; {state}"
    return Problem(409, "not-available-yet", detail if field is None else f"{field}: {detail}", field=field or "region")


def no_such_cells(missing: list[str], record: ForecastIssued, region: Region, index: int) -> Problem:
    """404: the issue has no forecast for these cells."""
    detail = f"cell: no forecast for {', '.join(missing[:5])} in slot {record.slot} of {region.id}: no ride there in 28 days before it"
    return Problem(404, "cell-without-forecast", detail, field="cell", index=index)


# --- which cells ---------------------------------------------------------------------------------


def _wanted(request: Request, region: Region) -> list[int] | None:
    """Codes of the cells in the query, in its order; None for all."""
    text = request.query_params.get("cell", ALL)
    if text == ALL:
        return None
    names = text.split(",")
    if len(names) > MOST_CELLS:
        raise bad_value("cell", f"expected at most {MOST_CELLS} cells, or {ALL}, got {len(names)}")
    return list(dict.fromkeys(cell_of(name.strip(), region) for name in names))


def _rows_of(columns: ForecastColumns, wanted: list[int] | None, top: int, horizon: int) -> Int64s:
    """Row numbers of the requested cells in their order, of the busiest cells, or of all."""
    if wanted is not None:
        cells = np.array(wanted, np.uint64)
        at = np.searchsorted(columns.cells, cells)
        at[at == len(columns)] = 0
        return at[columns.cells[at] == cells] if len(columns) else np.empty(0, np.int64)
    if top:
        return np.argsort(-columns.mean[:, horizon], kind="stable")[:top]
    return np.arange(len(columns))


# --- operations -----------------------------------------------------------------------------------

HORIZON = record_of(horizon_min=INTEGER, mean=RIDES, median=RIDES, lower=RIDES, upper=RIDES, baseline=RIDES, confidence=NUMBER)
LEVELS = record_of(from_milli=INTEGER, lower_milli=INTEGER, median_milli=INTEGER, upper_milli=INTEGER)
SPREAD = record_of(
    horizon_min=INTEGER,
    dispersion_milli=INTEGER,
    quiet_dispersion_milli=INTEGER,
    lower_milli=INTEGER,
    upper_milli=INTEGER,
    bands=array_of(LEVELS),
)
FORECASTS = record_of(
    region=TEXT,
    measure=TEXT,
    slot=INTEGER,
    slot_status=one_of(SlotStatus),
    target=TIME,
    target_local=TIME,
    known_from=TIME,
    log=TEXT,
    index=INTEGER,
    models=array_of(DIGEST),
    roles=array_of(one_of((*Role, Arm.CHALLENGER))),
    reasons={"type": "object", "additionalProperties": TEXT},
    experiment=maybe(TEXT),
    blob=DIGEST,
    family=TEXT,
    spread=array_of(SPREAD),
    online_weight=NUMBER,
    cells=INTEGER,
    age_s=INTEGER,
    stale=FLAG,
    freshness=maybe(one_of(Freshness)),
    source=one_of(("online_store", "ledger")),
    forecasts=array_of(
        record_of(
            cell=TEXT,
            fallback=one_of(Fallback),
            why=TEXT,
            model=maybe(DIGEST),
            experiment=maybe(record_of(id=TEXT, arm=one_of(Arm))),
            horizons=array_of(HORIZON),
        )
    ),
    without_forecast=array_of(TEXT),
)

HORIZON_MIN = Parameter("horizon_min", "One of the region's horizons, in minutes; default: all of them.", bounded(1, 10_080), example="15")

OPERATIONS = (
    Operation(
        "/v1/regions/{region}/forecasts",
        "forecasts",
        "Forecasts of a region: newest, for a target, or as known at a time",
        get_forecasts,
        FORECASTS,
        (
            REGION,
            Parameter(
                CELL.name, f"One cell, up to {MOST_CELLS} separated by commas, or {ALL} (the default).", CELLS, example="dr5ru7,dr5ru6"
            ),
            HORIZON_MIN,
            MEASURE,
            Parameter(
                "target",
                "Start of the forecast window, a slot boundary; without a zone it is the region's local time.",
                TIME,
                example="2014-05-06T18:00",
            ),
            Parameter("known_at", "Only forecasts known at this event time; zone as for target.", TIME),
            Parameter(
                "top", "Only so many cells: those with the largest mean at the (first) horizon, in that order.", bounded(1, MOST_CELLS)
            ),
        ),
        (404, 406, 409, 422, 503),
        in_memory=from_memory,
        repeats=True,
    ),
)
