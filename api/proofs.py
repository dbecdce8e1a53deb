"""The proof of one served number: the text that `ridecast ledger prove` writes and `check-proof` checks."""

import hashlib
import re

from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy, answer_bytes, unchanged
from api.context import ApiContext, cell_of, measure_of
from api.forecasts import issue_for
from api.ledger_tiles import NOTE, require_note
from api.problems import Problem, bad_value
from api.resource import CELL, MEASURE, REGION, TARGET, TEXT, TIME, Operation, Parameter, bounded
from api.times import parse_target, parse_time
from schemas.errors import NotFound


def get_proof(context: ApiContext, request: Request) -> Response:
    """GET /v1/regions/{region}/forecasts/{cell}/{target}/{horizon_min}/proof"""
    path = request.path_params
    view = context.require_view(path["region"])
    region, measure = view.region, measure_of(request, view.region)
    cell = cell_of(path["cell"], region)
    if not re.fullmatch(r"[0-9]{1,4}", path["horizon_min"]):
        raise bad_value("horizon_min", f"expected one of {', '.join(map(str, region.horizons_min))}, got {path['horizon_min']!r}")
    target_us = parse_target("target", path["target"], region)
    known_at = request.query_params.get("known_at")
    stored = issue_for(view, measure, target_us, parse_time("known_at", known_at, region) if known_at is not None else None)
    note = require_note(context, view.log, stored.index)
    # What a proof is made of, besides the cell and horizon of its path.
    version = hashlib.sha256(b"%d\n%b\n%b" % (stored.index, stored.record.blob, note.encode())).hexdigest()[:32]
    # A proof stays valid, but a later one may have more signatures: it may be cached, and must be revalidated.
    if (same := unchanged(request, CachePolicy.REVALIDATE, version)) is not None:
        return same
    try:
        text = context.provers.proof(stored, note, cell=cell, horizon_min=int(path["horizon_min"]))
    except NotFound as cause:
        raise Problem(404, "no-proof", str(cause), field="cell", index=stored.index) from None
    return answer_bytes(request, text.encode(), NOTE, CachePolicy.REVALIDATE, version)


OPERATIONS = (
    Operation(
        "/v1/regions/{region}/forecasts/{cell}/{target}/{horizon_min}/proof",
        "proof",
        "The proof of one forecast, which can be checked offline (C2SP tlog-proof)",
        get_proof,
        TEXT,
        (
            REGION,
            CELL,
            TARGET,
            Parameter("horizon_min", "One of the region's horizons, minutes.", bounded(1, 9_999), "path", "15"),
            MEASURE,
            Parameter("known_at", "Only a forecast known at this event time; zone as for target.", TIME),
        ),
        (404, 406, 409, 422, 503),
        NOTE,
    ),
)
