"""A backtest of a small city: rows in the documented form, equal to a computation from its ledger."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from dataflows.jobs.covariates import held_covariates
from dataflows.jobs.exports.tables import export_parquet
from dataflows.jobs.learn import CONTROL_SIZE, train_region
from dataflows.jobs.learner import Learner
from dataflows.stream.stores import open_stores
from ridecast.commands.backtest import command
from schemas.configuration.areas import Area, Areas
from schemas.configuration.settings import Settings
from schemas.events.cells import LETTERS, cell_code
from schemas.forecasts.chunks import unpack_blob
from schemas.records.records import CONTROL_LOG, CovariatesKnown, ForecastIssued, ModelPromoted, ModelTrained, SlotClosed
from state.forecast.calibration import Uniforms, crps, pit
from state.forecast.evaluation import BANDS, MODELS
from state.models.predictive import predictive
from tests.simulation.runs import LOG
from tests.simulation.world import START_SLOT, make_world, write_files, write_history, write_region
from tests.state.counting.plain_slots import SLOT_US

COLUMNS = ["band", "horizon_min", "model", "cells", "issues", "rmse_mean", "wape_median", "bias", "coverage80", "crps"]
DAY_SLOTS = 23 * 12  # the clock goes forward on the day of the test
TRAIN_SLOTS = 8 * 288
Invoke = Callable[..., Result]


@pytest.fixture(scope="module")
def invoke(tmp_path_factory: pytest.TempPathFactory) -> Invoke:
    """The command on a city of eight days of history and one of test, with late rides, duplicates and rejects."""
    folder = tmp_path_factory.mktemp("city")
    world = make_world(11, hours=24)
    write_history(folder / "rides")
    write_files(world, folder / "rides", segment_bytes=1_000_000)
    region = write_region(world, folder)

    def run(*words: str, until: str = "2024-04-01") -> Result:
        given = ["--rides", str(folder / "rides"), "--region", str(region), "--train-until", "2024-03-31", "--test-until", until]
        with pytest.MonkeyPatch.context() as patch:
            # Tracking is tested elsewhere; a small sample and few trees on one thread take a second and are enough here.
            patch.setattr("dataflows.jobs.learn.track_training", lambda *_, **__: "")
            patch.setattr("dataflows.jobs.promoting.track_aliases", lambda *_, **__: None)
            patch.setattr("dataflows.jobs.learn.os.cpu_count", lambda: 1)
            patch.setattr("dataflows.jobs.backtest.train_region", partial(train_region, most_rows=2_500))
            patch.setattr("state.models.chain_fitting.MOST_ROUNDS", 15)
            patch.setattr("dataflows.jobs.backtest.Learner", partial(Learner, most_rows=2_500))
            return CliRunner().invoke(command, [*given, *words], env={"COLUMNS": "200", "RIDECAST_HOME": str(folder / "never")})

    return run


def warmth() -> Iterator[str]:
    """Rows of an air temperature for every hour of the city, known at once."""
    for hour in range(10 * 24):
        at = datetime(2024, 3, 22, tzinfo=UTC) + timedelta(hours=hour)
        yield f"{at.isoformat()},{at.isoformat()},temperature_c,{hour % 24}\n"


@pytest.fixture(scope="module")
def tested(invoke: Invoke, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A folder with `out.json`, its plot and the home, and the printed output."""
    folder = tmp_path_factory.mktemp("out")
    words = "--json", str(folder / "deep" / "out.json"), "--html", str(folder / "report.html"), "--home", str(folder / "home")
    halves = [Area(name, tuple(letters), (), (("half", name),)) for name, letters in (("one", LETTERS[:16]), ("other", LETTERS[16:]))]
    (folder / "areas.json").write_text(Areas(LOG.partition("/")[2], 6, tuple(halves)).to_json(), "utf-8")
    (folder / "weather.csv").write_text("valid_at,known_at,name,value\n" + "".join(warmth()), "utf-8")
    result = invoke(*words, "--areas", str(folder / "areas.json"), "--covariates", str(folder / "weather.csv"))
    assert 0 == result.exit_code, result.output
    return folder, result


@pytest.fixture(scope="module")
def report(tested: tuple[Path, Result]) -> dict[str, Any]:
    """The content of `out.json`."""
    text: dict[str, Any] = json.loads((tested[0] / "deep" / "out.json").read_text("utf-8"))
    return text


