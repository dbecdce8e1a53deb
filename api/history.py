"""Counted rides of one cell, slot by slot, from closed slots and, before them, from the bootstrap.

Counts are as known now, with late rides. For slots older than the week that the view keeps, they include late
rides up to the settling time after the last requested slot; `late_until` is the time up to which they are included.
"""

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy, answer, unchanged
from api.context import ApiContext, cell_of, measure_of
from api.problems import Problem, bad_value
from api.resource import CELL, INTEGER, MEASURE, REGION, TEXT, TIME, Operation, Parameter, array_of, one_of, record_of
from api.times import iso, local_iso, parse_target
from ledger.views.region_view import RegionView
from schemas.records.count_table import from_table, tables_of
from schemas.records.records import CountTable, SlotClosed, SlotStatus
from schemas.regions import US_PER_S

DEFAULT_HOURS = 24
MOST_SLOTS = 2_016  # seven days of five minutes
BOOTSTRAPPED = "bootstrapped"  # instead of a status: history was counted in one pass, not slot by slot

Counted = dict[int, tuple[int, str]]  # slot -> (rides, status)


def get_history(context: ApiContext, request: Request) -> Response:
    """GET /v1/regions/{region}/cells/{cell}/history"""
    view = context.require_view(request.path_params["region"])
    region = view.region
    measure, cell = measure_of(request, region), cell_of(request.path_params["cell"], region)
    size = view.size  # Read first: a response newer than its ETag is fetched again, an older one would never be.
    start, stop = _range(request, view)
    version = f"{size}-{start}-{stop}"
    if (same := unchanged(request, CachePolicy.REVALIDATE, version)) is not None:
        return same
    counted, late_us = count_slots(context, view, measure, cell, start, stop)
    held = context.newest.held(region.id, measure)
    if not any(rides for rides, _ in counted.values()) and (held is None or cell not in held.issue.row_of):
        raise Problem(
            404, "unknown-cell", f"cell: no rides in this time and no forecast now in {request.path_params['cell']}", field="cell"
        )
    body: dict[str, object] = {
        "region": region.id,
        "measure": measure,
        "cell": request.path_params["cell"].lower(),
        "from": iso(start * region.slot_us),
        "from_local": local_iso(start * region.slot_us, region),
        "until": iso(stop * region.slot_us),
        "slot_min": region.slot_min,
        "late_until": iso(late_us),
        "log": view.log,
        "size": size,
        "slots": [{"start": iso(slot * region.slot_us), "rides": rides, "status": status} for slot, (rides, status) in counted.items()],
    }
    return answer(request, body, CachePolicy.REVALIDATE, version)


def _range(request: Request, view: RegionView) -> tuple[int, int]:
    """Slots [start, stop) of the query, limited to existing ones."""
    region = view.region
    end = view.newest.slot + 1 if view.newest else view.boot.start_slot
    given_from, given_until = request.query_params.get("from"), request.query_params.get("until")
    stop = parse_target("until", given_until, region) // region.slot_us if given_until is not None else end
    default_slots = DEFAULT_HOURS * 60 // region.slot_min
    start = parse_target("from", given_from, region) // region.slot_us if given_from is not None else stop - default_slots
    if start >= stop:
        raise bad_value("from", f"expected before until ({iso(stop * region.slot_us)}), got {iso(start * region.slot_us)}")
    if stop - start > MOST_SLOTS:
        raise bad_value("from", f"expected at most {MOST_SLOTS} slots up to until, got {stop - start}")
    if stop > end and given_until is not None:
        detail = f"until: slots of {region.id} are closed up to {local_iso(end * region.slot_us, region)}"
        raise Problem(409, "not-available-yet", detail, field="until")
    if stop <= view.boot.first_slot:
        first = local_iso(view.boot.first_slot * region.slot_us, region)
        raise Problem(404, "before-start", f"until: the history of {region.id} begins at {first}", field="until")
    return max(start, view.boot.first_slot), stop


