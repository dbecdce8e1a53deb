"""Freshness is measured in slot lengths and told everywhere: in forecasts, regions, readiness and metrics."""

from dataclasses import replace

import pytest
from starlette.requests import Request

from api.context import ApiContext
from api.health import get_ready
from api.problems import Problem
from api.watcher import Watcher
from ledger.views.freshness import ClosePace, Freshness, freshness
from schemas.configuration.settings import Settings
from schemas.regions import load_region
from tests.api.test_metrics import samples
from tests.api.town import SLOT_S, Town
from tests.faults.seen import Seen

NYC = load_region("nyc")
HOURLY = replace(NYC, slot_min=60, horizons_min=(60, 120))


@pytest.mark.parametrize(
    ("slots", "state"), [(0, "live"), (1, "live"), (2, "live"), (2.1, "late"), (3, "late"), (3.1, "stale"), (100, "stale")]
)
@pytest.mark.parametrize("region", [NYC, HOURLY], ids=["five minutes", "one hour"])
def test_the_states_follow_the_slot_length(region: object, slots: float, state: str) -> None:
    """The same number of slots without a close is the same state, whatever the length of a slot."""
    assert isinstance(region, type(NYC))
    age_s = region.issue_lateness_s + slots * 60 * region.slot_min
    assert state == freshness(age_s, region, stale_after_slots=3, replaying=False)


def test_a_silent_stream_is_told_everywhere(growing_town: Town, seen: Seen) -> None:
    """Hours without a close: forecasts and region are stale, ready is 503 and says why, metrics have the state, health is ok."""
    client = growing_town.client()
    assert "live" == client.get("/v1/regions/nyc").json()["freshness"]
    assert 200 == client.get("/v1/ready").status_code
    before = client.get("/v1/regions/nyc/forecasts").json()["forecasts"]
    growing_town.now_s += 13 * SLOT_S
    forecasts = client.get("/v1/regions/nyc/forecasts")
    seen.same([str(one) for one in before], [str(one) for one in forecasts.json()["forecasts"]], "forecasts")
    assert (200, True, "stale") == (forecasts.status_code, forecasts.json()["stale"], forecasts.json()["freshness"])
    region = client.get("/v1/regions/nyc").json()
    assert (True, "stale") == (region["stale"], region["freshness"])
    ready = client.get("/v1/ready")
    assert (503, "5") == (ready.status_code, ready.headers["retry-after"])
    assert "no slot closed for more than 12 slot lengths in nyc" == ready.json()["detail"]
    seen.told(ready.json()["detail"], "no slot closed for more than 12 slot lengths in nyc")
    assert "stale" == ready.json()["forecasts"][0]["freshness"]
    found = samples(client.get("/metrics").text)
    states = {dict(labels)["state"]: value for (name, labels), value in found.items() if name == "ridecast_freshness"}
    assert {"live": 0, "late": 0, "stale": 1, "replaying": 0} == states
    assert (200, "ok") == (client.get("/v1/health").status_code, client.get("/v1/health").json()["status"])
    assert 200 == client.get("/v1/live").status_code


def test_a_replay_is_not_live(growing_town: Town) -> None:
    """Old slots that close one after another are a replay: its forecasts are stale for now, and it is not called silent."""
    now = [0.0]
    settings = Settings.from_env({})
    context = ApiContext(
        growing_town.ledger, growing_town.blobs, None, ("nyc",), settings, lambda: growing_town.now_s, monotonic=lambda: now[0]
    )
    context.watch()
    watcher = Watcher(context)
    growing_town.now_s += 1_000 * SLOT_S
    view = context.refresh("nyc")
    assert view is not None

    def state() -> str:
        assert watcher.round()
        age = context.age(view)
        assert age is not None
        assert age.stale
        return age.freshness.value

    assert "stale" == state()
    for _ in range(3):
        growing_town.close()
        now[0] += 1.0
        assert watcher.round()
    assert "replaying" == state()
    with pytest.raises(Problem) as failed:
        get_ready(context, Request({"type": "http", "method": "GET", "path": "/v1/ready", "headers": []}))
    age = context.age(view)
    assert age is not None
    assert f"region nyc replays older rides: its newest slot ended {age.age_s // 86_400} days ago" == failed.value.detail
    now[0] += 120
    assert "stale" == state()


def test_a_stream_that_is_always_late_is_no_replay() -> None:
    """One close in each slot length is real time, however old the slots are."""
    for region in (NYC, HOURLY, replace(NYC, slot_min=1, horizons_min=(15, 30, 60))):
        pace, slot_s = ClosePace(region), 60 * region.slot_min
        for slot in range(50):
            pace.observe(float(slot * slot_s), slot)
            assert not pace.replaying(slot * slot_s + 1.0)


def test_every_state_has_a_badge() -> None:
    """The page knows every state, and only the live one is called live."""
    from importlib import resources

    page = (resources.files("api") / "page" / "page.js").read_text("utf-8")
    for state in Freshness:
        assert f"{state.value}: [" in page
    assert 1 == page.count('"live", "good"')
