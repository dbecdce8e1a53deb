"""Builds responses: JSON, ETag, caching, and content negotiation."""

import dataclasses
import gzip
import json
from enum import StrEnum
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.problems import Problem

JSON = "application/json"
SMALLEST_COMPRESSED_BYTES = 2_000
COMPRESSION = 4  # of 9: compresses a full response of 3,100 cells 10 times in 15 ms
PIECE_BYTES = 262_144


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
    held = unchanged(request, cache, version) if version is not None else None
    return held or answer_bytes(request, to_json(body), JSON, cache, version, status)


def answer_bytes(
    request: Request, data: bytes, media_type: str, cache: CachePolicy, version: str | None = None, status: int = 200
) -> Response:
    """A response of any media type, or 304; texts are UTF-8. Arguments as for `answer`."""
    if version is not None and (held := unchanged(request, cache, version)) is not None:
        return held
    headers = _headers(cache, version)
    data, gzipped = compressed(request, data)
    if gzipped:
        headers["content-encoding"] = "gzip"
    return Response(data, status, headers, media_type)


def compressed(request: Request, data: bytes) -> tuple[bytes, bool]:
    """The bytes as they are sent, and whether they are compressed: if the client accepts it and it is worth it."""
    if len(data) < SMALLEST_COMPRESSED_BYTES or not takes_gzip(request):
        return data, False
    packed = gzip.compress(data, COMPRESSION, mtime=0)
    return (packed, True) if len(packed) < len(data) else (data, False)


def unchanged(request: Request, cache: CachePolicy, version: str) -> Response | None:
    """304 if the client has this version, else None; handlers ask before they make the body."""
    if_none_match = request.headers.get("if-none-match")
    if if_none_match is None or not _holds(if_none_match, f'W/"{version}"'):
        return None
    return Response(status_code=304, headers=_headers(cache, version))


class PiecewiseResponse(Response):
    """A large response that is sent in pieces, so that a slow client holds one piece in memory and not all of it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        data = memoryview(self.body)
        for start in range(0, len(data), PIECE_BYTES):
            more = start + PIECE_BYTES < len(data)
            await send({"type": "http.response.body", "body": data[start : start + PIECE_BYTES], "more_body": more})


def respond_prepared(cache: CachePolicy, version: str, data: bytes, media_type: str, *, gzipped: bool, **more: str) -> Response:
    """A response with bytes that are ready to send; `more` are further headers, with _ for -."""
    response = PiecewiseResponse() if len(data) > PIECE_BYTES else Response()
    response.body = data
    # As `Response` would make them, in half the time.
    response.raw_headers = [
        (b"cache-control", cache.value.encode()),
        (b"vary", b"Accept-Encoding"),
        (b"etag", f'W/"{version}"'.encode()),
        (b"content-length", b"%d" % len(data)),
        (b"content-type", media_type.encode()),
    ]
    if gzipped:
        response.raw_headers.append((b"content-encoding", b"gzip"))
    response.raw_headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in more.items()]
    return response


def to_json(body: object) -> bytes:
    """The bytes of a JSON document."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def takes_gzip(request: Request) -> bool:
    """Whether the client accepts gzip (RFC 9110, 12.5.3): `gzip;q=0` does not."""
    return accepts_gzip(request.headers.get("accept-encoding", ""))


@lru_cache(maxsize=256)
def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header accepts gzip; its own entry decides before `*`.

    >>> [accepts_gzip(text) for text in ("gzip, br", "gzip;q=0", "*", "*, gzip;q=0", "identity", "")]
    [True, False, True, False, False, False]
    """
    found = {}
    for part in accept_encoding.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        found[name] = _quality(parameters)
    return found.get("gzip", found.get("x-gzip", found.get("*", 0.0))) > 0


def _headers(cache: CachePolicy, version: str | None) -> dict[str, str]:
    # The same on 304 as on 200, as RFC 9110, 15.4.5 demands.
    headers = {"cache-control": cache.value, "vary": "Accept-Encoding"}
    if version is not None:
        headers["etag"] = f'W/"{version}"'  # weak: compressed and plain bytes are the same response
    return headers


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
    if accept != "*/*" and not accepts(accept, media_type):
        raise Problem(406, "not-acceptable", f"Accept: expected {media_type}, got {accept!r}", field="Accept")


@lru_cache(maxsize=256)
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