def test_the_json_has_the_form_that_scripts_rely_on(report: dict[str, Any]) -> None:
    """Every row has exactly the documented keys; bands, horizons and models are those of the table, and numbers are numbers."""
    assert all(COLUMNS == list(row) for row in report["rows"])
    assert ["busy", "medium", "quiet", "new", "all"] == list(BANDS)
    assert {row["band"] for row in report["rows"]} <= set(BANDS)
    bands = [band for band in BANDS if band in {row["band"] for row in report["rows"]}]
    assert {"busy", "all"} <= set(bands)
    expected = [(band, h, model) for band in bands for h in (15, 30, 60) for model in MODELS]
    assert expected == [(row["band"], row["horizon_min"], row["model"]) for row in report["rows"]]
    for row in report["rows"]:
        assert all(isinstance(row[name], int) for name in ("horizon_min", "cells", "issues"))
        assert all(isinstance(row[name], float) and np.isfinite(row[name]) for name in ("rmse_mean", "wape_median", "bias"))
        assert (row["model"] == "served") == (row["coverage80"] is not None)
    rest: tuple[object, ...] = ("small", "2024-03-31", "2024-04-01", "requests", TRAIN_SLOTS, DAY_SLOTS, {})
    names = ("region", "train_until", "test_until", "measure", "train_slots", "test_slots", "other_measures")
    assert rest == tuple(report[name] for name in names)


