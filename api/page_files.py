"""The page at /: static files from `api/page`; nothing is loaded from other sites."""

import hashlib
from collections.abc import Callable
from functools import partial
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy, answer_bytes
from api.context import ApiContext
from api.resource import Operation, always

FILES = {
    "/": ("index.html", "text/html"),
    "/page/page.css": ("page.css", "text/css"),
    "/page/page.js": ("page.js", "text/javascript"),
    "/page/alerts.js": ("alerts.js", "text/javascript"),
    "/page/chart.js": ("chart.js", "text/javascript"),
    "/page/map.js": ("map.js", "text/javascript"),
    "/page/reasons.js": ("reasons.js", "text/javascript"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}
POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'"


def _file(name: str, media_type: str) -> Callable[[ApiContext, Request], Response]:
    data = (resources.files("api") / "page" / name).read_bytes()
    return partial(_send, data, media_type, hashlib.sha256(data).hexdigest()[:16])


def _send(data: bytes, media_type: str, version: str, context: ApiContext, request: Request) -> Response:
    response = answer_bytes(request, data, media_type, CachePolicy.REVALIDATE, version)
    response.headers["content-security-policy"] = POLICY
    return response


OPERATIONS = tuple(
    Operation(path, f"page {name}", "The page and its files", _file(name, media), {}, media_type=media, documented=False, in_memory=always)
    for path, (name, media) in FILES.items()
)
