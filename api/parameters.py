"""Parameters that can be changed while a home runs: their values now and at any past time, and every change. Only reads."""

from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy, answer
from api.context import ApiContext, cell_of
from api.problems import Problem, bad_value
from api.resource import GEOHASH, INTEGER, NAME, TEXT, TIME, Operation, Parameter, array_of, maybe, one_of, record_of
from ledger.views.parameters import history_of, parameters_at, size_named
from schemas.errors import UsageError
from schemas.records.records import CONTROL_LOG
from state.decide.parameter_table import PARAMETERS, ROWS
from state.decide.parameters import InForce, Parameter as Row, Scope, document


def get_parameters(context: ApiContext, request: Request) -> Response:
    """GET /v1/params"""
    size, in_force, region, cell = _asked(context, request)
    rows = [_document(context, in_force, row, region, cell) for row in ROWS]
    body = {"log": CONTROL_LOG, "control_size": size, "region": region or None, "cell": cell or None, "parameters": rows}
    return answer(request, body, CachePolicy.NO_STORE)


def get_parameter(context: ApiContext, request: Request) -> Response:
    """GET /v1/params/{name}"""
    row = _row(request)
    size, in_force, region, cell = _asked(context, request)
    body = {"log": CONTROL_LOG, "control_size": size, "region": region or None, "cell": cell or None}
    return answer(request, body | _document(context, in_force, row, region, cell), CachePolicy.NO_STORE)


def get_history(context: ApiContext, request: Request) -> Response:
    """GET /v1/params/{name}/history"""
    row = _row(request)
    size = size_of(context, request)
    changes = history_of(context.ledger, size, row.name, _region(context, request))
    return answer(request, {"log": CONTROL_LOG, "control_size": size, "parameter": row.name, "changes": changes}, CachePolicy.NO_STORE)


def size_of(context: ApiContext, request: Request) -> int:
    """Size of the control log that `at` names; now by default.

    Raises:
        Problem: it names none.
    """
    try:
        return size_named(context.ledger, request.query_params.get("at"))
    except UsageError as wrong:
        raise bad_value("at", str(wrong)) from None


def _asked(context: ApiContext, request: Request) -> tuple[int, InForce, str, str]:
    region, cell = _region(context, request), request.query_params.get("cell", "")
    if cell and not region:
        raise bad_value("cell", "expected a region too, got none")
    if cell:
        cell_of(cell, context.require_view(region).region)
    size = size_of(context, request)
    return size, parameters_at(context.ledger, size), region, cell.lower()


def _region(context: ApiContext, request: Request) -> str:
    region = request.query_params.get("region", "")
    if region:
        context.require_view(region)
    return region


def _row(request: Request) -> Row:
    name = request.path_params["name"]
    if name not in PARAMETERS:
        raise Problem(404, "unknown-parameter", f"name: expected one of {', '.join(PARAMETERS)}, got {name!r}", field="name")
    return PARAMETERS[name]


def _document(context: ApiContext, in_force: InForce, row: Row, region: str, cell: str) -> dict[str, object]:
    return document(in_force, row, region, cell, getattr(context.settings, row.setting) if row.setting else None)


AT = Parameter(
    "at",
    "A past time (UTC without a zone), or a size of the log `control`, such as a close cites; default: now.",
    {"type": "string", "maxLength": 64},
    example="2026-05-01T12:00Z",
)
REGION = Parameter("region", "For this region; default: the instance.", NAME, example="nyc")
CELL = Parameter("cell", "For this cell of the region.", GEOHASH, example="dr5ru7")
ROW_NAME = Parameter("name", "Name of a parameter, as listed by /v1/params.", NAME, "path", "surge_threshold_nats")
FIELDS = {
    "parameter": TEXT,
    "value": TEXT,
    "unit": TEXT,
    "source": TEXT,
    "default": TEXT,
    "bounds": TEXT,
    "scopes": array_of(one_of([str(scope) for scope in Scope])),
    "effect": TEXT,
    "meaning": TEXT,
    "set": maybe(record_of(region=maybe(TEXT), cell=maybe(TEXT), set_at=TIME, author=TEXT, reason=TEXT)),
}
PLACE = {"log": TEXT, "control_size": INTEGER, "region": maybe(TEXT), "cell": maybe(TEXT)}
CHANGE = record_of(
    index=INTEGER,
    set_at=TIME,
    parameter=TEXT,
    region=maybe(TEXT),
    cell=maybe(TEXT),
    value=maybe(TEXT),
    unit=TEXT,
    author=TEXT,
    reason=TEXT,
)
PROBLEMS = (404, 406, 409, 422, 503)

OPERATIONS = (
    Operation(
        "/v1/params",
        "parameters",
        "Every parameter that can be changed while the home runs, with its value now or at a past time",
        get_parameters,
        record_of(**PLACE, parameters=array_of(record_of(**FIELDS))),
        (REGION, CELL, AT),
        PROBLEMS,
    ),
    Operation(
        "/v1/params/{name}",
        "parameter",
        "One parameter, now or at a past time",
        get_parameter,
        record_of(**PLACE, **FIELDS),
        (ROW_NAME, REGION, CELL, AT),
        PROBLEMS,
    ),
    Operation(
        "/v1/params/{name}/history",
        "parameter_history",
        "Every change of a parameter, with who decided it and why",
        get_history,
        record_of(log=TEXT, control_size=INTEGER, parameter=TEXT, changes=array_of(CHANGE)),
        (ROW_NAME, REGION, AT),
        PROBLEMS,
    ),
)
