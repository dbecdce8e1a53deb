"""Error responses: RFC 9457 problem details, never a stack trace."""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.errors import RidecastError, StoreUnavailable

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5  # keeps clients from retrying in a tight loop
NO_SNIFF = (b"x-content-type-options", b"nosniff")  # browsers must not guess the content type
LONGEST_DETAIL, LONGEST_PATH, LONGEST_FIELD = 500, 200, 100  # characters


class Problem(Exception):
    """A request that fails, and why.

    Args:
        status: HTTP status, 400 to 599.
        name: Kind of problem, stable for programs: the last part of its `type` URN.
        detail: One sentence for people: what was expected and what was given.
        field: The parameter that caused it, if one did.
        extra: More members for programs.

    >>> Problem(422, "bad-value", "cell: expected 6 letters, got 'x'", field="cell").body()["type"]
    'urn:ridecast:problem:bad-value'
    """

    def __init__(
        self, status: int, name: str, detail: str, *, field: str | None = None, headers: Mapping[str, str] | None = None, **extra: object
    ) -> None:
        super().__init__(detail)
        self.status, self.name, self.detail, self.field = status, name, shortened(detail), field and shortened(field, LONGEST_FIELD)
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
            members["instance"] = shortened(instance, LONGEST_PATH)
        return members | self.extra


def shortened(text: str, longest: int = LONGEST_DETAIL) -> str:
    """A text of at most so many characters: what a client sends comes back in problems and log lines, but not all of it.

    >>> shortened("a" * 50, 20)
    'aaaaaaaaaa...aaaaaaa'
    """
    if len(text) <= longest:
        return text
    kept = longest - 3
    return f"{text[: kept - 7]}...{text[-7:]}"


def bad_value(field: str, detail: str) -> Problem:
    """422: a parameter has an invalid value."""
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
    """The response for a `Problem` raised by a resource."""
    assert isinstance(cause, Problem)
    return respond(request, cause)


def on_http_exception(request: Request, cause: Exception) -> Response:
    """The response for a route or method that does not exist."""
    assert isinstance(cause, HTTPException)
    headers = dict(cause.headers or {})
    if cause.status_code == 404:
        return respond(
            request, Problem(404, "no-such-resource", f"no resource at {shortened(request.url.path, LONGEST_PATH)}; see /openapi.json")
        )
    if cause.status_code == 405:
        detail = f"expected {headers.get('Allow', 'GET')}, got {shortened(request.method, 20)}"
        return respond(request, Problem(405, "method-not-allowed", detail, headers=headers))
    return respond(request, Problem(cause.status_code, "refused", cause.detail, headers=headers))


def on_ridecast_error(request: Request, cause: Exception) -> Response:
    """The response for an error of Ridecast; its text may contain file names, so it goes only to the log."""
    if isinstance(cause, StoreUnavailable):
        log.error("%s %s: %s", request.method, shortened(request.url.path, LONGEST_PATH), cause)
        detail = "a store needed for this response does not answer; try again"
        return respond(request, Problem(503, "store-unavailable", detail, headers={"retry-after": str(RETRY_AFTER_S)}))
    log.error("%s %s failed", request.method, shortened(request.url.path, LONGEST_PATH), exc_info=cause)
    return respond(request, _unexpected())


def _unexpected() -> Problem:
    return Problem(500, "unexpected", "internal error; see the server's log")


class CatchAll:
    """Outermost layer: logs an uncaught exception once and responds without its stack trace; adds the header of every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], NO_SNIFF]  # Not in place: a response may be sent again.
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except ClientDisconnect:
            return  # in the middle of its request; there is nobody to answer
        except Exception:  # The outermost layer: every exception becomes a response.
            log.exception("%s %s failed", scope["method"], shortened(scope["path"], LONGEST_PATH))
            if started:
                raise  # Part of the response was sent; only closing the connection tells the client.
            await respond(Request(scope), _unexpected())(scope, receive, watch)


HANDLERS = {Problem: on_problem, HTTPException: on_http_exception, RidecastError: on_ridecast_error}
