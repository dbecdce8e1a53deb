"""Evaluation of feature flags over HTTP, by OpenFeature's remote evaluation protocol (OFREP), which its stock providers speak.

Errors of an evaluation have the protocol's form: `errorCode` and `errorDetails`. The API's other errors are problems (RFC 9457).
"""

import hashlib

from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy, answer, to_json
from api.context import ApiContext
from api.problems import Problem
from api.resource import INTEGER, TEXT, JsonSchema, Operation, Parameter, array_of, asked_body, one_of, record_of
from schemas.records.records import CONTROL_LOG
from state.decide.flags import Code, Context, Evaluated, Failed, Reason
from state.decide.known_flags import document, say


def post_evaluate(context: ApiContext, request: Request) -> Response:
    """POST /ofrep/v1/evaluate/flags/{key}"""
    key: str = request.path_params["key"]
    flags, given = context.flags.latest(), _context_of(request)
    found = given if isinstance(given, Failed) and key in flags else say(flags, key, {} if isinstance(given, Failed) else given)
    status = 200 if isinstance(found, Evaluated) else 404 if found.code is Code.FLAG_NOT_FOUND else 400
    return answer(request, document(flags, key, found, CONTROL_LOG), CachePolicy.NO_STORE, status=status)


def post_evaluate_all(context: ApiContext, request: Request) -> Response:
    """POST /ofrep/v1/evaluate/flags"""
    given = _context_of(request)
    if isinstance(given, Failed):
        return answer(request, {"errorCode": str(given.code), "errorDetails": given.details}, CachePolicy.NO_STORE, status=400)
    flags = context.flags.latest()
    body = {"flags": [document(flags, key, known.say(given), CONTROL_LOG) for key, known in flags.items()]}
    return answer(request, body, CachePolicy.REVALIDATE, hashlib.sha256(to_json(body)).hexdigest()[:32])


def _context_of(request: Request) -> Context | Failed:
    """The context in a request; none is an empty one."""
    try:
        body = asked_body(request)
    except Problem as problem:
        if problem.status == 413:
            raise
        return Failed(Code.PARSE_ERROR, str(problem.detail))
    if not isinstance(body, dict):
        return Failed(Code.PARSE_ERROR, f"body: expected an object, got {type(body).__name__}")
    given = body.get("context", {})
    if not isinstance(given, dict):
        return Failed(Code.INVALID_CONTEXT, f"context: expected an object, got {type(given).__name__}")
    return given


KEY = Parameter("key", "Key of a flag.", {"type": "string", "maxLength": 64}, "path", "new-page")
CONTEXT: JsonSchema = {
    "type": "object",
    "properties": {
        "context": {
            "type": "object",
            "description": "`region` and `cell` are what rules look at; `targetingKey` decides in shares; others do not matter",
        }
    },
}
VALUE: JsonSchema = {"description": "a truth value, number, text or object"}
SUCCESS = record_of(
    key=TEXT, value=VALUE, variant=TEXT, reason=one_of([str(one) for one in Reason]), metadata=record_of(log=TEXT, index=INTEGER)
)
FAILURE = record_of(key=TEXT, errorCode=one_of([str(one) for one in Code]), errorDetails=TEXT)

OPERATIONS = (
    Operation(
        "/ofrep/v1/evaluate/flags/{key}",
        "evaluate_flag",
        "The value of one feature flag for a context (OFREP)",
        post_evaluate,
        SUCCESS,
        (KEY,),
        (406, 413, 503),
        method="POST",
        asks=CONTEXT,
    ),
    Operation(
        "/ofrep/v1/evaluate/flags",
        "evaluate_flags",
        "The value of every feature flag for a context (OFREP), with an ETag",
        post_evaluate_all,
        record_of(flags=array_of({"anyOf": [SUCCESS, FAILURE]})),
        problems=(406, 413, 503),
        method="POST",
        asks=CONTEXT,
    ),
)
