"""Audits of a ledger with an experiment: deep verification folds it to the same digests, and explanations name the arm."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dataflows.audit.deep import fold_again
from dataflows.audit.explain import explain_forecast
from dataflows.jobs.experiments import Plan, start_experiment
from dataflows.jobs.promoting import story_of
from ledger.views.experiments import experiment_of
from schemas.events.cells import cell_text
from schemas.forecasts.chunks import unpack_blob
from schemas.records.records import ForecastIssued
from schemas.times import iso
from state.forecast.arms import Arm, challenged_rows
from tests.dataflows.jobs.experiment_town import town_with_two_models
from tests.dataflows.jobs.shifting_town import LOG, TOWN, Town, quick_training


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """A town with three slots of an experiment."""
    with quick_training(40):
        made = town_with_two_models(tmp_path / "home")
        challenger = story_of(made.stores, TOWN.id, "pickups").challenger.hex()
        start_experiment(made.stores, challenger, Plan(block_min=120, name="trees"))
        made.close_slots(3, shifted=True)
        yield made
        made.stores.close()


def test_deep_verification_folds_an_experiment_again(town: Town) -> None:
    """Every state digest is met, those of the challenger's arm included."""
    assert [] == fold_again(town.stores.ledger, town.stores.blobs, town.stores.environment, TOWN.id, lambda done, total: None)


def test_each_arm_is_explained_by_its_model(town: Town) -> None:
    """A cell of each arm: the explanation names arm and model, and adds up to the served number."""
    issued = town.stores.ledger.find(LOG, ForecastIssued)
    assert issued is not None
    started = experiment_of(town.stores.ledger, issued)
    assert started is not None
    columns = unpack_blob(town.stores.blobs.get(issued.blob)).columns(issued.horizons_min)
    challenged, own = challenged_rows(started, columns, issued.slot), columns.fallback == 0
    for rows, arm, model in ((own & ~challenged, Arm.CHAMPION, started.champion), (challenged, Arm.CHALLENGER, started.challenger)):
        row = int(np.flatnonzero(rows)[0])
        found = explain_forecast(
            town.stores.ledger,
            town.stores.blobs,
            TOWN.id,
            cell=cell_text(int(columns.cells[row]), TOWN.precision),
            target=iso(issued.target_us),
            horizon_min=120,
        )
        assert (arm, model, True) == (found.arm, found.model, found.same_features)
        total = found.explanation.base + sum(term.rides for term in found.explanation.terms)
        assert total == pytest.approx(columns.mean[row, 0] / 1000, abs=0.001)
