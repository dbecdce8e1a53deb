"""`ridecast train`: what it shows, and when it refuses."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataflows.jobs.learn import Trained
from dataflows.jobs.search import SearchPlan
from ridecast.commands.train import champion_of
from schemas.configuration.settings import Settings
from schemas.records.records import ModelTrained
from schemas.regions import load_region
from state.demand.features import FIRST_TABLE
from state.forecast.search import TrialResult
from state.forecast.training import TrainedModel
from state.models.fit_parameters import AS_SHIPPED
from tests.ridecast.conftest import REGION, Call, Small

RECORD = ModelTrained(
    region="nyc",
    measure="requests",
    model=bytes(32),
    algorithm="",
    features=(),
    first_slot=0,
    until_slot=1,
    rows=5_000,
    data_digest=b"",
    parameters={},
    metrics={},
)


def test_it_shows_the_errors_and_that_it_serves(small: Small) -> None:
    """A row for each horizon against the baseline, the model by its digest, and that it was promoted."""
    text = small.made["train"].out
    champion = champion_of(Settings.from_env({}, {"home": small.home}), load_region(REGION))
    assert champion is not None
    assert f"{REGION} requests: model {champion.hex()[:12]}, " in text
    assert [True] * 3 == [f"{horizon} min" in text for horizon in (15, 30, 60)]
    assert text.endswith("promoted: it serves from the next slot on\n")


def test_without_promotion_it_serves_nothing(small: Small, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was only recorded is said to serve nothing; the options reach the training."""
    asked: dict[str, object] = {}
    named: list[object] = []

    def train_region(stores: object, region: object, **given: object) -> list[object]:
        asked.update(given)
        named.append(region)
        return []

    monkeypatch.setattr("dataflows.jobs.learn.train_region", train_region)
    done = call("train", "--home", small.home, "--most-rows", 20_000)
    assert (0, "recorded as challenger: it serves nothing until it is promoted; `ridecast promote MODEL` does so\n") == (
        done.status,
        done.out,
    )
    assert (False, 20_000, [None]) == (asked["promote"], asked["most_rows"], named)
    call("train", "--home", small.home, "--region", "nyc", "--region", REGION)
    assert [load_region("nyc"), load_region(REGION)] == named[1:]


def test_too_little_history_is_said(tmp_path: Path, call: Call) -> None:
    """A region without history cannot be trained for: what is needed and what there is are said, and no champion is left behind."""
    call("bootstrap", "--region", "nyc", "--until", "2014-05-01", "--home", tmp_path, "--no-history")
    done = call("train", "--home", tmp_path, "--promote")
    assert (
        2,
        "ridecast: train: expected at least 2000 rows of cells with 0.05 rides per 15 min, got 0 from 0 slots; give it more history\n",
    ) == (
        done.status,
        done.err,
    )
    assert champion_of(Settings.from_env({}, {"home": tmp_path}), load_region("nyc")) is None


def test_a_region_that_is_not_there(small: Small, call: Call) -> None:
    """A region that ships but was never bootstrapped is named with the command that does it."""
    done = call("train", "--home", small.home, "--region", "nyc")
    said = "ridecast: region nyc: not bootstrapped in this home; run `ridecast bootstrap --region nyc --until DATE` first\n"
    assert (1, said) == (done.status, done.err)


# --- search ------------------------------------------------------------------------------------------------


def result(number: int, losses: tuple[float, ...], *, pruned: bool = False, **fit: Any) -> TrialResult:
    """A trial."""
    return TrialResult(number, replace(AS_SHIPPED, **fit), losses, pruned)


TRIALS = (
    result(0, (0.8, 0.9)),
    result(1, (0.7, 0.8), max_depth=6, penalty_share=0.1),
    result(2, (0.95,), pruned=True, eta=0.15),
)


