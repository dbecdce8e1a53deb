"""Tracks training in MLflow: one run with parameters, metrics and artefact, and one version in the model registry.

Runs and registered models carry the identity of the ledger that they were derived from (`ledger.views.identity`): a server
that several homes use never mixes their versions.
"""

import logging
import os
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from ledger.store.log import Ledger
from ledger.views.identity import has_root, identity_from_text, identity_of
from schemas.configuration.addresses import masked, parse_address
from schemas.configuration.settings import Settings
from schemas.errors import LedgerError, StoreUnavailable
from schemas.records.records import CONTROL_LOG, region_log
from state.forecast.routes import GLOBAL_SCOPE
from state.forecast.search import TrialResult
from state.models.fit_parameters import NAMES

EXPERIMENT = "ridecast"
LEDGER_TAG = "ridecast.ledger"
PARENT_TAG = "mlflow.parentRunId"  # by which MLflow's page nests runs
# MLflow's own limits add up to half an hour for a server that does not answer.
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
# Where MLflow's database holds the addresses of artefacts.
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)


class Training(Protocol):
    """What a run shows of a training."""

    @property
    def parameters(self) -> Mapping[str, str]:
        """As recorded."""
        ...

    @property
    def metrics(self) -> Mapping[str, float]:
        """Errors by name."""
        ...

    @property
    def rows(self) -> int:
        """How many were fitted."""
        ...

    @property
    def artefact(self) -> bytes | None:
        """The model; None if it is lost."""
        ...


def track_training(
    settings: Settings,
    region: str,
    measure: str,
    model: Training,
    digest: bytes,
    *,
    ledger: Ledger,
    log_size: int,
    trials: Sequence[TrialResult] = (),
) -> str:
    """Log one training and register its model as a version of `<region>.<measure>`; returns the run's id.

    The ledger is the record; MLflow is for comparing runs. The embedded MLflow is SQLite and a folder in home.
    To find a run, search for its parameter `model`, the artefact's digest: the run's id never enters the ledger,
    so that two ledgers of the same rides are equal.

    Args:
        ledger: Of the region.
        log_size: Size of the region's log from which it was trained.
        trials: Of the search that found its parameters; each is a run nested in that of the training.
    Raises:
        LedgerError: another ledger has registered a model of this name.
        StoreUnavailable: the tracking server does not answer.
    """
    name, log = f"{region}.{measure}", log_of(region)
    tag = identity_of(ledger, log, log_size).text()
    with answering(settings) as (client, artefacts):
        if not is_registered(client, settings, name, ledger, log):
            client.create_registered_model(name)
        run_id, artefact = _log_run(client, artefacts, name, model, digest, tag)
        for trial in trials:
            _log_trial(client, run_id, trial, tag)
        version = client.create_model_version(name, artefact, run_id, tags={LEDGER_TAG: tag})
        client.set_registered_model_tag(name, LEDGER_TAG, tag)
        client.set_registered_model_alias(name, "challenger", version.version)
        return run_id


def track_aliases(settings: Settings, region: str, measure: str, aliases: Mapping[str, bytes], *, ledger: Ledger) -> None:
    """Let each alias name the newest version of a model, as the ledger has it.

    Args:
        aliases: Alias -> digest of the model; an alias whose model is empty, or has no version, is removed.
    Raises:
        LedgerError: another ledger has registered the model of this name.
        StoreUnavailable: the tracking server does not answer.
    """
    name = f"{region}.{measure}"
    with answering(settings) as (client, _):
        if not is_registered(client, settings, name, ledger, log_of(region)):
            return
        newest: dict[str, int] = {}
        for version in client.search_model_versions(f"name = '{name}'"):
            digest = digest_of(version)
            newest[digest] = max(newest.get(digest, 0), int(version.version))
        before = client.get_registered_model(name).aliases
        for alias, model in aliases.items():
            if (number := newest.get(model.hex())) is not None:
                client.set_registered_model_alias(name, alias, str(number))
            elif alias in before:
                client.delete_registered_model_alias(name, alias)


def log_of(region: str) -> str:
    """The log that identifies a model's ledger; models of several regions belong to the control log."""
    return CONTROL_LOG if region == GLOBAL_SCOPE else region_log(region)


