"""MLflow: the run, the version and the aliases of a training, and errors when MLflow does not answer."""

import shutil
import socket
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dataflows.connectors.tracking import EXPERIMENT, track_promotion, track_training
from schemas.errors import StoreUnavailable
from schemas.settings import Settings
from tests.simulation.homes import MOST_ROWS, Learned

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "small.requests"


def client_of(home: Path) -> "MlflowClient":
    """An MLflow client on a home, as a user opens it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

        return MlflowClient(f"sqlite:///{home.resolve() / 'mlflow' / 'mlflow.db'}")


@pytest.fixture
def home(learned: Learned, tmp_path: Path) -> Path:
    """A home with MLflow after two trainings."""
    shutil.copytree(learned.place.home / "mlflow", tmp_path / "home" / "mlflow")
    return tmp_path / "home"


def test_each_training_is_a_run(learned: Learned, home: Path) -> None:
    """A run has parameters, metrics and the artefact's bytes, is finished, and is found by the model's digest."""
    client = client_of(home)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    digest = learned.second.record.model.hex()
    runs = client.search_runs([experiment.experiment_id], f"params.model = '{digest}'")
    assert 2 == len(runs)
    for run in runs:
        assert "FINISHED" == run.info.status
        assert learned.second.model.parameters | {"model": digest, "rows": str(learned.second.model.rows)} == run.data.params
        assert learned.second.model.metrics == run.data.metrics
        assert f"{NAME}.{digest[:12]}" == run.info.run_name
        folder = Path(str(run.info.artifact_uri).removeprefix("file://"))
        assert learned.second.model.artefact == (folder / f"{digest}.model").read_bytes()
    assert str(MOST_ROWS) == runs[0].data.params["most_rows"]


def test_versions_and_aliases_are_registered(home: Path) -> None:
    """Each training is a version of the region's model; the newest is challenger, and champion after its promotion."""
    client = client_of(home)
    versions = {int(version.version): version for version in client.search_model_versions(f"name = '{NAME}'")}
    assert {1, 2} == set(versions)
    assert versions[1].run_id != versions[2].run_id
    aliases = {alias: int(client.get_model_version_by_alias(NAME, alias).version) for alias in ("challenger", "champion")}
    assert {"challenger": 2, "champion": 2} == aliases


def test_a_training_without_promotion_leaves_the_champion(learned: Learned, home: Path) -> None:
    """Only a promotion moves the champion alias."""
    settings = Settings.from_env({"RIDECAST_HOME": str(home)})
    run_id = track_training(settings, "small", "requests", learned.second.model, learned.second.record.model)
    client = client_of(home)
    assert "FINISHED" == client.get_run(run_id).info.status
    aliases = {alias: int(client.get_model_version_by_alias(NAME, alias).version) for alias in ("challenger", "champion")}
    assert {"challenger": 3, "champion": 2} == aliases
    track_promotion(settings, "small", "requests")
    assert 3 == int(client.get_model_version_by_alias(NAME, "champion").version)


def test_a_missing_tracking_server_is_reported(learned: Learned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer raises StoreUnavailable with one line that names it, from every call."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    settings = replace(Settings.from_env({"RIDECAST_HOME": str(tmp_path / "home")}), mlflow=address)
    for call in (
        lambda: track_training(settings, "small", "requests", learned.second.model, learned.second.record.model),
        lambda: track_promotion(settings, "small", "requests"),
    ):
        with pytest.raises(StoreUnavailable, match=rf"mlflow {address}: ") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_an_invalid_database_is_reported(tmp_path: Path) -> None:
    """A file that is not MLflow's raises StoreUnavailable too."""
    folder = tmp_path / "home" / "mlflow"
    folder.mkdir(parents=True)
    (folder / "mlflow.db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StoreUnavailable, match=r"mlflow .*mlflow"):
        track_promotion(Settings.from_env({"RIDECAST_HOME": str(tmp_path / "home")}), "small", "requests")
