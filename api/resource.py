"""Operations of the API: path, parameters, response; source of both the routes and the OpenAPI document."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.answers import JSON, require_accept
from api.context import ApiContext
from api.json_body import JsonSchema as JsonSchema, read_any_json, read_json, require_checkable
from api.problems import Problem, status_of
from schemas.errors import ContractError
from schemas.events.measures import MEASURES

Handler = Callable[[ApiContext, Request], Response]


def never(_: ApiContext, __: Request) -> bool:
    """For operations that read a store at each request."""
    return False


def always(_: ApiContext, __: Request) -> bool:
    """For operations that read no store."""
    return True


def if_watched(context: ApiContext, request: Request) -> bool:
    """For operations that read only what is kept up to date outside of requests."""
    return context.in_memory(request)


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
        handler: Makes the response.
        in_memory: Whether the handler finds all that it needs for a request in memory. If so it runs at once, in the event
            loop; otherwise in one of few threads and with a time limit, because it may wait for a store.
        repeats: Whether an answer from memory may be repeated within the same second, until the data changes.
        body: JSON Schema of the response.
        parameters: All accepted parameters; any other name in the query is rejected.
        problems: Error statuses that it may return.
        media_type: Of the response.
        documented: Whether the OpenAPI document lists it.
        method: GET, or one that writes: refused with 403 unless the setting `api_writes` is on.
        takes: JSON Schema of the body that a client must send; the handler gets it from `given_body`.
        asks: JSON Schema of the body of a POST that only asks, and is answered whether or not clients may write. The handler
            checks the body and gets it from `asked_body`, as its errors have another form.
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
    asks: JsonSchema | None = None
    status: int = 200
    in_memory: Callable[[ApiContext, Request], bool] = never
    repeats: bool = False

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
            if self.method != "GET" and self.asks is None and context.settings.api_writes != "on":
                raise Problem(403, "read-only", "this API is read-only; set RIDECAST_API_WRITES=on to allow writes")
            require_accept(request, self.media_type)
            checks = self.documented and request.scope["query_string"]  # A page ignores what it does not know.
            for name, values in _given(request).items() if checks else ():
                if name not in known:
                    expected = ", ".join(sorted(known)) or "none"
                    raise Problem(422, "unknown-parameter", f"{name}: unknown parameter; known: {expected}", field=name)
                if len(values) > 1:
                    raise Problem(422, "repeated-parameter", f"{name}: expected once, got {len(values)} times", field=name)
            return self.handler(context, request)

        async def answered(request: Request) -> Response:
            if self.takes is not None and context.settings.api_writes == "on":  # Else nothing that a stranger sends is read.
                request.state.body = await read_json(request, self.takes)
            if self.asks is not None:
                request.state.body = await _asked(request)
            token = context.token() if self.repeats else None
            if self.repeats and (recent := context.recent.find(token, request)) is not None:
                return recent
            if self.in_memory(context, request):
                response = checked(request)
                if self.repeats and token == context.token():
                    context.recent.keep(request, response)
                return response
            return await context.threads.run(lambda: checked(request))

        async def counted(request: Request) -> Response:
            """As `answered`; the answer is counted where accesses are recorded."""
            if context.accesses is None:
                return await answered(request)
            try:
                response = await answered(request)
            except Exception as cause:
                context.accesses.count(request, self.name, status_of(cause))
                raise
            context.accesses.count(request, self.name, response.status_code)
            return response

        return Route(self.path, counted, methods=[self.method], name=self.name)


def given_body(request: Request) -> dict[str, object]:
    """The members of the body, as the operation's schema has checked them."""
    body: object = request.state.body
    assert isinstance(body, dict)
    return body


def asked_body(request: Request) -> object:
    """The body of an operation that asks.

    Raises:
        Problem: it is no JSON.
    """
    body: object = request.state.body
    if isinstance(body, Problem):
        raise body
    return body


async def _asked(request: Request) -> object:
    try:
        return await read_any_json(request)
    except Problem as problem:  # The handler says so in its own form.
        return problem


def _given(request: Request) -> dict[str, list[str]]:
    return {name: request.query_params.getlist(name) for name in request.query_params}


# --- parameters and schemas that several resources share ---------------------------------------

NAME: JsonSchema = {"type": "string", "maxLength": 64}
GEOHASH: JsonSchema = {"type": "string", "pattern": "^[0-9b-hjkmnp-zB-HJKMNP-Z]{1,12}$"}
REGION = Parameter("region", "Name of a region, as listed by /v1/regions.", NAME, "path", "nyc")
CELL = Parameter("cell", "Geohash of a cell, with as many letters as the region's precision.", GEOHASH, "path", "dr5ru7")
MEASURE = Parameter("measure", "Measure of demand; default: the region's first.", {"enum": sorted(MEASURES)}, example="pickups")

TEXT: JsonSchema = {"type": "string"}
TIME: JsonSchema = {"type": "string", "format": "date-time"}
TARGET = Parameter(
    "target", "Start of the forecast window; without a zone it is the region's local time.", TIME, "path", "2014-05-06T18:00"
)
INTEGER: JsonSchema = {"type": "integer"}
NUMBER: JsonSchema = {"type": "number"}
RIDES: JsonSchema = {"type": "number", "description": "rides, to 1/1000"}
DIGEST: JsonSchema = {"type": "string", "description": "SHA-256, hex"}
FLAG: JsonSchema = {"type": "boolean"}


def bounded(low: int, high: int) -> JsonSchema:
    """A whole number within bounds, for `whole_number`."""
    return {"type": "integer", "minimum": low, "maximum": high}


def one_of(values: Iterable[str | int]) -> JsonSchema:
    """One of a closed set."""
    return {"enum": list(values)}


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
