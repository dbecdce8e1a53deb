"""Search in a training: the model of the best parameters, what is recorded of it, where its parameters go on, and MLflow's nested runs."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dataflows.connectors.tracking import EXPERIMENT, PARENT_TAG
from dataflows.jobs.learn import Trained, parameters_for, train_region
from dataflows.jobs.retrack import retrack
from dataflows.jobs.search import SearchPlan, whole_days
from dataflows.stream.stores import Stores
from ledger.views.regions import bootstrap_of
from schemas.errors import NotFound, UsageError
from schemas.records.records import CONTROL_LOG, ModelTrained
from state.demand.features import FIRST_TABLE
from state.forecast.search import FOLDS, Fold, check_folds, fold_loss
from state.forecast.training import SampledHistory
from state.models.fit_parameters import AS_SHIPPED, FitParameters
from tests.dataflows.connectors.test_tracking import client_of
from tests.simulation.homes import LIVE_SLOTS, MOST_ROWS, Learned
from tests.simulation.runs import LOG, Place, copied
from tests.simulation.world import START_SLOT

if TYPE_CHECKING:
    from mlflow.entities import Run

TRIALS = 3


def loss_that_prefers_others(sampled: SampledHistory, fold: Fold, fit: FitParameters, threads: int) -> float:
    """The error of a fold, or one as good for all but the first; less for what is not the default, so that a search finds that."""
    error = fold_loss(sampled, fold, fit, threads) if fold == check_folds(sampled)[0] else 0.9
    return error - 0.5 * (fit != AS_SHIPPED)


@pytest.fixture(scope="module")
def searched(learned: Learned, tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, Trained, Trained, list[str]]:
    """A home after a search that was promoted, and after a training with the parameters found; and what was told."""
    place = copied(learned.place, tmp_path_factory.mktemp("searched") / "home")
    told: list[str] = []
    plan = SearchPlan(
        TRIALS,
        on_study=told.append,
        on_trial=lambda result, best, seconds: told.append(f"{result.number} {best.number}"),
    )
    stores = place.open()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 1)
        patch.setattr("dataflows.jobs.search.fold_loss", loss_that_prefers_others)
        [found] = train_region(
            stores, None, promote=True, most_rows=MOST_ROWS, search_plan=plan, on_progress=lambda stage, share: told.append(stage)
        )
        patch.setattr("dataflows.jobs.learn.whole_days", pytest.fail)  # only a search reads whole days
        [again] = train_region(stores, None, promote=False, most_rows=MOST_ROWS, fit_of=found.record.model.hex()[:12])
    stores.close()
    return place, found, again, told


@pytest.fixture
def stores(searched: tuple[Place, Trained, Trained, list[str]], tmp_path: Path) -> Iterator[Stores]:
    """A copy of that home."""
    opened = copied(searched[0], tmp_path / "home").open()
    yield opened
    opened.close()


def test_the_model_has_the_parameters_of_the_best_trial(searched: tuple[Place, Trained, Trained, list[str]]) -> None:
    """The record names study, trials, folds, errors and the parameters that were fitted, which are those of the smallest error."""
    _, found, _, _ = searched
    best = min((trial for trial in found.trials if not trial.pruned), key=lambda trial: trial.loss)
    assert best.fit == FitParameters.recorded(found.record.parameters)
    assert (AS_SHIPPED, TRIALS) == (found.trials[0].fit, len(found.trials))
    assert best.fit != AS_SHIPPED
    expected = {
        "search_trials": str(TRIALS),
        "search_pruned": "0",
        "search_seed": "0",
        "search_folds": str(FOLDS),
        "search_best": str(best.number),
        "search_error": f"{best.loss:.6g}",
        "search_error_of_default": f"{found.trials[0].loss:.6g}",
    }
    assert expected.items() <= found.record.parameters.items()


def test_a_training_with_the_parameters_found_gives_the_same_digest(
    searched: tuple[Place, Trained, Trained, list[str]], learned: Learned
) -> None:
    """Searched or told, the same parameters on the same range of the ledger make the same bytes; the record says whose they are."""
    _, found, again, _ = searched
    assert found.record.parameters["log_size"] == again.record.parameters["log_size"]
    assert (found.record.model, found.record.data_digest) == (again.record.model, again.record.data_digest)
    assert found.record.model != learned.second.record.model
    assert found.record.model.hex() == again.record.parameters["parameters_of"]
    assert not any(name.startswith("search_") for name in again.record.parameters)


def test_a_search_that_is_complete_makes_no_further_trial(
    searched: tuple[Place, Trained, Trained, list[str]], stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command again continues the study, finds its trials, and records the same model."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr("dataflows.jobs.search.fold_loss", pytest.fail)
    news: list[str] = []
    plan = SearchPlan(TRIALS, on_study=news.append)
    [found] = train_region(stores, None, promote=False, most_rows=MOST_ROWS, search_plan=plan)
    assert searched[1].record == found.record
    assert news[0].endswith(f": continued, with {TRIALS} trials")


def test_time_is_a_limit_too(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the minutes no trial begins, but the default's, without which there is nothing to compare with."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr("dataflows.jobs.search.fold_loss", lambda *_: 0.5)
    shutil.rmtree(stores.settings.home / "studies")
    ticks = iter(range(1_000_000))
    for seconds, trials in ((0.5, 1), (7.0, 3)):  # the clock is read at the start, before each trial, and twice around it
        plan = SearchPlan(50, minutes=seconds / 60, clock=lambda: float(next(ticks)))
        [found] = train_region(stores, None, promote=False, most_rows=MOST_ROWS, search_plan=plan)
        assert trials == len(found.trials)


def test_every_stage_is_told(searched: tuple[Place, Trained, Trained, list[str]]) -> None:
    """Features, study, each fold of each trial, each trial, each fit and the recording are told, in this order."""
    told = list(dict.fromkeys(searched[3]))
    kinds = ["building features", "study ", *(f"trial {i + 1} of {TRIALS}, fold {f + 1} of {FOLDS}" for i in (0,) for f in range(FOLDS))]
    kinds += ["0 0", "trial 2 of 3, fold 1", "fitting 15 min, to measure", "fitting 60 min", "recording the model"]
    places = [next(i for i, line in enumerate(told) if line.startswith(kind)) for kind in kinds]
    assert sorted(places) == places


def test_later_trainings_keep_what_was_found(searched: tuple[Place, Trained, Trained, list[str]], stores: Stores) -> None:
    """By default the champion's searched parameters are used, and the record says whose; the release's own can be asked for."""
    _, found, _, _ = searched
    fit, more = parameters_for(stores, "small", "requests", "")
    assert (FitParameters.recorded(found.record.parameters), {"parameters_of": found.record.model.hex()}) == (fit, more)
    assert (AS_SHIPPED, {}) == parameters_for(stores, "small", "requests", "shipped")
    assert (AS_SHIPPED, {}) == parameters_for(stores, "elsewhere", "requests", "")
    with pytest.raises(NotFound, match="no model of this home has a digest that begins so"):
        parameters_for(stores, "small", "requests", "0123456789")


def test_a_champion_that_was_not_searched_passes_nothing_on(learned: Learned) -> None:
    """A plain training after a plain champion uses the parameters of the release."""
    opened = learned.place.open()
    assert (AS_SHIPPED, {}) == parameters_for(opened, "small", "requests", "")
    opened.close()


def test_a_search_reads_whole_days(stores: Stores) -> None:
    """The range ends at the last local midnight; without a whole day since the bootstrap, at the end of what there is."""
    boot = bootstrap_of(stores.ledger, "small")
    until, size = START_SLOT + LIVE_SLOTS, stores.ledger.head(LOG).size
    assert 0 == boot.start_slot % 12  # in slots of five minutes
    assert (START_SLOT, size) == whole_days(stores.ledger, boot, START_SLOT, size)
    found, before = whole_days(stores.ledger, boot, until, size)
    assert found <= until
    assert (found, before) == whole_days(stores.ledger, boot, until - 1, size) or found == until


# --- MLflow ------------------------------------------------------------------------------------------------


def test_trials_are_nested_runs(searched: tuple[Place, Trained, Trained, list[str]]) -> None:
    """Each trial is a run under that of its training, with its parameters, its error, and those of its folds in order."""
    place, found, _, _ = searched
    _, nested = runs_of(place.home)
    assert TRIALS == len(nested)
    for trial in found.trials:
        [run] = [run for run in nested if run.info.run_name == f"trial {trial.number}"]
        assert trial.fit == FitParameters.recorded(run.data.params)
        assert trial.loss == run.data.metrics["error"]
        history = client_of(place.home).get_metric_history(run.info.run_id, "error_of_fold")
        assert list(enumerate(trial.losses)) == sorted((point.step, point.value) for point in history)
        assert ("KILLED" if trial.pruned else "FINISHED") == run.info.status
    parents = {run.data.tags[PARENT_TAG] for run in nested}
    [parent] = parents
    assert found.record.model.hex() == client_of(place.home).get_run(parent).data.params["model"]


def test_mlflow_is_rebuilt_from_the_ledger(searched: tuple[Place, Trained, Trained, list[str]], stores: Stores) -> None:
    """After its store was deleted, runs, nested runs, versions, artefacts and aliases are there again; a second time adds nothing."""
    before, _ = runs_of(searched[0].home)
    shutil.rmtree(stores.settings.home / "mlflow")
    assert len(before) == retrack(stores)
    runs, nested = runs_of(stores.settings.home)
    assert [old.data.params for old in before] == [run.data.params for run in runs]
    assert [old.info.run_name for old in before] == [run.info.run_name for run in runs]
    for old, run in zip(before, runs, strict=True):
        assert {name: pytest.approx(value, rel=1e-5) for name, value in old.data.metrics.items()} == run.data.metrics
        artefact = Path(str(run.info.artifact_uri).removeprefix("file://")) / f"{run.data.params['model']}.model"
        assert stores.blobs.get(bytes.fromhex(run.data.params["model"])) == artefact.read_bytes()
    [parent] = {run.data.tags[PARENT_TAG] for run in nested}
    assert (TRIALS, before[2].data.params) == (len(nested), client_of(stores.settings.home).get_run(parent).data.params)
    now, then = (client_of(home).get_registered_model("small.requests").aliases for home in (stores.settings.home, searched[0].home))
    assert then == now
    assert 0 == retrack(stores)


def test_a_lost_artefact_or_study_is_no_obstacle(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of a model in the ledger is tracked, without bytes and without trials."""
    shutil.rmtree(stores.settings.home / "mlflow")
    shutil.rmtree(stores.settings.home / "studies")
    monkeypatch.setattr(type(stores.blobs), "has", lambda *_: False)
    models = [record.model.hex() for record in stores.ledger.records(CONTROL_LOG, ModelTrained)]
    assert len(models) == retrack(stores)
    runs, nested = runs_of(stores.settings.home)
    assert (models, []) == ([run.data.params["model"] for run in runs], nested)
    assert [] == client_of(stores.settings.home).list_artifacts(runs[0].info.run_id)