def test_every_issue_with_a_complete_window_counts(report: dict[str, Any]) -> None:
    """Of a day of 23 hours all issues count but those whose window ends after it."""
    assert {(h, DAY_SLOTS - h // 5) for h in (15, 30, 60)} == {(row["horizon_min"], row["issues"]) for row in report["rows"]}


def test_served_rows_equal_the_ledger(report: dict[str, Any], tested: tuple[Path, Result]) -> None:
    """Errors recomputed with pandas from the exported tables of the home equal those of the rows."""
    stores = open_stores(Settings.from_env({"RIDECAST_HOME": str(tested[0] / "home")}))
    export_parquet(stores.ledger, stores.blobs, ["small"], tested[0] / "tables")
    issued = {found.record.slot: found.record for found in stores.ledger.scan(LOG, kind=ForecastIssued)}
    chunks = {slot: unpack_blob(stores.blobs.get(record.blob)).columns(record.horizons_min) for slot, record in issued.items()}
    stores.close()
    counts = pd.read_parquet(tested[0] / "tables" / "counts.parquet")
    counts["number"] = counts["slot"].map(lambda at: int(at.timestamp() * 1e6) // SLOT_US) - START_SLOT
    rides = counts.pivot_table(index="number", columns="cell", values="count", fill_value=0).reindex(range(DAY_SLOTS), fill_value=0)
    forecasts = pd.read_parquet(tested[0] / "tables" / "forecasts.parquet")
    forecasts["number"] = forecasts["target"].map(lambda at: int(at.timestamp() * 1e6) // SLOT_US) - START_SLOT
    for horizon_min in (15, 30, 60):
        h = horizon_min // 5
        truth = rides[::-1].rolling(h).sum()[::-1].loc[1 : DAY_SLOTS - h]
        mine = forecasts[forecasts["horizon_min"] == horizon_min]
        tables = {
            name: mine.pivot_table(index="number", columns="cell", values=name).reindex_like(truth).fillna(0.0)
            for name in ("mean", "median")
        }
        [row] = [row for row in report["rows"] if (row["band"], row["horizon_min"], row["model"]) == ("all", horizon_min, "served")]
        total = truth.to_numpy().sum()
        assert len(truth.columns) == row["cells"]
        assert len(truth) == row["issues"]
        assert pytest.approx(float(np.sqrt(((tables["mean"] - truth) ** 2).to_numpy().mean()))) == row["rmse_mean"]
        assert pytest.approx(float((tables["median"] - truth).abs().to_numpy().sum() / total)) == row["wape_median"]
        assert pytest.approx(float(tables["mean"].to_numpy().sum() / total - 1)) == row["bias"]
        codes = np.array([cell_code(text) for text in truth.columns], np.uint64)
        uniforms = Uniforms("small", codes)
        pits, scores = [], []
        for number in truth.index.tolist():
            slot, rides_then = START_SLOT + number - 1, truth.loc[number].to_numpy().astype(np.int64)
            mean, dispersion, i = np.zeros(len(codes), np.int64), np.zeros(len(codes), np.int64), (15, 30, 60).index(horizon_min)
            places, known = np.searchsorted(codes, chunks[slot].cells), np.isin(chunks[slot].cells, codes)
            mean[places[known]], dispersion[places[known]] = chunks[slot].mean[known, i], chunks[slot].dispersion[known, i]
            law = predictive(issued[slot].spread[i], mean, dispersion)
            pits.append(pit(law, rides_then, uniforms.at(slot, horizon_min)))
            scores.append(crps(law, rides_then))
        inside = np.concatenate(pits)
        assert pytest.approx(float(((inside >= 0.1) & (inside <= 0.9)).mean())) == row["coverage80"]
        assert pytest.approx(float(np.concatenate(scores).mean())) == row["crps"]
        [overall] = [r for r in report["calibration"] if (r["band"], r["horizon_min"], r["day"]) == ("all", horizon_min, "all")]
        assert (len(inside), row["coverage80"]) == (overall["pairs"], overall["coverage80"])


def test_it_trains_on_the_past_and_serves_that_model(tested: tuple[Path, Result]) -> None:
    """The home's model was trained without the test period, and was promoted before it."""
    stores = open_stores(Settings.from_env({"RIDECAST_HOME": str(tested[0] / "home")}))
    [trained] = list(stores.ledger.records(CONTROL_LOG, ModelTrained))
    [promoted] = list(stores.ledger.records(CONTROL_LOG, ModelPromoted))
    models = {found.record.models for found in stores.ledger.scan(LOG, kind=ForecastIssued)}
    last = stores.ledger.entry(LOG, SlotClosed)
    stores.close()
    assert (START_SLOT - TRAIN_SLOTS, START_SLOT) == (trained.first_slot, trained.until_slot)
    assert (trained.model, "backtest") == (promoted.model, promoted.reason)
    assert {(trained.model,)} == models
    assert last is not None
    assert last.slot is not None
    assert last.slot >= START_SLOT + DAY_SLOTS - 1


def test_weather_is_recorded_before_the_training(tested: tuple[Path, Result]) -> None:
    """The home has every value of the file; the model was trained with them, and every close cites them."""
    stores = open_stores(Settings.from_env({"RIDECAST_HOME": str(tested[0] / "home")}))
    [held] = held_covariates(stores.ledger)
    [trained] = list(stores.ledger.records(CONTROL_LOG, ModelTrained))
    [known] = [stored.index for stored in stores.ledger.scan(CONTROL_LOG, kind=CovariatesKnown)]
    cited = {found.record.control_size for found in stores.ledger.scan(LOG, kind=SlotClosed)}
    stores.close()
    assert ("temperature_c", 240) == (held.name, held.values)
    assert known < int(trained.parameters[CONTROL_SIZE]) < min(cited)


def test_the_table_and_the_plot_show_the_rows(report: dict[str, Any], tested: tuple[Path, Result]) -> None:
    """Each row is printed completely, and the plot is an image of plausible size."""
    folder, result = tested
    for row in report["rows"]:
        assert any(row["model"] in line and f"{row['wape_median']:.3f}" in line for line in result.stdout.splitlines())
    plot = (folder / "deep" / "out.png").read_bytes()
    assert plot.startswith(b"\x89PNG\r\n")
    assert len(plot) > 10_000
    page = (folder / "report.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert not re.search(r"(src|href)=|url\(|@import|<script", page)  # It needs nothing else.
    assert "Are all parts of the city forecast equally well?" in page
    assert "Too little data to compare classes" in result.stdout
    for words in ("Error by hour of the day", "Error by day", "Can the intervals be believed?", "The ten worst cells", 'class="map"'):
        assert words in page
    assert f"written: {folder / 'deep' / 'out.json'} and {folder / 'deep' / 'out.png'}" in result.stdout


def test_it_trains_again_in_step_with_the_slots(invoke: Invoke, tmp_path: Path) -> None:
    """Once a day a challenger is trained on the slots that had closed by then; it serves nothing before it passes the gates."""
    result = invoke("--retrain", "daily", "--home", str(tmp_path / "home"))
    assert 0 == result.exit_code, result.output
    stores = open_stores(Settings.from_env({"RIDECAST_HOME": str(tmp_path / "home")}))
    first, second = stores.ledger.records(CONTROL_LOG, ModelTrained)
    [promoted] = stores.ledger.records(CONTROL_LOG, ModelPromoted)
    stores.close()
    day_end = (START_SLOT // 288 + 1) * 288 + 12  # every window of an issue of that day has ended
    assert (START_SLOT, day_end) == (first.until_slot, second.until_slot)
    assert "schedule: 1 days since the data of the newest model ended; every 1 days" == second.parameters["trigger"]
    assert first.model == promoted.model
    assert f"trained {second.model.hex()[:12]} on everything before " in result.stdout


def test_a_home_that_was_used_is_refused(invoke: Invoke, tested: tuple[Path, Result]) -> None:
    """Slots that have closed would keep the forecasts of the model and the weather of then; nothing is trained."""
    result = invoke("--home", str(tested[0] / "home"))
    assert re.search(
        r"--home: expected one in which .* has closed no slot, got slots until 2024-04-01T.*; use another", str(result.exception)
    )


@pytest.mark.parametrize("until", ["2024-03-31", "2024-03-30"])
def test_a_test_period_that_ends_before_it_starts_is_refused(invoke: Invoke, until: str) -> None:
    """The message names the date that must be later, before anything is counted."""
    result = invoke(until=until)
    assert f"--test-until: expected a date after 2024-03-31, got {until}" in str(result.exception)