def test_a_search_shows_each_trial_and_the_best(small: Small, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line about the study and one per trial while it searches; then the best trials, the default among them."""
    plans: list[SearchPlan] = []

    def train_region(stores: object, region: object, *, search_plan: SearchPlan, **given: object) -> list[Trained]:
        plans.append(search_plan)
        search_plan.on_study("study 0123456789ab: new")
        for trial in TRIALS:
            search_plan.on_trial(trial, TRIALS[min(trial.number, 1)], 12.4)
        model = TrainedModel(b"", "", FIRST_TABLE, {}, 5_000, 0, 1, {})
        return [Trained(replace(RECORD, region=REGION), model, TRIALS)]

    monkeypatch.setattr("dataflows.jobs.learn.train_region", train_region)
    done = call("train", "--home", small.home, "--search", 3, "--search-minutes", 1.5)
    assert 0 == done.status
    lines = done.err.splitlines()
    assert "study 0123456789ab: new" == lines[0]
    assert lines[1].startswith(f"trial 1 of 3: error 0.8500, best 0.8500 (trial 1), 12 s; max_depth {AS_SHIPPED.max_depth}, eta ")
    assert lines[2].startswith("trial 2 of 3: error 0.7500, best 0.7500 (trial 2), 12 s; max_depth 6, ")
    assert lines[3].startswith(
        f"trial 3 of 3: stopped after 1 blocks at 0.9500, best 0.7500 (trial 2), 12 s; max_depth {AS_SHIPPED.max_depth}, eta 0.15"
    )
    assert f"{REGION} requests: the best of 3 trials, 1 of them stopped early" in done.out
    rows = [[cell.strip() for cell in line.split("│")[1:4]] for line in done.out.splitlines() if line.startswith("│")]
    assert [["2", "0.7500", "6"], ["1 (default)", "0.8500", str(AS_SHIPPED.max_depth)]] == rows[:2]
    assert (3, 1.5) == (plans[0].trials, plans[0].minutes)


def test_a_search_that_is_stopped_says_how_to_go_on(small: Small, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during a search says that its trials are kept; without a search there is nothing to keep."""

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dataflows.jobs.learn.train_region", stopped)
    kept = "ridecast: the trials that ended are kept; the same command continues the search\n"
    end = "\nridecast: stopped by Ctrl-C before the end\n"  # after the ^C that a terminal shows
    assert (130, kept + end) == (lambda done: (done.status, done.err))(call("train", "--home", small.home, "--search", 3))
    assert (130, end) == (lambda done: (done.status, done.err))(call("train", "--home", small.home))


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--search-minutes", 5), 2, "ridecast: --search-minutes: expected --search N with it, which says how many trials to make at most"),
        (("--search", 2, "--parameters-of", "shipped"), 2, "ridecast: --parameters-of: expected no --search with it, which looks for"),
        (("--parameters-of", "0123456789"), 1, "ridecast: model 0123456789: no model of this home has a digest that begins so"),
    ],
)
def test_options_that_do_not_fit_are_refused(small: Small, call: Call, words: tuple[object, ...], status: int, said: str) -> None:
    """One line says which option was given without, or with, which other one, or names the model that is not there."""
    done = call("train", "--home", small.home, *words)
    assert status == done.status
    assert done.err.splitlines()[-1].startswith(said)


def test_a_study_that_cannot_be_used_ends_with_one_line(small: Small, call: Call, tmp_path: Path) -> None:
    """A file that is no study, in a home with enough history, is named with what to do, and nothing is trained."""
    home = tmp_path / "home"
    shutil.copytree(small.home, home)
    (home / "studies").mkdir()
    (home / "studies" / f"{REGION}-requests.db").write_bytes(b"this is no database at all" * 100)
    done = call("train", "--home", home, "--most-rows", 10_000, "--search", 2)
    assert 1 == done.status
    assert f"ridecast: study {home}/studies/{REGION}-requests.db: file is not a database; make it readable, or move it away" in done.err


def test_mlflow_is_rebuilt_by_a_command(small: Small, call: Call, tmp_path: Path) -> None:
    """After its store was deleted, the command says how many trainings it wrote; a second time there is nothing to write."""
    home = tmp_path / "home"
    shutil.copytree(small.home, home, ignore=shutil.ignore_patterns("mlflow"))
    first, second = (call("models", "--home", home, "--rebuild-mlflow") for _ in range(2))
    assert (0, "MLflow: 1 trainings added, aliases set as the ledger has them") == (first.status, first.out.splitlines()[0])
    assert "MLflow: 0 trainings added, aliases set as the ledger has them" == second.out.splitlines()[0]
    assert (home / "mlflow" / "mlflow.db").exists()
