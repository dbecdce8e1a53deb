"""Operations of the API: path, parameters, response; source of both the routes and the OpenAPI document."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.answers import JSON, require_accept
from api.context import ApiContext
from api.problems import Problem

JsonSchema = dict[str, object]
Handler = Callable[[ApiContext, Request], Response]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter; `schema` is JSON Schema, path parameters are always required."""

    name: str
    meaning: str
    schema: JsonSchema
    where: str = "query"
    example: str | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One GET operation.

    Attributes:
        path: In Starlette's form, such as /v1/ledger/{log:path}/entries/{index}.
        name: Unique; the OpenAPI operationId.
        summary: One line of description.
        handler: Makes the response; runs in a thread, so it may wait for a store.
        body: JSON Schema of the response.
        parameters: All parameters; any other name in the query is refused.
        problems: Possible error statuses.
        media_type: Media type of the response.
        documented: Whether the OpenAPI document includes it.
    """

    path: str
    name: str
    summary: str
    handler: Handler
    body: JsonSchema
    parameters: tuple[Parameter, ...] = ()
    problems: tuple[int, ...] = ()
    media_type: str = JSON
    documented: bool = True

    @property
    def openapi_path(self) -> str:
        """The path without Starlette's convertors."""
        return re.sub(r"\{(\w+):\w+\}", r"{\1}", self.path)

    def route(self, context: ApiContext) -> Route:
        """The route of the operation."""
        known = {parameter.name for parameter in self.parameters if parameter.where == "query"}

        def endpoint(request: Request) -> Response:
            require_accept(request, self.media_type)
            for name, values in _given(request).items() if self.documented else ():  # A page ignores unknown parameters.
                if name not in known:
                    expected = ", ".join(sorted(known)) or "none"
                    raise Problem(422, "unknown-parameter", f"{name}: unknown parameter; known: {expected}", field=name)
                if len(values) > 1:
                    raise Problem(422, "repeated-parameter", f"{name}: expected once, got {len(values)} times", field=name)
            return self.handler(context, request)

        return Route(self.path, endpoint, methods=["GET"], name=self.name)


def _given(request: Request) -> dict[str, list[str]]:
    return {name: request.query_params.getlist(name) for name in request.query_params}


# --- parameters and schemas that several resources share ---------------------------------------

REGION = Parameter("region", "Name of a region, as listed by /v1/regions.", {"type": "string"}, "path", "nyc")
CELL = Parameter("cell", "Geohash of a cell, with as many letters as the region's precision.", {"type": "string"}, "path", "dr5ru7")
MEASURE = Parameter("measure", "Measure of demand; default: the region's first.", {"type": "string"}, example="pickups")

TEXT: JsonSchema = {"type": "string"}
TIME: JsonSchema = {"type": "string", "format": "date-time"}
INTEGER: JsonSchema = {"type": "integer"}
NUMBER: JsonSchema = {"type": "number"}
RIDES: JsonSchema = {"type": "number", "description": "rides, to 1/1000"}
DIGEST: JsonSchema = {"type": "string", "description": "SHA-256, hex"}
FLAG: JsonSchema = {"type": "boolean"}


def maybe(schema: JsonSchema) -> JsonSchema:
    """The schema, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def array_of(items: JsonSchema) -> JsonSchema:
    """An array of items of that schema."""
    return {"type": "array", "items": items}


def record_of(**fields: JsonSchema) -> JsonSchema:
    """An object with exactly these members, all required."""
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def whole_number(request: Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number from the query.

    Raises:
        Problem: not a whole number, or out of bounds.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,19}", text) or not low <= int(text) <= high:
        raise Problem(422, "bad-value", f"{name}: expected a whole number from {low} to {high}, got {text!r}", field=name)
    return int(text)
