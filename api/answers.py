"""Builds responses: JSON, ETag, caching, and content negotiation."""

import dataclasses
import json
from enum import StrEnum

from starlette.requests import Request
from starlette.responses import Response

from api.problems import Problem

JSON = "application/json"


class CachePolicy(StrEnum):
    """How long a response may be cached; the value is the Cache-Control header."""

    IMMUTABLE = "public, max-age=31536000, immutable"  # an entry or a past issue, which never changes
    REVALIDATE = "no-cache"  # may be cached, but must be revalidated with If-None-Match
    NO_STORE = "no-store"  # contains an age


def answer(request: Request, body: object, cache: CachePolicy, version: str | None = None, status: int = 200) -> Response:
    """A JSON response, or 304 if the client has this version.

    Args:
        request: The request.
        body: Anything that json.dumps accepts.
        cache: How long it may be cached.
        version: Text that changes exactly when the response does, without quotes.
        status: Status of a response that is not 304.
    """
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    return answer_bytes(request, data, JSON, cache, version, status)


def answer_bytes(
    request: Request, data: bytes, media_type: str, cache: CachePolicy, version: str | None = None, status: int = 200
) -> Response:
    """A response of any media type, or 304; texts are UTF-8. Arguments as for `answer`."""
    headers = {"cache-control": cache.value}
    if version is not None:
        headers["etag"] = f'W/"{version}"'  # weak: compressed and plain bytes are the same response
        if _holds(request.headers.get("if-none-match", ""), headers["etag"]):
            return Response(status_code=304, headers=headers)
    return Response(data, status, headers, media_type)


def _holds(if_none_match: str, etag: str) -> bool:
    """Weak comparison of RFC 9110, 13.1.2."""
    held = [part.strip().removeprefix("W/") for part in if_none_match.split(",")]
    return "*" in held or etag.removeprefix("W/") in held


def require_accept(request: Request, media_type: str) -> None:
    """Raise 406 unless the client accepts that media type.

    Raises:
        Problem: it does not.
    """
    accept = request.headers.get("accept", "*/*")
    if not accepts(accept, media_type):
        raise Problem(406, "not-acceptable", f"Accept: expected {media_type}, got {accept!r}", field="Accept")


def accepts(accept: str, media_type: str) -> bool:
    """Whether an Accept header accepts a media type (RFC 9110, 12.5.1): the most specific range decides.

    >>> accepts("text/html, application/*;q=0.5", "application/json")
    True
    >>> accepts("application/json;q=0, */*", "application/json")
    False
    """
    if not accept.strip():
        return True
    best = (-1, 0.0)
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        specificity = {"*/*": 0, media_type.split("/")[0] + "/*": 1, media_type: 2}.get(name)
        if specificity is not None:
            best = max(best, (specificity, _quality(parameters)))
    return best[0] >= 0 and best[1] > 0


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def plain(value: object) -> object:
    """A record as JSON values: bytes as hex, tuples as lists, dataclasses as objects.

    >>> plain((b"\\x01", {"a": 2}))
    ['01', {'a': 2}]
    """
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value
