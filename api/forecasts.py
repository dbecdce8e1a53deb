"""The forecasts of a region: newest, for a target, or as known at a time, for one cell, several or all.

The numbers come from the online store (newest) or from the blob that an entry names (past); nothing is computed.
"""

from dataclasses import dataclass

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy, answer
from api.context import ApiContext, cell_of, horizon_of, measure_of
from api.forecast_rows import FORECASTS, forecast_rows, header_of
from api.points import blob_of
from api.problems import Problem, bad_value
from api.resource import CELL, INTEGER, MEASURE, REGION, TEXT, TIME, Operation, Parameter, whole_number
from api.times import iso, local_iso, parse_target, parse_time
from ledger.store.log import Stored
from ledger.views.online.protocol import StoredIssue
from ledger.views.region_view import RegionView
from schemas.events.cells import cell_text
from schemas.events.rides import Int64s
from schemas.forecasts.chunks import ForecastColumns, decode_chunks
from schemas.records.record_codec import decode
from schemas.records.records import ForecastIssued
from schemas.regions import US_PER_S, Region

MOST_CELLS = 1_000  # in one query
ALL = "all"


@dataclass(frozen=True, slots=True)
class SelectedIssue:
    """The issue that a query selects.

    Attributes:
        index: Of the issue's entry.
        record: The entry.
        columns: The issue's forecasts, of all cells or at least of the requested one.
        at_us: Time of the query, in event time.
        fixed: Whether the response can never change.
    """

    index: int
    record: ForecastIssued
    columns: ForecastColumns
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
    selected = _select_issue(context, view, measure, request, wanted)
    record, columns = selected.record, selected.columns
    age_s = max(0, (selected.at_us - record.target_us) // US_PER_S)
    stale = not selected.fixed and age_s > context.settings.stale_after_s
    rows = _rows_of(columns, wanted, top, horizon or 0)
    found = set(columns.cells[rows].tolist())
    missing = [cell_text(code, region.precision) for code in wanted or () if code not in found]
    if missing and not len(rows):
        detail = f"cell: no forecast for {', '.join(missing[:5])} in slot {record.slot} of {region.id}: no ride there in 28 days before it"
        raise Problem(404, "cell-without-forecast", detail, field="cell", index=selected.index)
    body: dict[str, object] = {
        **header_of(record, region, view.log, selected.index),
        "age_s": age_s,
        "stale": stale,
        "forecasts": forecast_rows(columns, rows, record, region, horizon),
        "without_forecast": missing,
    }
    cache = CachePolicy.IMMUTABLE if selected.fixed else CachePolicy.REVALIDATE
    return answer(request, body, cache, f"{selected.index}-{record.blob.hex()[:16]}{'-stale' if stale else ''}")


# --- which issue ---------------------------------------------------------------------------------


def _select_issue(context: ApiContext, view: RegionView, measure: str, request: Request, wanted: list[int] | None) -> SelectedIssue:
    region = view.region
    target, known_at = request.query_params.get("target"), request.query_params.get("known_at")
    known_us = parse_time("known_at", known_at, region) if known_at is not None else None
    if target is not None:
        return _targeted(context, view, measure, parse_target("target", target, region), known_us)
    if known_us is not None:
        return _known(context, view, measure, known_us)
    if wanted is not None and len(wanted) == 1 and (held := context.store.cell(region.id, measure, wanted[0])) is not None:
        record = decode(held.entry, ForecastIssued)
        return SelectedIssue(held.log_index, record, decode_chunks([held.chunk], record.horizons_min), context.now_us(), False)
    issue = context.store.get(region.id, measure)
    if issue is None:  # The store is filled from the ledger, possibly a moment later.
        stored = view.newest_issue(measure)
        if stored is None:
            raise _not_yet(view, "no slot has closed yet")
        issue = load_issue(context, stored.index, stored.payload)
    return _whole(issue, context.now_us(), fixed=False)


def _whole(issue: StoredIssue, at_us: int, *, fixed: bool) -> SelectedIssue:
    record = decode(issue.entry, ForecastIssued)
    return SelectedIssue(issue.index, record, blob_of(issue.blob).columns(record.horizons_min), at_us, fixed)


def _targeted(context: ApiContext, view: RegionView, measure: str, target_us: int, known_us: int | None) -> SelectedIssue:
    stored = issue_for(view, measure, target_us, known_us)
    return _whole(load_issue(context, stored.index, stored.payload), known_us or target_us, fixed=True)


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


def _known(context: ApiContext, view: RegionView, measure: str, known_us: int) -> SelectedIssue:
    newest = view.newest
    slot = (known_us - view.region.issue_lateness_s * US_PER_S) // view.region.slot_us - 1
    if slot < view.boot.start_slot:
        first = iso(view.visible_us(view.boot.start_slot))
        raise Problem(404, "before-start", f"known_at: the first forecast of {view.region.id} is known from {first}", field="known_at")
    if newest is None:
        raise _not_yet(view, "no slot has closed yet", "known_at")
    # For a time that the log has not reached, this is what is known now; it may change later.
    stored = _past(view, measure, min(slot, newest.slot), "known_at")
    return _whole(load_issue(context, stored.index, stored.payload), known_us, fixed=slot <= newest.slot)


def _past(view: RegionView, measure: str, slot: int, field: str) -> Stored[ForecastIssued]:
    stored = view.issue(measure, slot)
    if stored is None:
        raise Problem(404, "no-forecast", f"{field}: slot {slot} of {view.region.id} issued no forecast of {measure}", field=field)
    return stored


def _not_yet(view: RegionView, state: str, field: str | None = None) -> Problem:
    detail = f"region {view.region.id}: this forecast is not available yet; {state}"
    return Problem(409, "not-available-yet", detail if field is None else f"{field}: {detail}", field=field or "region")


def load_issue(context: ApiContext, index: int, payload: bytes) -> StoredIssue:
    """An issue from its entry in the ledger, its chunks from the blob store."""
    record = decode(payload, ForecastIssued)
    return StoredIssue(index, payload, context.blobs.get(record.blob) if record.blob else b"")


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

HORIZON_MIN = Parameter("horizon_min", "One horizon in minutes; default: all of the region's.", INTEGER, example="15")

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
                CELL.name, f"One cell, up to {MOST_CELLS} separated by commas, or {ALL} (the default).", TEXT, example="dr5ru7,dr5ru6"
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
            Parameter("top", "Maximum number of cells: those with the largest mean at the (first) horizon, in that order.", INTEGER),
        ),
        (404, 406, 409, 422, 503),
    ),
)
