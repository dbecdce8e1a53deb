"""The page at /: static files from `api/page`; nothing is loaded from other sites."""

import hashlib
from collections.abc import Callable
from functools import partial
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy
from api.context import ApiContext
from api.resource import Operation

FILES = {
    "/": ("index.html", "text/html"),
    "/page/page.css": ("page.css", "text/css"),
    "/page/page.js": ("page.js", "text/javascript"),
    "/page/chart.js": ("chart.js", "text/javascript"),
    "/page/map.js": ("map.js", "text/javascript"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}
POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'"


def _file(name: str, media_type: str) -> Callable[[ApiContext, Request], Response]:
    data = (resources.files("api") / "page" / name).read_bytes()
    etag = f'W/"{hashlib.sha256(data).hexdigest()[:16]}"'
    headers = {"cache-control": CachePolicy.REVALIDATE.value, "etag": etag, "content-security-policy": POLICY}
    return partial(_send, data, f"{media_type}; charset=utf-8", headers)


def _send(data: bytes, content_type: str, headers: dict[str, str], context: ApiContext, request: Request) -> Response:
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(data, 200, headers | {"content-type": content_type})


OPERATIONS = tuple(
    Operation(path, f"page {name}", "The page and its files", _file(name, media_type), {}, media_type=media_type, documented=False)
    for path, (name, media_type) in FILES.items()
)
