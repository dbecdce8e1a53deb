"""MLflow: the run, the version and the aliases of a training, and errors when MLflow does not answer."""

import shutil
import socket
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dataflows.connectors.tracking import EXPERIMENT, LEDGER_TAG, database_uri, track_aliases, track_training
from dataflows.stream.stores import open_stores
from ledger.store.log import Ledger
from schemas.configuration.settings import Settings
from schemas.errors import LedgerError, StoreUnavailable
from tests.simulation.homes import MOST_ROWS, Learned
from tests.tree import ROOT

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "small.requests"


def client_of(home: Path) -> "MlflowClient":
    """An MLflow client on a home, as a user opens it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

        return MlflowClient(database_uri(home.resolve() / "mlflow"))


@pytest.fixture
def home(learned: Learned, tmp_path: Path) -> Path:
    """A home with MLflow after two trainings."""
    shutil.copytree(learned.place.home / "mlflow", tmp_path / "home" / "mlflow")
    return tmp_path / "home"


@pytest.fixture
def ledger(learned: Learned) -> Iterator[Ledger]:
    """The ledger that the models were trained from."""
    stores = learned.place.open()
    yield stores.ledger
    stores.close()


def train_again(settings: Settings, learned: Learned, ledger: Ledger) -> str:
    """Track the second training once more."""
    record = learned.second.record
    return track_training(settings, "small", "requests", learned.second.model, record.model, ledger=ledger, log_size=learned.before)


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


def aliases_of(client: "MlflowClient") -> dict[str, int]:
    """Which version each alias names."""
    return {alias: int(version) for alias, version in client.get_registered_model(NAME).aliases.items()}


def test_versions_and_aliases_are_registered(home: Path) -> None:
    """Each training is a version of the region's model; the newest is the challenger, until it is promoted and there is none."""
    client = client_of(home)
    versions = {int(version.version): version for version in client.search_model_versions(f"name = '{NAME}'")}
    assert {1, 2} == set(versions)
    assert versions[1].run_id != versions[2].run_id
    assert {"champion": 2} == aliases_of(client)


def test_a_training_without_promotion_leaves_the_champion(learned: Learned, home: Path, ledger: Ledger) -> None:
    """Only a promotion moves the champion alias."""
    settings = Settings.from_env({"RIDECAST_HOME": str(home)})
    run_id = train_again(settings, learned, ledger)
    client = client_of(home)
    assert "FINISHED" == client.get_run(run_id).info.status
    assert {"challenger": 3, "champion": 2} == aliases_of(client)


def test_aliases_follow_the_ledger(learned: Learned, home: Path, ledger: Ledger) -> None:
    """An alias names the newest version of its model; one without a model, or whose model has no version, is removed."""
    settings, client = Settings.from_env({"RIDECAST_HOME": str(home)}), client_of(home)
    train_again(settings, learned, ledger)
    model = learned.second.record.model
    track_aliases(settings, "small", "requests", {"champion": model, "challenger": b""}, ledger=ledger)
    assert {"champion": 3} == aliases_of(client)
    track_aliases(settings, "small", "requests", {"champion": bytes(32), "challenger": model}, ledger=ledger)
    assert {"challenger": 3} == aliases_of(client)
    track_aliases(settings, "small", "pickups", {"champion": model}, ledger=ledger)  # nothing of that name is registered
    assert {"challenger": 3} == aliases_of(client)


def test_a_missing_tracking_server_is_reported(learned: Learned, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer raises StoreUnavailable with one line that names it, from every call."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    settings = replace(Settings.from_env({"RIDECAST_HOME": str(tmp_path / "home")}), mlflow=address)
    for call in (
        lambda: train_again(settings, learned, ledger),
        lambda: track_aliases(settings, "small", "requests", {"champion": b""}, ledger=ledger),
    ):
        with pytest.raises(StoreUnavailable, match=rf"mlflow {address}: ") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_moved_home_writes_where_it_is(learned: Learned, ledger: Ledger, tmp_path: Path) -> None:
    """After a home was moved, all artefacts are found and written in it, and the place where it was stays empty."""
    old, new = tmp_path / "old home", tmp_path / "moved?1 #%20"
    first = train_again(Settings.from_env({"RIDECAST_HOME": str(old)}), learned, ledger)
    old.rename(new)
    second = train_again(Settings.from_env({"RIDECAST_HOME": str(new)}), learned, ledger)
    assert [new.name] == [path.name for path in tmp_path.iterdir()]
    client = client_of(new)
    for run_id in (first, second):
        uri = str(client.get_run(run_id).info.artifact_uri)
        assert uri.startswith((new / "mlflow" / "artefacts").as_uri())
        [artefact] = client.list_artifacts(run_id)
        assert learned.second.model.artefact == Path(client.download_artifacts(run_id, artefact.path, str(tmp_path))).read_bytes()
    versions = client.search_model_versions(f"name = '{NAME}'")
    assert 2 == len(versions)
    assert all(str(version.source).startswith((new / "mlflow" / "artefacts").as_uri()) for version in versions)


def test_a_model_of_another_ledger_is_refused(learned: Learned, ledger: Ledger, home: Path, tmp_path: Path) -> None:
    """A model that another ledger registered gets no version and no alias from this one; one without identity does."""
    settings = Settings.from_env({"RIDECAST_HOME": str(home)})
    client = client_of(home)
    client.delete_registered_model_tag(NAME, LEDGER_TAG)
    train_again(settings, learned, ledger)
    assert client.get_registered_model(NAME).tags[LEDGER_TAG].startswith(f"ridecast/local/region/small {learned.before} ")
    other = open_stores(Settings.from_env({"RIDECAST_HOME": str(tmp_path / "other")}))
    other.ledger.append("region/small", 0, [b"another ledger's entry"])
    expected = rf"the registered model {NAME} is of another ledger: .*; set RIDECAST_MLFLOW to another server, or rename that model"
    with pytest.raises(LedgerError, match=expected):
        track_aliases(settings, "small", "requests", {"champion": b""}, ledger=other.ledger)
    record = learned.second.record
    with pytest.raises(LedgerError, match=expected):
        track_training(settings, "small", "requests", learned.second.model, record.model, ledger=other.ledger, log_size=1)
    other.close()
    assert 3 == len(client.search_model_versions(f"name = '{NAME}'"))


def test_an_invalid_database_is_reported(ledger: Ledger, tmp_path: Path) -> None:
    """A file that is not MLflow's raises StoreUnavailable too."""
    folder = tmp_path / "home" / "mlflow"
    folder.mkdir(parents=True)
    (folder / "mlflow.db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StoreUnavailable, match=r"mlflow .*mlflow"):
        track_aliases(Settings.from_env({"RIDECAST_HOME": str(tmp_path / "home")}), "small", "requests", {}, ledger=ledger)


def test_the_documented_version_is_the_installed_one() -> None:
    """MLflow's page must have the version that wrote its database, so the documentation names it."""
    assert f"pip install mlflow=={metadata.version('mlflow-skinny')}\n" in (ROOT / "docs" / "systems.md").read_text("utf-8")