def count_slots(context: ApiContext, view: RegionView, measure: str, cell: int, start: int, stop: int) -> tuple[Counted, int]:
    """Rides and status of slots [start, stop), and the event time up to which late rides are included, microseconds."""
    live = view.boot.start_slot
    counted: Counted = {}
    if start < live:
        counted = bootstrapped(view, measure, cell, start, min(stop, live))
    if stop <= live:
        return counted, live * view.region.slot_us  # The bootstrap is final: late rides do not change it.
    first = max(start, live)
    if first < view.first_kept_slot:
        return counted | scanned(context, view, measure, cell, first, stop), late_bound(view, stop)
    for slot in range(first, stop):
        facts = view.facts(slot)
        if facts is not None:
            counted[slot] = facts.count(measure, cell), facts.status.value
    return counted, (view.newest.slot + 1) * view.region.slot_us if view.newest else live * view.region.slot_us


def late_bound(view: RegionView, stop: int) -> int:
    """Event time up to which `scanned` includes late rides of slots below `stop`."""
    newest_us = ((view.newest.slot if view.newest else view.boot.start_slot - 1) + 1) * view.region.slot_us
    return min(stop * view.region.slot_us + view.region.settle_lateness_s * US_PER_S, newest_us)


def bootstrapped(view: RegionView, measure: str, cell: int, start: int, stop: int) -> Counted:
    """Counts of slots of the bootstrap, with zeros for slots without rides."""
    counted: Counted = dict.fromkeys(range(start, stop), (0, BOOTSTRAPPED))
    for slot, rides in view.bootstrapped_rides(measure, cell, start, stop):
        counted[slot] = rides, BOOTSTRAPPED
    return counted


def scanned(context: ApiContext, view: RegionView, measure: str, cell: int, start: int, stop: int) -> Counted:
    """Counts of older slots, read from the log: each slot's own, and the corrections up to the settling time."""
    found = context.ledger.entry(view.log, SlotClosed, start)
    last_slot = late_bound(view, stop) // view.region.slot_us - 1
    counted: Counted = {}
    if found is None:
        return counted
    for stored in context.ledger.scan(view.log, found.index, kind=SlotClosed):
        record = stored.record
        if record.slot > last_slot:
            break
        counts, corrections = tables_of(record, context.blobs.get)
        if record.slot < stop:
            counted[record.slot] = sum(rides for _, rides in of_cell(counts, measure, cell)), record.status
        for slot, rides in of_cell(corrections, measure, cell):
            if slot in counted:
                counted[slot] = counted[slot][0] + rides, counted[slot][1]
    return counted


def of_cell(tables: tuple[CountTable, ...], measure: str, cell: int) -> list[tuple[int, int]]:
    """(slot, rides) of one cell."""
    out: list[tuple[int, int]] = []
    for table in tables:
        if table.measure == measure:
            slots, cells, counts = from_table(table)
            at = np.flatnonzero(cells == np.uint64(cell))
            out += zip(slots[at].tolist(), counts[at].tolist(), strict=True)
    return out


HISTORY = record_of(
    **{
        "region": TEXT,
        "measure": TEXT,
        "cell": TEXT,
        "from": TIME,
        "from_local": TIME,
        "until": TIME,
        "slot_min": INTEGER,
        "late_until": TIME,
        "log": TEXT,
        "size": INTEGER,
        "slots": array_of(record_of(start=TIME, rides=INTEGER, status=one_of((*SlotStatus, BOOTSTRAPPED)))),
    }
)

OPERATIONS = (
    Operation(
        "/v1/regions/{region}/cells/{cell}/history",
        "history",
        "Rides of one cell, slot by slot",
        get_history,
        HISTORY,
        (
            REGION,
            CELL,
            MEASURE,
            Parameter("from", "Start of the first slot; default: one day before until; zone as for target.", TIME),
            Parameter("until", f"End of the last slot; default: the newest; at most {MOST_SLOTS} slots after from.", TIME),
        ),
        (404, 406, 409, 422, 503),
    ),
)
