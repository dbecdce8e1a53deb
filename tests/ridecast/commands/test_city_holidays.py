"""A city whose file names the country of its holidays: what is recorded, and that a later version of the source changes nothing."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dataflows.connectors import public_holidays as source
from dataflows.stream.stores import open_stores
from ledger.views.regions import region_of
from schemas.calendars.holidays import NamedHolidays
from schemas.configuration.settings import Settings
from schemas.regions import Region, region_from_json
from tests.ridecast.conftest import Call

SQUARE = [[52.45, 13.3], [52.45, 13.5], [52.55, 13.5]]


def city(folder: Path, holidays: object) -> Path:
    """A city's file in Berlin."""
    path = folder / "berlin.json"
    path.write_text(json.dumps({"id": "berlin", "timezone": "Europe/Berlin", "polygon": SQUARE, "holidays": holidays}), "utf-8")
    return path


def recorded(home: Path) -> Region:
    """The definition in the ledger."""
    stores = open_stores(Settings.from_env({"RIDECAST_HOME": str(home)}), reading=True)
    try:
        return region_of(stores.ledger, "berlin")
    finally:
        stores.close()


def test_dates_are_recorded_once(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bootstrap records the dates and says how many; the same command later, when the source knows others, changes nothing."""
    file, home = city(tmp_path, ["DE-BE", "-2019-03-08", "2019-12-24"]), tmp_path / "home"
    words = ("bootstrap", "--region", file, "--until", "2019-06-01", "--home", home, "--no-history")
    done = call(*words)
    assert 0 == done.status
    assert f"ridecast: {file}: " in done.err
    assert " holidays of DE-BE from 2009 to " in done.err
    before = recorded(home)
    assert {"2019-12-24", "2019-12-25", "2020-03-08"} <= set(before.holidays)
    assert "2019-03-08" not in before.holidays
    real = source.public_holidays

    def later(code: str, this_year: int) -> NamedHolidays:
        found = real(code, this_year + 1)
        return replace(found, dates=(*found.dates, "2019-05-02"), source="holidays 9.0")

    monkeypatch.setattr(source, "public_holidays", later)
    assert 0 == call(*words).status
    assert before == recorded(home)
    assert before.to_json() == region_from_json(before.to_json(), where="a ledger").to_json()
    other = call("bootstrap", "--region", city(tmp_path, ["DE"]), "--until", "2019-06-01", "--home", home, "--no-history")
    assert 2 == other.status
    assert "region berlin: already bootstrapped" in other.err


def test_a_country_that_is_unknown_is_refused_before_anything_is_written(tmp_path: Path, call: Call) -> None:
    """One line names the file, the region, the code and what can be given, and there is no home."""
    file = city(tmp_path, "XX")
    done = call("bootstrap", "--region", file, "--until", "2019-06-01", "--home", tmp_path / "home", "--no-history")
    assert 2 == done.status
    assert done.err.startswith(
        f"ridecast: {file}: region berlin: holidays: expected a country, or country-subdivision, that the package hol"
    )
    assert 1 == done.err.count("\n")
    assert not (tmp_path / "home").exists()


def test_training_says_which_years_are_unknown(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A region that is counted beyond the years that were looked up is told so when it is trained."""
    real = source.public_holidays
    monkeypatch.setattr(source, "public_holidays", lambda code, this_year: real(code, 2008))
    file, home = city(tmp_path, "DE-BE"), tmp_path / "home"
    call("bootstrap", "--region", file, "--until", "2019-06-01", "--home", home, "--no-history")
    done = call("train", "--home", home)
    assert 2 == done.status
    assert "region berlin: its holidays (DE-BE) were looked up for 2009 to 2018, and its slots are of 2019 to 2019: " in caplog.text
