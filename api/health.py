"""Three answers: whether this process runs (live), whether its stores answer (health), whether its forecasts are of use (ready).

How fresh a region is, is a fourth: it is shown with every region and every forecast. All come from memory, so they are
answered within milliseconds whatever the stores do.
"""

from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy, answer
from api.context import Age, ApiContext
from api.problems import Problem
from api.resource import FLAG, INTEGER, NUMBER, TEXT, Operation, always, array_of, if_watched, maybe, one_of, record_of
from ledger.views.freshness import Freshness
from ledger.views.standing import Standing


def get_live(context: ApiContext, request: Request) -> Response:
    """GET /v1/live"""
    return answer(request, {"status": "live"}, CachePolicy.NO_STORE)


def get_health(context: ApiContext, request: Request) -> Response:
    """GET /v1/health"""
    if not context.probes.running:
        context.probes.ask()
    states = context.probes.states()
    checks = [{"name": state.name, "ok": state.ok, "ms": state.ms, "age_s": state.age_s} for state in states]
    failed = [state.name for state in states if not state.ok]
    if any(context.probes.needed(name) for name in failed):
        raise Problem(503, "unhealthy", f"no answer from: {', '.join(failed)}", headers={"retry-after": "5"}, checks=checks)
    return answer(request, {"status": "degraded" if failed else "ok", "checks": checks}, CachePolicy.NO_STORE)


def probed(context: ApiContext, request: Request) -> bool:
    """Whether the stores are asked in the background."""
    return context.probes.running


def get_ready(context: ApiContext, request: Request) -> Response:
    """GET /v1/ready"""
    places = [place for name in context.regions for place in _places(context, name)]
    limits = {name: context.unready_after_slots(name) for name in context.regions}
    without = sorted({str(place["region"]) for place in places if place["index"] is None})
    ages = {name: age for name in context.regions if name not in without and (age := _age(context, name)) and age.slots > limits[name]}
    replaying = [name for name, age in ages.items() if age.freshness is Freshness.REPLAYING]
    old = sorted(name for name in ages if name not in replaying)
    if without or ages or not places:
        reasons = [f"no forecast yet of {', '.join(without)}"] if without else []
        if old:
            by_limit = sorted({limits[name] for name in old})
            named = ((limit, ", ".join(name for name in old if limits[name] == limit)) for limit in by_limit)
            reasons += [f"no slot closed for more than {limit:g} slot lengths in {names}" for limit, names in named]
        reasons += [f"region {name} replays older rides: its newest slot ended {_how_long(ages[name])} ago" for name in replaying]
        reasons += [f"region {name} is {line}" for name in context.regions if (line := context.standing(name).line())]
        detail = "; ".join(reasons) or "no region is configured"
        raise Problem(503, "not-ready", detail, headers={"retry-after": "5"}, forecasts=places)
    return answer(request, {"status": "ready", "forecasts": places}, CachePolicy.NO_STORE)


def _places(context: ApiContext, name: str) -> list[dict[str, object]]:
    view = context.view(name)
    if view is None:
        return [{"region": name, "measure": None, "index": None, "age_s": None, "freshness": None, "standing": None}]
    age, stand = context.age(view), context.standing(name)
    out: list[dict[str, object]] = []
    for measure in view.region.measures:
        held = context.newest.held(name, measure)
        out.append(
            {
                "region": name,
                "measure": measure,
                "index": held.issue.index if held else None,
                "age_s": age.age_s if age else None,
                "freshness": age.freshness.value if age else None,
                "standing": stand.standing.value,
            }
        )
    return out


def _age(context: ApiContext, name: str) -> Age | None:
    view = context.view(name)
    return context.age(view) if view is not None else None


def _how_long(age: Age) -> str:
    """An age in words, in whole days or minutes."""
    days, minutes = age.age_s // 86_400, age.age_s // 60
    return f"{days:,} days" if days > 1 else f"{minutes:,} minutes"


CHECK = record_of(name=TEXT, ok=FLAG, ms=maybe(NUMBER), age_s=maybe(NUMBER))
PLACE = record_of(
    region=TEXT,
    measure=maybe(TEXT),
    index=maybe(INTEGER),
    age_s=maybe(INTEGER),
    freshness=maybe(one_of(Freshness)),
    standing=maybe(one_of(Standing)),
)

OPERATIONS = (
    Operation(
        "/v1/live",
        "live",
        "Whether this process answers; says nothing about stores or forecasts",
        get_live,
        record_of(status=one_of(("live",))),
        problems=(406,),
        in_memory=always,
    ),
    Operation(
        "/v1/health",
        "health",
        "Whether every store answers: 503 without a needed one, `degraded` without the online store",
        get_health,
        record_of(status=one_of(("ok", "degraded")), checks=array_of(CHECK)),
        problems=(406, 503),
        in_memory=probed,
    ),
    Operation(
        "/v1/ready",
        "ready",
        "Whether every region has a forecast that is not too old",
        get_ready,
        record_of(status=one_of(("ready",)), forecasts=array_of(PLACE)),
        problems=(406, 503),
        in_memory=if_watched,
    ),
)
