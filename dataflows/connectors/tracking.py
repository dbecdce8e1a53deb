"""Tracks training in MLflow: one run with parameters, metrics and artefact, and one version in the model registry."""

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from schemas.addresses import masked, parse_address
from schemas.errors import StoreUnavailable
from schemas.settings import Settings
from state.forecast.training import TrainedModel

EXPERIMENT = "ridecast"


def track_training(settings: Settings, region: str, measure: str, model: TrainedModel, digest: bytes) -> str:
    """Log one training and register its model as a version of `<region>.<measure>`; returns the run's id.

    The ledger is the record; MLflow is for comparing runs. The embedded MLflow is SQLite and a folder in home.
    To find a run, search for its parameter `model`, the artefact's digest: the run's id never enters the ledger,
    so that two ledgers of the same rides are equal.

    Raises:
        StoreUnavailable: the tracking server does not answer.
    """
    with _answering(settings) as (client, artefacts):
        return _log(client, artefacts, region, measure, model, digest)


def track_promotion(settings: Settings, region: str, measure: str) -> None:
    """Set the alias `champion` to the newest version, after the ledger has recorded the promotion.

    Raises:
        StoreUnavailable: the tracking server does not answer.
    """
    with _answering(settings) as (client, _):
        version = client.get_model_version_by_alias(f"{region}.{measure}", "challenger")
        client.set_registered_model_alias(f"{region}.{measure}", "champion", version.version)


@contextmanager
def _answering(settings: Settings) -> Iterator[tuple[Any, Path | None]]:
    """An MLflow client, and the artefact folder if MLflow is embedded; its failures are raised as StoreUnavailable."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # A forecaster sends no usage data to third parties.
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    folder = settings.home.resolve() / "mlflow"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Third-party deprecations at import do not concern users.
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            if settings.mlflow:
                yield MlflowClient(parse_address(settings.mlflow).url()), None
            else:
                folder.mkdir(parents=True, exist_ok=True)
                yield MlflowClient(f"sqlite:///{folder / 'mlflow.db'}"), folder / "artefacts"
        except (MlflowException, SQLAlchemyError, OSError) as cause:
            raise StoreUnavailable(f"mlflow {masked(settings.mlflow) or folder}: {str(cause).splitlines()[0]}") from cause


def _log(client: Any, artefacts: Path | None, region: str, measure: str, model: TrainedModel, digest: bytes) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    where = artefacts.as_uri() if artefacts else None
    experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT, artifact_location=where)
    run = client.create_run(experiment, run_name=f"{region}.{measure}.{digest.hex()[:12]}")
    run_id = str(run.info.run_id)
    for name, value in {**model.parameters, "model": digest.hex(), "rows": model.rows}.items():
        client.log_param(run_id, name, value)
    for name, number in model.metrics.items():
        client.log_metric(run_id, name, number)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / f"{digest.hex()}.model"
        path.write_bytes(model.artefact)
        client.log_artifact(run_id, str(path))
    client.set_terminated(run_id)
    name = f"{region}.{measure}"
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    version = client.create_model_version(name, f"{run.info.artifact_uri}/{digest.hex()}.model", run_id)
    client.set_registered_model_alias(name, "challenger", version.version)
    return run_id
