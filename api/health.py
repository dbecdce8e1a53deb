"""Whether every store answers (health), and whether every region has a forecast (ready)."""

import logging
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy, answer
from api.context import ApiContext
from api.problems import Problem
from api.resource import FLAG, INTEGER, NUMBER, TEXT, Operation, array_of, maybe, record_of

log = logging.getLogger(__name__)

NO_BLOB = bytes(32)  # requested only to test whether the store answers

# Resource -> its ping: the smallest request that it must be able to answer.
PINGS: dict[str, Callable[[ApiContext], object]] = {
    "ledger": lambda context: context.ledger.logs(),
    "blobs": lambda context: context.blobs.has(NO_BLOB),
    "online_store": lambda context: context.store.newest("ping", "ping"),
}


def get_health(context: ApiContext, request: Request) -> Response:
    """GET /v1/health"""
    checks = [_check(name, ping, context) for name, ping in PINGS.items()]
    failed = [str(check["name"]) for check in checks if not check["ok"]]
    if failed:
        raise Problem(503, "unhealthy", f"no answer from: {', '.join(failed)}", checks=checks)
    return answer(request, {"status": "ok", "checks": checks}, CachePolicy.NO_STORE)


def _check(name: str, ping: Callable[[ApiContext], object], context: ApiContext) -> dict[str, object]:
    started = time.perf_counter()
    try:
        ping(context)
    except Exception as cause:  # Whatever a failing store raises, health must name the store.
        log.error("health: %s does not answer: %s", name, cause)
        return {"name": name, "ok": False, "ms": None}
    return {"name": name, "ok": True, "ms": round((time.perf_counter() - started) * 1000, 3)}


def get_ready(context: ApiContext, request: Request) -> Response:
    """GET /v1/ready"""
    places = []
    for name in context.regions:
        view = context.view(name)
        measures = view.region.measures if view else ("",)
        for measure in measures:
            index = context.store.newest(name, measure)[1] if measure else -1
            if index < 0 and view is not None and (stored := view.newest_issue(measure)) is not None:
                index = stored.index
            places.append({"region": name, "measure": measure or None, "index": index if index >= 0 else None})
    waiting = sorted({str(place["region"]) for place in places if place["index"] is None})
    if waiting or not places:
        detail = f"no forecast yet of {', '.join(waiting)}" if waiting else "no region is configured"
        raise Problem(503, "not-ready", detail, headers={"retry-after": "5"}, forecasts=places)
    return answer(request, {"status": "ready", "forecasts": places}, CachePolicy.NO_STORE)


CHECK = record_of(name=TEXT, ok=FLAG, ms=maybe(NUMBER))
PLACE = record_of(region=TEXT, measure=maybe(TEXT), index=maybe(INTEGER))

OPERATIONS = (
    Operation(
        "/v1/health",
        "health",
        "Whether every store answers",
        get_health,
        record_of(status=TEXT, checks=array_of(CHECK)),
        problems=(406, 503),
    ),
    Operation(
        "/v1/ready",
        "ready",
        "Whether every region has a forecast",
        get_ready,
        record_of(status=TEXT, forecasts=array_of(PLACE)),
        problems=(406, 503),
    ),
)
