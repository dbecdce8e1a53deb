"""`ridecast demo`: its steps, its plan, and the region that it finds; `tests/test_wheel.py` runs it whole."""

import json
import os
from pathlib import Path

import pytest

from ridecast.commands import demo, run
from schemas.configuration.settings import Settings
from schemas.errors import UsageError
from schemas.regions import load_region
from tests.ridecast.conftest import Call, Small


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """A demo without training and forecasting: what its last step was asked, each time."""
    found: list[dict[str, object]] = []
    monkeypatch.setattr("dataflows.jobs.learn.train_region", lambda *_, **__: [])

    def keep(settings: Settings, names: list[str], *, lock: int, **given: object) -> None:
        os.fstat(lock)  # fails unless the home is still held
        found.append({"rides": settings.rides, "regions": names, **given})

    monkeypatch.setattr(run, "run_regions", keep)
    return found


def test_its_steps_and_that_it_goes_on(tmp_path: Path, call: Call, asked: list[dict[str, object]]) -> None:
    """A city, its history, a model, then forecasts with a page and a feed; the same command again goes on, and may go on to the end."""
    words = ("demo", "--home", tmp_path / "d", "--days", 4, "--rides-per-day", 40, "--port", 0, "--speedup", 5)
    first, again, last = call(*words), call(*words), call(*words, "--until-end")
    assert [0, 0, 0] == [done.status for done in (first, again, last)], first.err
    assert ("tehran bootstrapped: " in first.out, "already holds these rides" in again.out, "was bootstrapped already" in again.out) == (
        True,
    ) * 3
    assert {"until": "2025-04-07", "paced_from": "2025-04-08"} == json.loads((tmp_path / "d" / "plan.json").read_text("utf-8"))
    live = {"rides": str(tmp_path / "d" / "rides"), "regions": ["tehran"], "bounded": False, "processes": 1}
    live |= {
        "companions": ["publish", "api", "feed", "watch"],
        "extra": {"RIDECAST_FEED_FROM": str(tmp_path / "d" / "past"), "RIDECAST_FEED_SPEEDUP": "5.0"},
    }
    assert [live, live, live | {"bounded": True, "companions": []}] == asked
    assert "tehran" == json.loads((tmp_path / "d" / "areas" / "tehran.json").read_text("utf-8"))["region"]


def test_other_rides_want_another_home(tmp_path: Path, call: Call, asked: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulated city and own trips have homes of their own; where somebody names one home for two, the message names --home."""
    monkeypatch.chdir(tmp_path)
    size = ("--days", 4, "--rides-per-day", 40, "--until-end")
    assert 0 == call("demo", *size).status
    trips = [f"2014-04-{day:02d} {hour:02d}:00,40.7{hour:02d},-74.0" for day in range(1, 6) for hour in range(24)]
    (tmp_path / "my.csv").write_text("\n".join(["time,lat,lon", *trips]) + "\n", "utf-8")
    own = call("demo", "--rides", "my.csv", "--until-end")
    assert (0, ["demo/rides", "demo-my/rides"]) == (own.status, [one["rides"] for one in asked]), own.err
    mixed = call("demo", "--rides", "my.csv", "--until-end", "--home", "demo")
    said = ["ridecast: --home: 'demo' is the demo of other rides or another size; use another --home"]
    assert (2, said) == (mixed.status, mixed.lines)


def test_too_few_days_are_said(small: Small, tmp_path: Path) -> None:
    """History, a fast part and a slow one need four days; what there is, is named."""
    (tmp_path / "past").symlink_to(small.rides)
    with pytest.raises(UsageError, match=r"^demo: expected rides of at least 4 days, got 3 \(2025-04-05 to 2025-04-07\)$"):
        demo._plan(tmp_path / "past", load_region("tehran"))


def test_a_kept_plan_stays(tmp_path: Path) -> None:
    """What was decided at the first start is not decided again."""
    (tmp_path / "plan.json").write_text('{"until": "2020-01-02", "paced_from": "2020-01-03"}', "utf-8")
    assert ("2020-01-02", "2020-01-03") == demo._plan(tmp_path / "past", load_region("nyc"))


@pytest.mark.parametrize(
    ("lat", "lon", "region", "zone"), [(40.75, -73.98, "nyc", "America/New_York"), (48.85, 2.35, "mine", "Europe/Paris")]
)
def test_the_region_of_somebodys_trips_is_found(tmp_path: Path, lat: float, lon: float, region: str, zone: str) -> None:
    """Trips in a region that ships are of that region; others get one around them, in their own zone; it is found once."""
    trips = tmp_path / "trips.csv"
    rows = [f"2014-04-01 00:{i:02d},{lat + i / 10_000},{lon + i / 10_000}" for i in range(60)]
    trips.write_text("\n".join(["time,lat,lon", *rows]) + "\n", "utf-8")
    path = demo._region(tmp_path, str(trips), None, "Europe/Paris")
    found = load_region(path)
    assert (region, zone, ("pickups",)) == (found.id, found.timezone, found.measures)
    trips.unlink()
    assert path == demo._region(tmp_path, str(trips), None, None)


def test_the_zone_of_somebodys_trips_comes_from_their_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --timezone the region's zone is that of its places, and is printed; it is never UTC by default."""
    trips = tmp_path / "trips.csv"
    rows = [f"2014-04-01 00:{i:02d},{-33.87 + i / 10_000},{151.2 + i / 10_000}" for i in range(60)]
    trips.write_text("\n".join(["time,lat,lon", *rows]) + "\n", "utf-8")
    assert "Australia/Sydney" == load_region(demo._region(tmp_path, str(trips), None, None)).timezone
    assert (
        f"ridecast: {trips}: no time zone given; using Australia/Sydney, from its location; --timezone sets another\n"
        == capsys.readouterr().err
    )


def test_a_region_that_is_named_is_taken(tmp_path: Path) -> None:
    """Without trips it is the simulated one; a name goes before everything."""
    assert ("nyc", "tehran") == (demo._region(tmp_path, "x", "nyc", None), demo._region(tmp_path, None, None, None))


def test_trips_that_are_none_are_said(tmp_path: Path) -> None:
    """A file in which no row can be used is named."""
    (tmp_path / "trips.csv").write_text("time,lat,lon\nnever,1,2\n", "utf-8")
    with pytest.raises(UsageError, match=r"trips\.csv: expected "):
        demo._region(tmp_path, str(tmp_path / "trips.csv"), None, None)