@contextmanager
def answering(settings: Settings) -> Iterator[tuple[Any, Path | None]]:
    """An MLflow client, and the artefact folder if MLflow is embedded; its failures are raised as StoreUnavailable."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # A forecaster sends no usage data to third parties.
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for variable, value in PATIENCE.items():
        os.environ.setdefault(variable, value)
    folder = settings.home.resolve() / "mlflow"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Third-party deprecations at import do not concern users.
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        try:
            if settings.mlflow:
                yield MlflowClient(parse_address(settings.mlflow).url()), None
            else:
                folder.mkdir(parents=True, exist_ok=True)
                move_artefacts(folder)
                yield MlflowClient(database_uri(folder)), folder / "artefacts"
        except (MlflowException, sa.exc.SQLAlchemyError, sqlite3.Error, OSError) as cause:
            raise StoreUnavailable(f"mlflow {masked(settings.mlflow) or folder}: {str(cause).splitlines()[0]}") from cause


def database_uri(folder: Path) -> str:
    """Address of the embedded MLflow's database, for MLflow's own commands too."""
    # MLflow takes the text after sqlite:/// for a path and makes its folder, quoted as it is; not so after the driver's name.
    return sa.URL.create("sqlite+pysqlite", database=str(folder / "mlflow.db")).render_as_string()


def move_artefacts(folder: Path) -> None:
    """Let the embedded MLflow's database name the folder where its artefacts are now.

    MLflow stores absolute addresses: after a home was moved, it would read and write where the home was before.
    """
    path, now = folder / "mlflow.db", (folder / "artefacts").as_uri()
    if not path.exists():
        return
    with closing(sqlite3.connect(path, timeout=10.0)) as connection, connection:
        columns = {table: {row[1] for row in connection.execute(f"PRAGMA table_info({table})")} for table, _ in ADDRESSES}
        if "artifact_location" not in columns["experiments"]:
            return  # of a version of MLflow that we do not know, or not MLflow's: its client says so
        found = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", (EXPERIMENT,)).fetchone()
        if found is None or found[0] == now:
            return
        before = found[0]
        for table, column in ADDRESSES:
            if column in columns[table]:
                moved = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"
                connection.execute(moved, (now, len(before) + 1, len(before), before))


def is_registered(client: Any, settings: Settings, name: str, ledger: Ledger, log: str) -> bool:
    """Whether a model of that name is registered, by this ledger or by an earlier release, which left no tag."""
    for found in client.search_registered_models(f"name = '{name}'"):
        identity = identity_from_text(found.tags.get(LEDGER_TAG, ""))
        if identity is not None and not has_root(ledger, log, identity.size, identity.root):
            raise LedgerError(
                f"mlflow {settings.mlflow or settings.home / 'mlflow'}: the registered model {name} is of another ledger: expected "
                f"one that was trained from {log} of this one, got {identity.text()}",
                remedy="set RIDECAST_MLFLOW to another server, or rename that model",
            )
        return True
    return False


def _log_run(client: Any, artefacts: Path | None, name: str, model: Training, digest: bytes, tag: str) -> tuple[str, str]:
    """Log a run; returns its id and the address of its artefact."""
    found = client.get_experiment_by_name(EXPERIMENT)
    where = artefacts.as_uri() if artefacts else None
    experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT, artifact_location=where)
    run = client.create_run(experiment, run_name=f"{name}.{digest.hex()[:12]}", tags={LEDGER_TAG: tag})
    run_id = str(run.info.run_id)
    for parameter, value in {**model.parameters, "model": digest.hex(), "rows": model.rows}.items():
        client.log_param(run_id, parameter, value)
    for metric, number in model.metrics.items():
        client.log_metric(run_id, metric, number)
    if model.artefact is not None:
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / f"{digest.hex()}.model"
            path.write_bytes(model.artefact)
            client.log_artifact(run_id, str(path))
    client.set_terminated(run_id)
    return run_id, f"{run.info.artifact_uri}/{digest.hex()}.model"


def _log_trial(client: Any, parent: str, trial: TrialResult, tag: str) -> None:
    """Log a trial as a run under that of its training; one that was pruned counts as killed."""
    from mlflow.entities import Metric, Param

    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    run = client.create_run(experiment, run_name=f"trial {trial.number}", tags={LEDGER_TAG: tag, PARENT_TAG: parent})
    began_ms = int(run.info.start_time)
    errors = [Metric("error_of_fold", loss, began_ms, step) for step, loss in enumerate(trial.losses)]
    parameters = [Param(name, str(getattr(trial.fit, name))) for name in NAMES]
    client.log_batch(run.info.run_id, [*errors, Metric("error", trial.loss, began_ms, 0)], parameters)
    client.set_terminated(run.info.run_id, "KILLED" if trial.pruned else "FINISHED")


def tracked_models(settings: Settings, region: str, measure: str, *, ledger: Ledger) -> set[str]:
    """Digests, as text, of the models that have a version in MLflow.

    Raises:
        LedgerError, StoreUnavailable: as `track_aliases`.
    """
    name = f"{region}.{measure}"
    with answering(settings) as (client, _):
        if not is_registered(client, settings, name, ledger, log_of(region)):
            return set()
        return {digest_of(version) for version in client.search_model_versions(f"name = '{name}'")}


def digest_of(version: Any) -> str:
    """Digest of the model of a version, which is the name of its file."""
    return str(version.source).rpartition("/")[2].removesuffix(".model")
