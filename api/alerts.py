"""Open alerts, as the log of alerts says; each request reads what was appended since the one before."""

from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy, answer
from api.context import ApiContext
from api.resource import INTEGER, TEXT, TIME, Operation, array_of, maybe, one_of, record_of
from schemas.records.records import ALERTS_LOG
from state.detect.signals import Severity


def get_alerts(context: ApiContext, request: Request) -> Response:
    """GET /v1/alerts"""
    return answer(request, {"log": ALERTS_LOG, "alerts": context.alerts.listed()}, CachePolicy.NO_STORE)


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
        "Open alerts, the severest first; each can be acknowledged by its index in the log",
        get_alerts,
        record_of(log=TEXT, alerts=array_of(ALERT)),
        problems=(406, 503),
    ),
)