def runs_of(home: Path) -> "tuple[list[Run], list[Run]]":
    """The runs of trainings, oldest first, and those nested in them."""
    client = client_of(home)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    runs = list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]))
    return [run for run in runs if PARENT_TAG not in run.data.tags], [run for run in runs if PARENT_TAG in run.data.tags]


def test_a_region_of_trees_is_not_searched(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A region whose fold is too old for chains is refused, with the command that moves it on."""
    monkeypatch.setattr("dataflows.jobs.learn.newest_table", lambda version: FIRST_TABLE)
    with pytest.raises(UsageError, match=r"search: expected a region whose models are chains"):
        train_region(stores, None, promote=False, most_rows=MOST_ROWS, search_plan=SearchPlan(1))


def test_the_plan_of_a_search_has_a_seed(
    searched: tuple[Place, Trained, Trained, list[str]], stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another seed is another study, which tries other parameters after the default."""
    monkeypatch.setattr("dataflows.jobs.search.fold_loss", lambda *_: 0.5)
    plan = replace(SearchPlan(2), seed=1)
    [found] = train_region(stores, None, promote=False, most_rows=MOST_ROWS, search_plan=plan)
    assert searched[1].trials[0].fit == found.trials[0].fit
    assert searched[1].trials[1].fit != found.trials[1].fit
