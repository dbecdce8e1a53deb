"""`ridecast backtest`: its table, its files, and its dates."""

import json
from pathlib import Path

import pytest

from tests.ridecast.calls import ridecast
from tests.ridecast.conftest import REGION, UNTIL, Call, Small

MODELS = ["served", "last_value", "mean_last_hour", "same_slot_last_week", "weekday_slot_mean"]


def test_a_day_is_tested_against_every_baseline(small: Small, tmp_path: Path) -> None:
    """Table, JSON and plot hold the same rows; names are whole at 80 columns; rides that end too early are said."""
    words = ("--rides", small.rides, "--region", REGION, "--train-until", UNTIL, "--test-until", "2025-04-20", "--json", "deep/out.json")
    done = ridecast("backtest", *words, cwd=tmp_path, env={"COLUMNS": "80"})
    assert 0 == done.status, done.err
    assert done.lines == ["ridecast: the rides end before --test-until 2025-04-20: 1.0 days were tested"]
    said = json.loads((tmp_path / "deep" / "out.json").read_text("utf-8"))
    assert (REGION, UNTIL, "2025-04-20", 576, 288, "requests") == tuple(
        said[name] for name in ("region", "train_until", "test_until", "train_slots", "test_slots", "measure")
    )
    overall = [row for row in said["rows"] if row["band"] == "all"]
    assert [(model, horizon) for horizon in (15, 30, 60) for model in MODELS] == [(row["model"], row["horizon_min"]) for row in overall]
    lines = done.out.splitlines()
    assert len(said["rows"]) == sum(any(f" {model} " in line for model in MODELS) for line in lines)
    assert max(map(len, lines)) <= 80
    assert (tmp_path / "deep" / "out.png").read_bytes().startswith(b"\x89PNG")
    assert lines[-1] == "written: deep/out.json and deep/out.png"
    assert ["deep"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("dates", "said"),
    [
        (("soon", "2025-04-08"), "--train-until: expected a date as YYYY-MM-DD, got 'soon'"),
        ((UNTIL, "2025-13-01"), "--test-until: expected a date as YYYY-MM-DD, got '2025-13-01'"),
        ((UNTIL, UNTIL), f"--test-until: expected a date after {UNTIL}, got {UNTIL}"),
    ],
)
def test_wrong_dates_name_their_option(small: Small, call: Call, dates: tuple[str, str], said: str) -> None:
    """A date that is none, or that leaves nothing to test, is wrong usage."""
    done = call("backtest", "--rides", small.rides, "--region", REGION, "--train-until", dates[0], "--test-until", dates[1])
    assert (2, "", f"ridecast: {said}\n") == (done.status, done.out, done.err)
