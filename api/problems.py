"""What a client is told when it cannot be answered: RFC 9457 problem details, never a stack trace."""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.errors import RidecastError, StoreUnavailable

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5  # a store that does not answer is asked again by people, not by machines in a loop


class Problem(Exception):
    """A request that cannot be answered, and why.

    Args:
        status: HTTP status, 400 to 599.
        name: What kind of problem, stable for programs: the last part of its `type` URN.
        detail: One sentence for a person: what was expected and what came.
        field: Parameter that is to blame, if one is.
        extra: More members for programs.

    >>> Problem(422, "bad-value", "cell: expected 6 letters, got 'x'", field="cell").body()["type"]
    'urn:ridecast:problem:bad-value'
    """

    def __init__(
        self, status: int, name: str, detail: str, *, field: str | None = None, headers: Mapping[str, str] | None = None, **extra: object
    ) -> None:
        super().__init__(detail)
        self.status, self.name, self.detail, self.field = status, name, detail, field
        self.headers = dict(headers or {})
        self.extra = extra

    def body(self, instance: str | None = None) -> dict[str, object]:
        """Members of the problem's JSON document."""
        members: dict[str, object] = {
            "type": f"urn:ridecast:problem:{self.name}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.field is not None:
            members["field"] = self.field
        if instance is not None:
            members["instance"] = instance
        return members | self.extra


def bad_value(field: str, detail: str) -> Problem:
    """422: a parameter has a value that it cannot have."""
    return Problem(422, "bad-value", f"{field}: {detail}", field=field)


def status_of(cause: Exception) -> int:
    """The status that an exception of a resource is answered with."""
    if isinstance(cause, Problem):
        return cause.status
    return 503 if isinstance(cause, StoreUnavailable) else 500


def respond(request: Request, problem: Problem) -> Response:
    """The problem as a response."""
    body = json.dumps(problem.body(request.url.path), ensure_ascii=False).encode()
    headers = {"cache-control": "no-store", **problem.headers}
    return Response(body, problem.status, headers, MEDIA_TYPE)


def on_problem(request: Request, cause: Exception) -> Response:
    """Answer for a `Problem` that a resource raised."""
    assert isinstance(cause, Problem)
    return respond(request, cause)


def on_http_exception(request: Request, cause: Exception) -> Response:
    """Answer for what the router refused: no such route, or no such method."""
    assert isinstance(cause, HTTPException)
    headers = dict(cause.headers or {})
    if cause.status_code == 404:
        return respond(request, Problem(404, "no-such-resource", f"nothing is at {request.url.path}; see /openapi.json"))
    if cause.status_code == 405:
        detail = f"expected {headers.get('Allow', 'GET')}, got {request.method}"
        return respond(request, Problem(405, "method-not-allowed", detail, headers=headers))
    return respond(request, Problem(cause.status_code, "refused", cause.detail, headers=headers))


def on_ridecast_error(request: Request, cause: Exception) -> Response:
    """Answer for an error of Ridecast: what it says is fit for a person, but not where our files are."""
    if isinstance(cause, StoreUnavailable):
        log.error("%s %s: %s", request.method, request.url.path, cause)
        detail = "a store that this answer needs does not answer; try again"
        return respond(request, Problem(503, "store-unavailable", detail, headers={"retry-after": str(RETRY_AFTER_S)}))
    log.error("%s %s failed", request.method, request.url.path, exc_info=cause)
    return respond(request, _unexpected())


def _unexpected() -> Problem:
    return Problem(500, "unexpected", "an error of ours; it is in the log of the server")


class LastResort:
    """Outermost layer: an exception that nothing else caught is logged once and told without its trace."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:  # A shell: nothing may leave it but an answer.
            log.exception("%s %s failed", scope["method"], scope["path"])
            if started:
                raise  # Half an answer is out; only closing the connection tells the client so.
            await respond(Request(scope), _unexpected())(scope, receive, send)


HANDLERS = {Problem: on_problem, HTTPException: on_http_exception, RidecastError: on_ridecast_error}
