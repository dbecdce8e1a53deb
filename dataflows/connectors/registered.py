"""What MLflow has of the models of one ledger, as values, and the single writes that a repair needs."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataflows.connectors.tracking import LEDGER_TAG, answering, digest_of, log_of
from ledger.store.log import Ledger
from ledger.views.identity import has_root, identity_from_text
from schemas.configuration.settings import Settings

GONE = frozenset(("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"))


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version of a model.

    Attributes:
        number: Of the version.
        model: Digest of the model that its source names, as text.
        tag: Identity of the ledger, empty if missing.
        run: Id of its run; empty if the run does not exist.
        run_tag: As `tag`, of the run.
        deleted: Whether the run is among the deleted ones.
        artefact: SHA-256 of the artefact, as text; empty if it is missing.
    """

    number: int
    model: str
    tag: str
    run: str = ""
    run_tag: str = ""
    deleted: bool = False
    artefact: str = ""


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A registered model: its tag, aliases and versions."""

    tag: str
    aliases: dict[str, int] = field(default_factory=dict)
    versions: tuple[RegisteredVersion, ...] = ()


class Registry:
    """An open MLflow; its failures are raised as StoreUnavailable."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def model(self, name: str) -> RegisteredModel | None:
        """A registered model with all of its versions; None if there is none of this name. Artefacts are not read."""
        if not self._client.search_registered_models(f"name = '{name}'"):
            return None
        found = self._client.get_registered_model(name)
        versions = [self._version(version) for version in self._client.search_model_versions(f"name = '{name}'")]
        aliases = {alias: int(number) for alias, number in found.aliases.items()}
        return RegisteredModel(found.tags.get(LEDGER_TAG, ""), aliases, tuple(sorted(versions, key=lambda one: one.number)))

    def artefact_digest(self, version: RegisteredVersion) -> str:
        """SHA-256 of a version's artefact, as text; empty if it is missing."""
        from mlflow.exceptions import MlflowException

        with tempfile.TemporaryDirectory() as temporary:
            try:
                path = Path(self._client.download_artifacts(version.run, f"{version.model}.model", temporary))
                return hashlib.sha256(path.read_bytes()).hexdigest()
            except (MlflowException, FileNotFoundError) as cause:
                if isinstance(cause, MlflowException) and cause.error_code not in GONE and "No such" not in str(cause):
                    raise
                return ""

    def tag_model(self, name: str, tag: str) -> None:
        """Name the ledger of a registered model."""
        self._client.set_registered_model_tag(name, LEDGER_TAG, tag)

    def tag_version(self, name: str, version: RegisteredVersion, tag: str) -> None:
        """Name the ledger of a version."""
        self._client.set_model_version_tag(name, str(version.number), LEDGER_TAG, tag)

    def tag_run(self, version: RegisteredVersion, tag: str) -> None:
        """Name the ledger of a version's run."""
        self._client.set_tag(version.run, LEDGER_TAG, tag)

    def restore_run(self, version: RegisteredVersion) -> None:
        """Bring a deleted run back."""
        self._client.restore_run(version.run)

    def remove_version(self, name: str, version: RegisteredVersion) -> None:
        """Remove a version whose run is lost."""
        self._client.delete_model_version(name, str(version.number))

    def put_artefact(self, version: RegisteredVersion, data: bytes) -> None:
        """Write a version's artefact again."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / f"{version.model}.model"
            path.write_bytes(data)
            # By its address: the client remembers where it wrote artefacts of a run before, also if the home was moved since.
            address = self._client.get_run(version.run).info.artifact_uri
            repository: Any = get_artifact_repository(address, tracking_uri=self._client.tracking_uri)
            repository.log_artifact(str(path))

    def set_alias(self, name: str, alias: str, number: int) -> None:
        """Let an alias name a version; 0 removes it."""
        if number:
            self._client.set_registered_model_alias(name, alias, str(number))
        else:
            self._client.delete_registered_model_alias(name, alias)

    def _version(self, version: Any) -> RegisteredVersion:
        from mlflow.exceptions import MlflowException

        number, model, tag = int(version.version), digest_of(version), version.tags.get(LEDGER_TAG, "")
        try:
            run = self._client.get_run(version.run_id)
        except MlflowException as cause:
            if cause.error_code not in GONE:
                raise
            return RegisteredVersion(number, model, tag)
        deleted = run.info.lifecycle_stage != "active"
        return RegisteredVersion(number, model, tag, str(run.info.run_id), run.data.tags.get(LEDGER_TAG, ""), deleted)


@contextmanager
def open_registry(settings: Settings) -> Iterator[Registry | None]:
    """MLflow as the settings name it; None if it is embedded and was never used, since a look creates nothing."""
    if not settings.mlflow and not (settings.home / "mlflow" / "mlflow.db").exists():
        yield None
        return
    with answering(settings) as (client, _):
        yield Registry(client)


def is_ours(ledger: Ledger, region: str, tag: str) -> bool | None:
    """Whether a tag names this ledger; None if it names none."""
    identity = identity_from_text(tag)
    return None if identity is None else has_root(ledger, log_of(region), identity.size, identity.root)
