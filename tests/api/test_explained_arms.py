"""A cell that the challenger of an experiment serves is explained, although its model has features of its own."""

import contextlib
import dataclasses
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from api.app import application
from api.context import ApiContext
from dataflows.audit.explain import explain_forecast
from dataflows.audit.replay_report import Verdict
from dataflows.jobs.experiments import Plan, start_experiment
from dataflows.jobs.learn import train_region
from ledger.store.blobs import Retention
from ledger.views.experiments import experiment_of
from schemas.events.cells import cell_text
from schemas.forecasts.chunks import unpack_blob
from schemas.records.records import ForecastIssued
from schemas.times import iso
from state.demand.features import FIRST_TABLE
from state.forecast.arms import Arm, challenged_rows
from tests.api.client import Client
from tests.dataflows.audit.replays import replay
from tests.dataflows.stream.test_local import Killed, killed_after
from tests.simulation.homes import Learned
from tests.simulation.runs import LOG, Place, copied, run_here


@pytest.fixture(scope="module")
def arms(learned: Learned, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A home with some slots of an experiment whose challenger has the first feature table."""
    place = copied(learned.place, tmp_path_factory.mktemp("arms") / "home", snapshot_every_s=99)
    stores = place.open()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dataflows.jobs.learn.newest_table", lambda version: FIRST_TABLE)
        patch.setattr("dataflows.jobs.learn.track_training", lambda *_, **__: "")
        [trained] = train_region(stores, place.world.region, promote=False, most_rows=2_500)
    start_experiment(stores, trained.record.model.hex(), Plan(block_min=5, name="tables"))
    stores.close()
    with contextlib.suppress(Killed):
        run_here(place, killed_after(4), batch_events=20)
    return place


def test_each_arm_is_explained_by_its_own_features(arms: Place, tmp_path: Path) -> None:
    """From stored features in the API and the audit, and from features that are folded again: always the served number."""
    stores = copied(arms, tmp_path / "home").open()
    issued = stores.ledger.find(LOG, ForecastIssued)
    assert issued is not None
    started = experiment_of(stores.ledger, issued)
    assert started is not None
    columns = unpack_blob(stores.blobs.get(issued.blob)).columns(issued.horizons_min)
    challenged = challenged_rows(started, columns, issued.slot)
    own = columns.fallback == 0
    assert {32} == {len(issued.arm_features_digest)}
    assert issued.arm_features_digest != issued.features_digest
    assert {issued.features_digest, issued.arm_features_digest} <= set(stores.blobs.digests(Retention.FEATURES))
    client = Client(application(ApiContext(stores.ledger, stores.blobs, None, ("small",), stores.settings, time.time)))
    for stored in (True, False):
        for rows, arm, model in ((own & ~challenged, Arm.CHAMPION, started.champion), (challenged, Arm.CHALLENGER, started.challenger)):
            row = int(np.flatnonzero(rows)[0])
            cell, target = cell_text(int(columns.cells[row]), 6), iso(issued.target_us)
            answer = client.get(f"/v1/regions/small/forecasts/{cell}/{target}/15/explanation")
            found = explain_forecast(stores.ledger, stores.blobs, "small", cell=cell, target=target, horizon_min=15)
            assert (arm, model, True, stored) == (found.arm, found.model, found.same_features, found.replayed_slots == 0)
            wanted = columns.mean[row, 0] / 1000
            assert found.explanation.base + sum(term.rides for term in found.explanation.terms) == pytest.approx(wanted, abs=0.001)
            body = answer.json()
            assert (200, {"id": "tables", "arm": arm.value}, model.hex()) == (answer.status_code, body["experiment"], body["model"])
            assert body["base"]["rides"] + sum(term["rides"] for term in body["terms"]) == pytest.approx(wanted, abs=0.001)
        for digest in (issued.features_digest, issued.arm_features_digest) if stored else ():
            stores.blobs.remove(digest)
    stores.close()


def test_both_matrices_are_replayed(arms: Place, tmp_path: Path) -> None:
    """A replay of the rides gives the digests of both; a recorded one that differs is a difference of the features."""
    place = copied(arms, tmp_path / "home")
    again = replay(place)
    assert {Verdict.IDENTICAL: len(again.slots)} == again.verdicts, again.first_bad


def test_before_version_6_the_api_says_what_explains_it(arms: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An issue that does not name the challenger's features is explained by the command only, and the answer says so."""
    stores = copied(arms, tmp_path / "home").open()
    issued = stores.ledger.find(LOG, ForecastIssued)
    assert issued is not None
    started = experiment_of(stores.ledger, issued)
    assert started is not None
    columns = unpack_blob(stores.blobs.get(issued.blob)).columns(issued.horizons_min)
    cell = cell_text(int(columns.cells[np.flatnonzero(challenged_rows(started, columns, issued.slot))[0]]), 6)
    older = SimpleNamespace(record=dataclasses.replace(issued, arm_features_digest=b""), index=0)
    monkeypatch.setattr("api.explanations.issue_for", lambda *given: older)
    client = Client(application(ApiContext(stores.ledger, stores.blobs, None, ("small",), stores.settings, time.time)))
    answer = client.get(f"/v1/regions/small/forecasts/{cell}/{iso(issued.target_us)}/15/explanation")
    assert 410 == answer.status_code
    assert "not recorded before version 6 of the fold; use `ridecast explain`" in answer.json()["detail"]
    stores.close()
