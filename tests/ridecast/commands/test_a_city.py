"""A new city, from what docs/adding.md says to its first forecasts."""

import re
import shlex
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.ridecast.conftest import Call
from tests.tree import ROOT

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FIRST, DAYS, RIDES_PER_HOUR = datetime(2025, 3, 15), 8, 6  # the page's --until leaves a day of forecasts


def page() -> tuple[str, list[list[str]]]:
    """The definition and the commands of the section about a city."""
    text = (ROOT / "docs/adding.md").read_text("utf-8")
    section = text[text.index("**A city.**") : text.index("**A measure.**")]
    blocks = BLOCK.findall(section)
    definition, *_ = [text for language, text in blocks if language == "json"]
    return definition, [shlex.split(line)[1:] for language, text in blocks if language == "sh" for line in text.splitlines()]


def trips() -> str:
    """Trips of Paris in a file that has no more than the page asks for."""
    rng = np.random.default_rng(4)
    lines = ["time,lat,lon"]
    for hour in range(24 * DAYS):
        for minute in sorted(rng.integers(0, 60, RIDES_PER_HOUR).tolist()):
            at = FIRST + timedelta(hours=hour, minutes=minute)
            lines.append(f"{at:%Y-%m-%d %H:%M},{48.855 + rng.normal() / 500:.5f},{2.345 + rng.normal() / 500:.5f}")
    return "\n".join(lines) + "\n"


def test_a_city_ends_in_forecasts(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's definition and commands, with a file of time, latitude and longitude, give forecasts that are not zero."""
    definition, (*commands, adding) = page()
    monkeypatch.chdir(tmp_path)
    Path("city.json").write_text(definition, "utf-8")
    Path("trips.csv").write_text(trips(), "utf-8")
    assert ["import", "bootstrap", "train", "run"] == [words[0] for words in commands]
    said = []
    for words in commands:
        done = call(*words)
        assert (words, 0) == (words, done.status), done.err
        said.append(done.out + done.err)
    assert "as events of kind `requested`" in said[0]
    assert "city.json: no time zone given; using Europe/Paris, from its location" in said[0]
    assert f"{24 * (DAYS - 1) * RIDES_PER_HOUR:,} rides" in said[1]
    assert 0 == call("ledger", "export", "--home", "home", "--parquet", "tables").status
    forecasts = pd.read_parquet("tables/forecasts.parquet")
    assert forecasts["mean"].max() > 0.1
    Path("city.json").write_text(definition.replace("paris", "lutetia"), "utf-8")  # another city, to be added to that home
    assert 0 == call(*("past" if word == "rides" else word for word in commands[0])).status
    done = call(*adding)
    assert (0, True) == (done.status, "lutetia bootstrapped: 1,008 rides in 7.0 days" in done.out), done.err
    assert 0 == call("run", "--rides", "past", "--region", "city.json", "--home", "home", "--until-end").status


def test_a_region_that_counts_another_kind_is_told(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no event is of the kind that the region counts, the message names the measure, the kinds found, and both ways out."""
    definition, (importing, bootstrap, *_) = page()
    monkeypatch.chdir(tmp_path)
    Path("city.json").write_text(definition, "utf-8")
    Path("trips.csv").write_text(trips(), "utf-8")
    assert 0 == call(*importing, "--kind", "started").status
    done = call(*bootstrap)
    wanted = "region paris: expected events of kind requested (measure requests), got 1,152 of kind started"
    remedy = 'set "measures": ["pickups"] in its definition, or import the trips again with --kind requested'
    assert (2, [f"ridecast: {wanted}; {remedy}"]) == (done.status, [line for line in done.lines if "no time zone" not in line])


def test_a_region_of_several_kinds_asks(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A region whose measures count different kinds needs --kind."""
    monkeypatch.chdir(tmp_path)
    Path("city.json").write_text(page()[0].replace("}", ', "measures": ["requests", "pickups"]}'), "utf-8")
    Path("trips.csv").write_text(trips(), "utf-8")
    done = call("import", "trips.csv", "--region", "city.json", "--out", "rides")
    assert 2 == done.status
    assert "which count requested, started; a trip gives one event; choose it with --kind" in done.err
