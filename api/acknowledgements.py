"""Acknowledgements: a client has handled an entry, with an outcome. Spooled here, appended by the process with the key."""

from starlette.requests import Request
from starlette.responses import Response

from api.access import subject_of
from api.answers import CachePolicy, answer
from api.context import ApiContext
from api.json_body import JsonSchema
from api.problems import Problem, bad_value
from api.resource import INTEGER, TEXT, Operation, given_body, record_of
from ledger.store.spool import SpoolFull
from schemas.records.api_records import Acknowledged
from schemas.records.record_codec import encode

RETRY_AFTER_S = 60
LOG_NAME: JsonSchema = {"type": "string", "description": "name of the log", "example": "region/nyc", "maxLength": 100}
INDEX: JsonSchema = {"type": "integer", "minimum": 0, "description": "of the entry in its log"}
# A closed set instead of free text: ledger entries are permanent and must not name a person.
OUTCOME: JsonSchema = {"type": "string", "enum": ["seen", "handled", "false_alarm"], "description": "what became of it"}


def post_acknowledgement(context: ApiContext, request: Request) -> Response:
    """POST /v1/acknowledgements"""
    given = given_body(request)
    log, index, outcome = str(given["log"]), given["index"], str(given["outcome"])
    assert isinstance(index, int)  # by the schema
    if log not in context.ledger.logs():
        raise bad_value("log", f"expected one of {', '.join(context.ledger.logs()) or 'none'}, got {log!r}")
    size = context.ledger.head(log).size
    if index >= size:
        raise bad_value("index", f"expected an entry below {size}, the size of {log}, got {index}")
    if context.spool is None:
        raise Problem(503, "no-spool", "this process has no spool, so it accepts no writes")
    record = Acknowledged(log=log, index=index, outcome=outcome, subject=subject_of(request), acknowledged_at_us=context.now_us())
    try:
        number = context.spool.put([encode(record)])
    except SpoolFull as cause:
        detail = "the spool is full, because no process appends it to the ledger; try again later"
        raise Problem(503, "spool-full", detail, headers={"retry-after": str(RETRY_AFTER_S)}) from cause
    return answer(request, {"log": log, "index": index, "outcome": outcome, "spooled": number}, CachePolicy.NO_STORE, status=202)


OPERATIONS = (
    Operation(
        "/v1/acknowledgements",
        "acknowledge",
        "Record how an entry, such as an alert, was handled; durable once the response is sent, in the log `alerts` soon after",
        post_acknowledgement,
        record_of(log=TEXT, index=INTEGER, outcome=TEXT, spooled=INTEGER),
        method="POST",
        takes=record_of(log=LOG_NAME, index=INDEX, outcome=OUTCOME),
        status=202,
        problems=(400, 403, 406, 413, 415, 422, 503),
    ),
)
