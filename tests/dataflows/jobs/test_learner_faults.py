"""What a learner does when it was killed, when an artefact or a kept trial is damaged, and when its disk is full."""

import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dataflows.jobs import learner as learning
from dataflows.jobs.learn import ROOM_BYTES
from dataflows.jobs.promoting import hold_models, release_models
from dataflows.jobs.shadowing import KeptShadows, Running
from ledger.store.blobs import Retention
from ledger.views.append import append_shared
from ledger.views.model_story import stories_of
from schemas.errors import LedgerError, RidecastError, StoreUnavailable
from schemas.records.records import CONTROL_LOG, ModelTrained
from state.decide.retraining import RetrainingRules
from state.demand.history import Arrays
from state.forecast.training import sample_history
from tests.dataflows.jobs.shifting_town import DAY, START, TOWN, Town, quick_training
from tests.dataflows.jobs.test_promoting import trained

WEEKLY = RetrainingRules()
NEVER = RetrainingRules(every_days=0, trainings_per_week=0)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """A town without a model, whose first slots have closed; nothing is fitted."""
    with quick_training(1):
        town = Town(tmp_path / "home")
        town.close_slots(5, shifted=False)
        yield town
        town.stores.close()


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Why each training began; it fails the first time, as on a full disk."""
    begun: list[str] = []

    def train(*_: object, trigger: str, **__: object) -> None:
        begun.append(trigger)
        if len(begun) == 1:
            raise StoreUnavailable("blob 00: No space left on device")

    monkeypatch.setattr(learning, "train_region", train)
    return begun


def challenger(town: Town, data: bytes) -> bytes:
    """The digest of a challenger whose artefact is these bytes."""
    model = town.stores.blobs.put(data, Retention.MODEL)
    append_shared(town.stores.ledger, CONTROL_LOG, trained(model))
    return model


def test_a_day_that_ended_without_a_learner_is_decided_at_its_start(town: Town, trainings: list[str]) -> None:
    """A learner that dies while it trains begins that training again at its next start, not a day later; and only once."""
    with pytest.raises(StoreUnavailable, match="No space left"):
        town.learner(retraining=WEEKLY).take_turn()
    again = town.learner(retraining=WEEKLY)
    again.take_turn()
    again.take_turn()
    assert ["schedule: there is no model yet; every 7 days"] * 2 == trainings


def test_a_full_disk_is_found_before_a_training(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an artefact cannot be stored, no start of a learner trains; with room again the first one does, and leaves no probe."""
    began: list[int] = []

    def sampled(*given: object, **named: object) -> object:
        began.append(town.slot)
        return sample_history(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("dataflows.jobs.learn.sample_history", sampled)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES // 2, limits[1]))  # the system refuses longer files
    try:
        town.close_days(1, shifted=False)
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match=r"blob [0-9a-f]{64}: .*File too large"):
                town.learner(retraining=WEEKLY).take_turn()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [] == began
    town.learner(retraining=WEEKLY).take_turn()
    assert 1 == len(began)
    assert 1 == len(list(town.stores.ledger.records(CONTROL_LOG, ModelTrained)))
    assert ROOM_BYTES not in [path.stat().st_size for path in (town.stores.settings.home / "blobs").rglob("*") if path.is_file()]


def test_a_day_is_decided_once_over_restarts(town: Town, trainings: list[str], tmp_path: Path) -> None:
    """What was decided while a hold was in force stays so after a release and a restart, as if there had been no restart."""
    kept = KeptShadows(tmp_path / "kept")
    hold_models(town.stores, TOWN.id, "pickups")
    town.learner(retraining=WEEKLY, kept=kept).take_turn()
    release_models(town.stores, TOWN.id, "pickups")
    town.learner(retraining=WEEKLY, kept=kept).take_turn()
    assert [] == trainings
    (tmp_path / "kept" / f"{TOWN.id}.decided").write_text("half a li")
    with pytest.raises(StoreUnavailable):
        town.learner(retraining=WEEKLY, kept=kept).take_turn()
    assert 1 == len(trainings)


