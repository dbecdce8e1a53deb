"""Operations of the API: path, parameters, response; source of both the routes and the OpenAPI document."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.answers import JSON, require_accept
from api.context import ApiContext
from api.json_body import JsonSchema as JsonSchema, read_json, require_checkable
from api.problems import Problem, status_of
from schemas.errors import ContractError

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
    """One method of one path.

    Attributes:
        path: In Starlette's form, such as /v1/ledger/{log:path}/entries/{index}.
        name: Unique; the OpenAPI operationId.
        summary: One line of description.
        handler: Makes the response; runs in a thread, so it may block on a store.
        body: JSON Schema of the response.
        parameters: All accepted parameters; any other name in the query is rejected.
        problems: Error statuses that it may return.
        media_type: Of the response.
        documented: Whether the OpenAPI document lists it.
        method: GET, or one that writes: refused with 403 unless the setting `api_writes` is on.
        takes: JSON Schema of the body that a client must send; the handler gets it from `given_body`.
        status: Status of a successful response.
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
    method: str = "GET"
    takes: JsonSchema | None = None
    status: int = 200

    @property
    def openapi_path(self) -> str:
        """The path without Starlette's convertors."""
        return re.sub(r"\{(\w+):\w+\}", r"{\1}", self.path)

    def route(self, context: ApiContext) -> Route:
        """The route that answers it.

        Raises:
            ContractError: it takes a body that cannot be checked.
        """
        known = {parameter.name for parameter in self.parameters if parameter.where == "query"}
        if self.method == "GET" and self.takes is not None:
            raise ContractError(f"{self.name}: expected a GET without a body")
        if self.takes is not None:
            require_checkable(self.takes, self.name)

        def checked(request: Request) -> Response:
            if self.method != "GET" and context.settings.api_writes != "on":
                raise Problem(403, "read-only", "nothing can be written here: the setting api_writes is off")
            require_accept(request, self.media_type)
            for name, values in _given(request).items() if self.documented else ():  # A page ignores unknown parameters.
                if name not in known:
                    expected = ", ".join(sorted(known)) or "none"
                    raise Problem(422, "unknown-parameter", f"{name}: unknown parameter; known: {expected}", field=name)
                if len(values) > 1:
                    raise Problem(422, "repeated-parameter", f"{name}: expected once, got {len(values)} times", field=name)
            return self.handler(context, request)

        def counted(request: Request) -> Response:
            """As `checked`; the answer is counted where accesses are recorded."""
            if context.accesses is None:
                return checked(request)
            try:
                response = checked(request)
            except Exception as cause:
                context.accesses.count(request, self.name, status_of(cause))
                raise
            context.accesses.count(request, self.name, response.status_code)
            return response

        async def with_body(request: Request) -> Response:
            assert self.takes is not None
            if context.settings.api_writes == "on":  # Else nothing that a stranger sends is read.
                request.state.body = await read_json(request, self.takes)
            return await run_in_threadpool(counted, request)

        return Route(self.path, counted if self.takes is None else with_body, methods=[self.method], name=self.name)


def given_body(request: Request) -> dict[str, object]:
    """The members of the body, as the operation's schema has checked them."""
    body: object = request.state.body
    assert isinstance(body, dict)
    return body


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
