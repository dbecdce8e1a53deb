"""MLflow: the run, the version and the aliases that people find there, and an answer when it is not there."""

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
    """MLflow as a person would open it on a home."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

        return MlflowClient(f"sqlite:///{home.resolve() / 'mlflow' / 'mlflow.db'}")


@pytest.fixture
def home(learned: Learned, tmp_path: Path) -> Path:
    """A home with MLflow as two trainings left it."""
    shutil.copytree(learned.place.home / "mlflow", tmp_path / "home" / "mlflow")
    return tmp_path / "home"


def test_each_training_is_a_run(learned: Learned, home: Path) -> None:
    """A run carries parameters, metrics and the artefact's bytes, ended well, and is found by the model's digest."""
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
    """Each training is a version of the region's model; the newest is challenger, and champion since its promotion."""
    client = client_of(home)
    versions = {int(version.version): version for version in client.search_model_versions(f"name = '{NAME}'")}
    assert {1, 2} == set(versions)
    assert versions[1].run_id != versions[2].run_id
    aliases = {alias: int(client.get_model_version_by_alias(NAME, alias).version) for alias in ("challenger", "champion")}
    assert {"challenger": 2, "champion": 2} == aliases


def test_a_training_without_promotion_leaves_the_champion(learned: Learned, home: Path) -> None:
    """The alias of what serves moves with a promotion only."""
    settings = Settings.from_env({"RIDECAST_HOME": str(home)})
    run_id = track_training(settings, "small", "requests", learned.second.model, learned.second.record.model)
    client = client_of(home)
    assert "FINISHED" == client.get_run(run_id).info.status
    aliases = {alias: int(client.get_model_version_by_alias(NAME, alias).version) for alias in ("challenger", "champion")}
    assert {"challenger": 3, "champion": 2} == aliases
    track_promotion(settings, "small", "requests")
    assert 3 == int(client.get_model_version_by_alias(NAME, "champion").version)


def test_a_tracking_server_that_is_not_there_is_said(learned: Learned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer is a store that is unavailable, named in one line, whichever call meets it."""
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


def test_a_database_that_is_none_is_said(tmp_path: Path) -> None:
    """A file that is not MLflow's is not a traceback either."""
    folder = tmp_path / "home" / "mlflow"
    folder.mkdir(parents=True)
    (folder / "mlflow.db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StoreUnavailable, match=r"mlflow .*mlflow"):
        track_promotion(Settings.from_env({"RIDECAST_HOME": str(tmp_path / "home")}), "small", "requests")
