"""Which experiments a region has and had, and what the newest of each measure says so far."""

from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy, answer
from api.context import ApiContext
from api.measured import Measured
from api.resource import DIGEST, FLAG, INTEGER, NUMBER, REGION, TEXT, TIME, Operation, array_of, maybe, one_of, record_of
from ledger.views.experiments import PastExperiment, experiments_of
from ledger.views.region_view import RegionView
from schemas.records.records import CONTROL_LOG, ExperimentStarted
from schemas.times import iso
from state.decide.experiments import Finding

MOST_LISTED = 20


def get_experiments(context: ApiContext, request: Request) -> Response:
    """GET /v1/regions/{region}/experiments"""
    view = context.require_view(request.path_params["region"])
    size = context.ledger.head(CONTROL_LOG).size
    found = [one for one in experiments_of(context.ledger, size) if one.started.region == view.region.id][-MOST_LISTED:][::-1]
    newest = {one.started.measure: one for one in reversed(found)}
    body = [_as_json(context, view, one, measured=newest[one.started.measure] is one) for one in found]
    return answer(request, {"region": view.region.id, "log": CONTROL_LOG, "experiments": body}, CachePolicy.NO_STORE)


def _as_json(context: ApiContext, view: RegionView, one: PastExperiment, *, measured: bool) -> dict[str, object]:
    started, slot_us = one.started, view.region.slot_us
    next_slot = view.newest.slot + 1 if view.newest else view.boot.start_slot
    return {
        "id": started.experiment,
        "measure": started.measure,
        "state": one.state(next_slot),
        "running": one.ended_index < 0 and next_slot < started.until_slot,
        "champion": started.champion.hex(),
        "challenger": started.challenger.hex(),
        "share": started.share_milli / 1000,
        "block_min": started.block_slots * view.region.slot_min,
        "from": iso(started.start_slot * slot_us),
        "until": iso(started.until_slot * slot_us),
        "loss": started.loss,
        "author": started.author,
        "reason": started.reason,
        "index": one.index,
        "result": _measured(context, view, started) if measured and started.measure in view.region.measures else None,
    }


def _measured(context: ApiContext, view: RegionView, started: ExperimentStarted) -> dict[str, object]:
    kept = context.measured.get((view, started), lambda: Measured(context.ledger, context.blobs, view.boot, started))
    return kept.go_on(context.monotonic)


RESULT = record_of(
    finding=one_of(Finding),
    sentence=TEXT,
    blocks=INTEGER,
    change=maybe(NUMBER),
    lower=maybe(NUMBER),
    upper=maybe(NUMBER),
    measured_until=maybe(TIME),
    complete=FLAG,
)
EXPERIMENT = record_of(
    **{
        "id": TEXT,
        "measure": TEXT,
        "state": TEXT,
        "running": FLAG,
        "champion": DIGEST,
        "challenger": DIGEST,
        "share": NUMBER,
        "block_min": INTEGER,
        "from": TIME,
        "until": TIME,
        "loss": TEXT,
        "author": TEXT,
        "reason": TEXT,
        "index": INTEGER,
        "result": maybe(RESULT),
    }
)

OPERATIONS = (
    Operation(
        "/v1/regions/{region}/experiments",
        "experiments",
        "Experiments of a region, newest first, and what the newest of each measure says so far",
        get_experiments,
        record_of(region=TEXT, log=TEXT, experiments=array_of(EXPERIMENT)),
        (REGION,),
        (404, 406, 503),
    ),
)
