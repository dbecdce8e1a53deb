"""The logs of the ledger, and any entry with its exact bytes."""

import base64
import re
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy, answer, plain, unchanged
from api.context import ApiContext
from api.problems import Problem, bad_value
from api.resource import DIGEST, INTEGER, TEXT, JsonSchema, Operation, Parameter, array_of, bounded, maybe, record_of
from ledger.formats.merkle import leaf_hash
from ledger.store.log import LOG_NAME
from schemas.errors import NotFound
from schemas.records.record_codec import decode_if_known
from schemas.records.records import JobAbandoned, JobFailed, JobLeased, JobScheduled, JobStarted, JobSucceeded, RunStarted

# Kinds of record with fields that are not for the public, and these fields: they help who looks for a way in. The hash is
# shown, so who has the entry can prove it all the same.
REDACTED: dict[str, tuple[str, ...]] = {
    RunStarted.__name__: ("host", "packages", "source"),
    JobScheduled.__name__: ("arguments",),  # folders, and addresses of witnesses
    JobLeased.__name__: ("owner",),  # begins with the name of a host
    JobStarted.__name__: ("command",),
    JobSucceeded.__name__: ("tail",),
    JobFailed.__name__: ("error", "tail"),
    JobAbandoned.__name__: ("by", "why"),  # why names the owner
}


LONGEST_NAME = 100  # of a log, characters; a longer one is no name of a file


def get_logs(context: ApiContext, request: Request) -> Response:
    """GET /v1/ledger"""
    heads = [(log, context.ledger.head(log)) for log in context.ledger.logs()]
    logs = [{"log": log, "size": head.size, "root": head.root.hex()} for log, head in heads]
    return answer(request, {"instance": context.settings.instance, "logs": logs}, CachePolicy.NO_STORE)


def get_entry(context: ApiContext, request: Request) -> Response:
    """GET /v1/ledger/{log}/entries/{index}"""
    text = request.path_params["index"]
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise bad_value("index", f"expected a whole number of at least 0, got {text!r}")
    index, log = int(text), log_of(context, request)
    size = context.ledger.head(log).size
    if index >= size:
        raise Problem(404, "no-such-entry", f"index: log {log} has entries 0 to {size - 1}, got {index}", field="index", size=size)
    with suppress(NotFound):  # then the entry is read, and says what is wrong with it
        version = context.ledger.node(log, 0, index).hex()[:32]
        if (same := unchanged(request, CachePolicy.IMMUTABLE, version)) is not None:
            return same
    [stored] = context.ledger.read(log, index, index + 1)
    redacted = stored.kind in REDACTED
    record = plain(decode_if_known(stored.payload))
    if redacted and isinstance(record, dict):
        record = record | dict.fromkeys(REDACTED[stored.kind])
    body = {
        "log": log,
        "index": index,
        "kind": stored.kind,
        "slot": stored.slot,
        "subject": stored.subject,
        "leaf_hash": leaf_hash(stored.payload).hex(),
        "payload": None if redacted else base64.b64encode(stored.payload).decode(),
        "record": record,
        "redacted": list(REDACTED.get(stored.kind, ())),
    }
    return answer(request, body, CachePolicy.IMMUTABLE, leaf_hash(stored.payload).hex()[:32])


def log_of(context: ApiContext, request: Request) -> str:
    """The log in the path.

    Raises:
        Problem: it does not exist, or it has no entries.
    """
    log: str = request.path_params["log"]
    if (
        len(log) > LONGEST_NAME or not LOG_NAME.fullmatch(log) or not context.ledger.head(log).size
    ):  # A log's name becomes a file name: its form is checked first.
        known = ", ".join(context.ledger.logs()) or "none"
        raise Problem(404, "unknown-log", f"log: expected one of {known}, got {log!r}", field="log")
    return log


LOG_TEXT: JsonSchema = {"type": "string", "pattern": f"^{LOG_NAME.pattern}$", "maxLength": LONGEST_NAME}
LOG = Parameter("log", "Name of a log, including its slash.", LOG_TEXT, "path", "region/nyc")
ENTRY = record_of(
    log=TEXT,
    index=INTEGER,
    kind=TEXT,
    slot=maybe(INTEGER),
    subject=TEXT,
    leaf_hash=DIGEST,
    payload=maybe(
        {
            "type": "string",
            "contentEncoding": "base64",
            "description": "hashed bytes: Avro, single-object encoding; null if redacted",
        }
    ),
    record=maybe({"type": "object", "description": "the decoded payload; bytes as hex"}),
    redacted=array_of(TEXT),
)

OPERATIONS = (
    Operation(
        "/v1/ledger",
        "logs",
        "Every log with its size and root",
        get_logs,
        record_of(instance=TEXT, logs=array_of(record_of(log=TEXT, size=INTEGER, root=DIGEST))),
        problems=(406, 503),
    ),
    Operation(
        "/v1/ledger/{log:path}/entries/{index}",
        "entry",
        "One entry of a log, with its exact bytes",
        get_entry,
        ENTRY,
        (
            LOG,
            Parameter("index", "Index in the log, from 0.", bounded(0, 10**18 - 1), "path", "0"),
        ),
        (404, 406, 422, 503),
    ),
)
