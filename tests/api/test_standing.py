"""A region that is held or halted is told: by its resource, the list, readiness, the metrics and the page."""

from importlib import resources

import pytest

from api.context import ApiContext
from api.watcher import Watcher
from ledger.views.standing import Standing, Standings
from schemas.configuration.settings import Settings
from schemas.records.record_codec import encode
from schemas.records.records import CONTROL_LOG, RUNS_LOG, Record, RegionHalted, RegionHeld, RegionReleased, RunStarted
from tests.api.test_metrics import samples
from tests.api.town import SLOT_S, Town

HELD = RegionHeld(region="nyc", slot=70, reason="DamagedError: model")
HALTED = RegionHalted(run="r", region="nyc", slot=71, reason="ZeroDivisionError: division by zero")


def append(town: Town, log: str, record: Record) -> None:
    """Append one record."""
    town.ledger.append(log, town.ledger.head(log).size, [encode(record)])


def started(region: str) -> RunStarted:
    """The start of a region's run."""
    return RunStarted(run="s", command=f"run {region}", started_at_us=1, host="h", environment=b"", packages="", source="", processes=1)


def test_held_and_halted_are_told_everywhere(growing_town: Town) -> None:
    """Region, list, readiness and metrics say how a region is served, since when and why, and take it back when it ends."""
    town, client = growing_town, growing_town.client()

    def told() -> tuple[object, ...]:
        [summary] = client.get("/v1/regions").json()["regions"]
        region = client.get("/v1/regions/nyc").json()
        [place] = client.get("/v1/ready").json()["forecasts"]
        gauges = {
            dict(labels)["standing"]: v for (name, labels), v in samples(client.get("/metrics").text).items() if name == "ridecast_standing"
        }
        fields = ("standing", "standing_slot", "standing_reason")
        assert [summary[name] for name in fields] == [region[name] for name in fields]
        assert {standing.value: float(standing == region["standing"]) for standing in Standing} == gauges
        assert place["standing"] == region["standing"]
        return tuple(region[name] for name in fields)

    assert ("normal", None, None) == told()
    append(town, CONTROL_LOG, HELD)
    assert ("held", 70, "DamagedError: model") == told()
    append(town, RUNS_LOG, HALTED)
    assert ("halted", 71, "ZeroDivisionError: division by zero") == told()
    append(town, RUNS_LOG, started("tehran"))
    assert "halted" == told()[0]
    append(town, RUNS_LOG, started("nyc"))
    assert "held" == told()[0]
    append(town, CONTROL_LOG, RegionReleased(region="nyc", reason="operator"))
    assert ("normal", None, None) == told()


def test_readiness_says_that_a_region_has_halted(growing_town: Town) -> None:
    """Its last forecasts are of use until they are old; then the reason is in the answer."""
    town, client = growing_town, growing_town.client()
    append(town, RUNS_LOG, HALTED)
    assert 200 == client.get("/v1/ready").status_code
    town.now_s += 13 * SLOT_S
    answer = client.get("/v1/ready")
    assert 503 == answer.status_code
    assert answer.json()["detail"].endswith("in nyc; region nyc is halted at slot 71: ZeroDivisionError: division by zero")


def test_a_watcher_tells_a_halt(growing_town: Town) -> None:
    """Where the regions are watched, requests read nothing: the watcher's round brings what changed, and marks it as new."""
    town = growing_town
    context = ApiContext(town.ledger, town.blobs, None, ("nyc",), Settings.from_env({}), lambda: town.now_s)
    context.watch()
    watcher = Watcher(context)
    assert watcher.round()
    token = context.token()
    append(town, RUNS_LOG, HALTED)
    assert Standing.NORMAL is context.standing("nyc").standing
    assert watcher.round()
    assert (Standing.HALTED, True) == (context.standing("nyc").standing, context.token() != token)


def test_a_rewritten_log_is_read_again(growing_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a log was continued nothing stays of what its old end said."""
    town = growing_town
    append(town, CONTROL_LOG, HELD)
    standings = Standings(town.ledger)
    standings.refresh()
    assert "held without models since slot 70: DamagedError: model" == standings.of("nyc").line()
    append(town, CONTROL_LOG, RegionReleased(region="tehran", reason="operator"))
    monkeypatch.setattr(town.ledger, "number", lambda log: 2)
    monkeypatch.setattr(town.ledger, "read_kinds", lambda *_: [])
    standings.refresh()
    assert "" == standings.of("nyc").line()


def test_the_page_shows_every_standing() -> None:
    """Its badge and its note know the standings that are not normal."""
    page = (resources.files("api") / "page" / "page.js").read_text("utf-8")
    for standing in Standing:
        assert standing is Standing.NORMAL or 2 == page.count(f'standing === "{standing.value}"')
