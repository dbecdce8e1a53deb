"""Alerts, as the log of alerts says; each request reads what was appended since the one before."""

from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy, answer
from api.context import ApiContext
from api.problems import Problem, bad_value
from api.resource import INTEGER, NAME, TEXT, TIME, Operation, Parameter, array_of, maybe, one_of, record_of
from schemas.records.records import ALERTS_LOG
from state.detect.signals import Severity

OPEN, RESOLVED = STATES = ("open", "resolved")


def get_alerts(context: ApiContext, request: Request) -> Response:
    """GET /v1/alerts"""
    asked = request.query_params.get("state", OPEN)
    if asked not in STATES:
        raise bad_value("state", f"expected one of {', '.join(STATES)}, got {asked!r}")
    alerts = context.alerts.listed(resolved=asked == RESOLVED)
    return answer(request, {"log": ALERTS_LOG, "alerts": alerts}, CachePolicy.NO_STORE)


def get_alert(context: ApiContext, request: Request) -> Response:
    """GET /v1/alerts/{alert}"""
    name = request.path_params["alert"]
    found = context.alerts.one(name)
    if found is None:
        detail = f"alert: expected the id of an open alert, or of one of the newest that are resolved, got {name!r}; /v1/alerts lists them"
        raise Problem(404, "unknown-alert", detail, field="alert")
    return answer(request, found, CachePolicy.NO_STORE)


ALERT = record_of(
    alert=TEXT,
    state=one_of(["open", "acknowledged", "silenced", "resolved"]),
    severity=one_of([str(one) for one in Severity]),
    region=TEXT,
    kind=TEXT,
    subject=TEXT,
    message=TEXT,
    root=TEXT,
    signals=array_of(TEXT),
    first_seen=TIME,
    last_seen=TIME,
    opened_at=TIME,
    resolved_at=maybe(TIME),
    resolved_by=TEXT,
    merged_into=TEXT,
    acknowledged=TEXT,
    acknowledged_by=TEXT,
    index=INTEGER,
    evidence=array_of(record_of(log=TEXT, first=INTEGER, last=INTEGER)),
)

OPERATIONS = (
    Operation(
        "/v1/alerts",
        "alerts",
        "Open alerts, the severest first, or the newest resolved ones; each can be acknowledged by its index in the log",
        get_alerts,
        record_of(log=TEXT, alerts=array_of(ALERT)),
        (Parameter("state", "Which alerts; default: open.", {"enum": list(STATES)}, example=RESOLVED),),
        (406, 422, 503),
    ),
    Operation(
        "/v1/alerts/{alert}",
        "alert",
        "One alert: what it is about, since when, why it was opened and how it ended",
        get_alert,
        ALERT,
        (Parameter("alert", "Id of an alert, as listed by /v1/alerts.", NAME, "path", "5e0cb2aa"),),
        (404, 406, 503),
    ),
)
