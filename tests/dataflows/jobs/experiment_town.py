"""A town with a champion and a worse challenger, to experiment with; the models are trained once in a process."""

import dataclasses
import tempfile
from functools import cache
from pathlib import Path

import pytest

from dataflows.jobs.learn import train_region
from dataflows.jobs.promoting import promote_model
from ledger.store.blobs import Retention
from ledger.views.append import append_shared
from schemas.records.records import CONTROL_LOG, ModelTrained
from state.demand.features import FIRST_TABLE
from state.models import boosted
from tests.dataflows.jobs.shifting_town import TOWN, Town, quick_training

FOLD = 5


@cache
def two_models() -> tuple[bytes, bytes, ModelTrained]:
    """A model of the town, one that was trained on the truths of other cells and slots, and the record of a training."""
    with tempfile.TemporaryDirectory() as folder, quick_training(40), pytest.MonkeyPatch.context() as patch:
        patch.setattr("dataflows.jobs.learn.newest_table", lambda version: FIRST_TABLE)
        town = Town(Path(folder) / "home", FOLD)
        fit = boosted.fit
        [good] = train_region(town.stores, TOWN, promote=False, most_rows=10_000)
        patch.setattr("state.models.boosted.fit", lambda x, rides, margin, **more: fit(x, rides[::-1], margin, **more))
        [worse] = train_region(town.stores, TOWN, promote=False, most_rows=10_000)
        town.stores.close()
    return good.model.artefact, worse.model.artefact, good.record


def town_with_two_models(home: Path) -> Town:
    """A town whose champion has a challenger."""
    made = Town(home, FOLD)
    good, worse, trained = two_models()
    for one in (good, worse):
        model = made.stores.blobs.put(one, Retention.MODEL)
        append_shared(made.stores.ledger, CONTROL_LOG, dataclasses.replace(trained, model=model))
        if one is good:
            promote_model(made.stores, model.hex())
    return made