@pytest.mark.parametrize("fault", [StoreUnavailable("mlflow: timed out"), LedgerError("mlflow: models of another ledger")])
def test_a_training_is_recorded_without_mlflow(
    town: Town, fault: RidecastError, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A tracking server that is away, or another ledger's, is reported; the model is the challenger, and is not trained again."""

    def away(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr("dataflows.jobs.learn.track_training", away)
    town.learner(retraining=WEEKLY).take_turn()
    town.learner(retraining=WEEKLY).take_turn()
    [record] = town.stores.ledger.records(CONTROL_LOG, ModelTrained)
    assert record.model == stories_of(town.stores.ledger)[TOWN.id, "pickups"].challenger
    assert town.stores.blobs.has(record.model)
    assert f"trained and recorded, but not in MLflow: {fault}" in caplog.text


def test_what_is_held_is_not_decided_at_a_start_either(town: Town, trainings: list[str]) -> None:
    """A hold that was recorded while no learner ran is obeyed by the next one."""
    hold_models(town.stores, TOWN.id, "pickups")
    town.learner(retraining=WEEKLY).take_turn()
    assert [] == trainings


def test_a_day_that_has_not_ended_is_not_decided(tmp_path: Path, trainings: list[str]) -> None:
    """Before the windows of the last day have ended there is nothing to decide from."""
    town = Town(tmp_path / "home")
    town.learner(retraining=WEEKLY).take_turn()
    town.close_slots(1, shifted=False)
    town.learner(retraining=WEEKLY).take_turn()
    assert [] == trainings
    town.stores.close()


@pytest.mark.parametrize("fault", ["missing", "truncated", "other bytes", "no artefact"])
def test_a_challenger_that_cannot_be_read_is_reported_once(town: Town, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """Without its artefact there is no trial and no judgement: one warning says so, and the learner goes on."""
    model = challenger(town, b"not an artefact")
    [path] = Path(town.stores.settings.home).rglob(model.hex())
    if fault == "missing":
        path.unlink()
    elif fault != "no artefact":
        path.write_bytes(b"not" if fault == "truncated" else b"not An artefact")
    running = town.learner(retraining=NEVER)
    town.close_slots(DAY, shifted=False, after=running.take_turn)
    assert START + 5 + DAY == town.slot
    assert 1 == caplog.text.count(f"no trial of model {model.hex()[:12]}: ")
    running.save()


def test_a_kept_trial_of_another_kind_begins_again(town: Town, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Arrays with other names or shapes are no trial to go on with: the learner says so, and starts."""

    class Odd(KeptShadows):
        def load(self, name: str) -> Arrays | None:
            return {"model": np.zeros(3)} if name.endswith("trial") else None

    challenger(town, b"not an artefact")
    town.learner(retraining=NEVER, kept=Odd(tmp_path / "kept")).take_turn()
    assert "the kept trial cannot be used, so it starts again: KeyError('against')" in caplog.text


def test_a_trial_that_ended_without_a_learner_is_removed(town: Town, tmp_path: Path) -> None:
    """What an earlier learner kept of a challenger that is none any more does not stay on the disk."""
    kept = KeptShadows(tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / f"{TOWN.id}.pickups.trial.npz").write_bytes(b"of an earlier challenger")
    hold_models(town.stores, TOWN.id, "pickups")
    town.learner(kept=kept).take_turn()
    assert [f"{TOWN.id}.decided"] == [path.name for path in (tmp_path / "kept").iterdir()]


def test_a_trial_that_cannot_be_kept_goes_on(town: Town, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A full disk costs the kept trial, not the learner."""

    class Full(KeptShadows):
        def save(self, name: str, running: Running, size: int, root: bytes) -> None:
            raise OSError(28, "No space left on device")

    running = town.learner(retraining=NEVER, kept=Full(tmp_path / "kept"))
    running._shadows["pickups", "trial"] = Running(b"", b"", None)  # type: ignore[arg-type]  # is not looked at
    running.save()
    assert "the trial is not kept for a restart: [Errno 28] No space left on device" in caplog.text
