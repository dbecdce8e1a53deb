"""The OpenAPI document, generated from the same operations as the routes, so that both always agree."""

import hashlib
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version

from starlette.requests import Request
from starlette.responses import Response

from api.answers import JSON, CachePolicy, answer_bytes, to_json
from api.context import ApiContext
from api.problems import MEDIA_TYPE
from api.resource import JsonSchema, Operation, Parameter, always

PROBLEM: JsonSchema = {
    "type": "object",
    "description": "RFC 9457",
    "properties": {
        "type": {"type": "string", "description": "urn:ridecast:problem:..., stable"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what was expected and what was given"},
        "field": {"type": "string", "description": "the parameter that caused the problem"},
        "instance": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail"],
}


def document(operations: Sequence[Operation]) -> dict[str, object]:
    """The complete document, for OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ridecast",
            "version": _version(),
            "description": "Forecasts of ride demand per geohash cell, each with its ledger entry.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(operation for operation in operations if operation.documented),
        "components": {
            "schemas": {"Problem": PROBLEM, **{operation.name: operation.body for operation in operations if operation.documented}}
        },
    }


def _paths(operations: Iterable[Operation]) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for operation in operations:
        found.setdefault(operation.openapi_path, {})[operation.method.lower()] = _member(operation)
    return found


def _member(operation: Operation) -> dict[str, object]:
    responses: dict[str, object] = {
        str(operation.status): {"description": operation.summary, "content": {operation.media_type: {"schema": _ref(operation.name)}}},
    }
    if operation.method == "GET":
        responses["304"] = {"description": "the client has this version (If-None-Match)"}
    for status in operation.problems:
        responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": _ref("Problem")}}}
    responses["default"] = {"description": "any other error", "content": {MEDIA_TYPE: {"schema": _ref("Problem")}}}
    members: dict[str, object] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [_parameter(parameter) for parameter in operation.parameters],
        "responses": responses,
    }
    if (body := operation.takes or operation.asks) is not None:
        members["requestBody"] = {"required": True, "content": {JSON: {"schema": body}}}
    return members


def _parameter(parameter: Parameter) -> dict[str, object]:
    members: dict[str, object] = {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.required or parameter.where == "path",
        "description": parameter.meaning,
        "schema": parameter.schema,
    }
    return members | ({"example": parameter.example} if parameter.example is not None else {})


def _ref(name: str) -> dict[str, object]:
    return {"$ref": f"#/components/schemas/{name}"}


def _version() -> str:
    try:
        return version("ridecast")
    except PackageNotFoundError:  # a checkout that was never installed
        return "0"


def openapi_operation(operations: Sequence[Operation]) -> Operation:
    """The operation that serves the document of these operations and of itself."""

    def get_openapi(context: ApiContext, request: Request) -> Response:
        """GET /openapi.json"""
        return answer_bytes(request, data, JSON, CachePolicy.REVALIDATE, version_of_body)

    itself = Operation("/openapi.json", "openapi", "This document", get_openapi, {"type": "object"}, problems=(406,), in_memory=always)
    body = document([*operations, itself])
    data = to_json(body)
    version_of_body = hashlib.sha256(data).hexdigest()[:16]
    return itself
