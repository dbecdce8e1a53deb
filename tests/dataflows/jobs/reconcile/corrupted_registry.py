"""An MLflow of SQLite and files that trainings have filled, and every way in which a test corrupts it."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from dataflows.connectors.tracking import LEDGER_TAG
from dataflows.stream.stores import Stores
from ledger.views.reconcile.differences import Reason
from tests.dataflows.connectors.test_tracking import NAME, client_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

Named = tuple[str, Reason]


def state_of(home: Path) -> dict[str, Any]:
    """What users see of the model: aliases, and of each active version model, tag, run and artefact."""
    client = client_of(home)
    model = client.get_registered_model(NAME)
    found: dict[str, Any] = {"tag": model.tags.get(LEDGER_TAG), "aliases": dict(model.aliases)}
    for version in client.search_model_versions(f"name = '{NAME}'"):
        run = client.get_run(str(version.run_id))
        source = Path(str(version.source).removeprefix("file://"))
        found[str(version.version)] = (
            source.name,
            version.tags.get(LEDGER_TAG),
            run.info.lifecycle_stage,
            run.data.tags.get(LEDGER_TAG),
            source.read_bytes() if source.exists() else b"",
        )
    return found


def _some(client: "MlflowClient", random: Random) -> Any:
    versions = sorted(client.search_model_versions(f"name = '{NAME}'"), key=lambda one: int(one.version))
    return random.choice(versions)


def _key(version: Any) -> str:
    return f"{NAME} version {version.version}"


def _alias_moved(stores: Stores, random: Random) -> Named:
    client = client_of(stores.settings.home)
    held = client.get_registered_model(NAME).aliases["champion"]
    others = [version.version for version in client.search_model_versions(f"name = '{NAME}'") if str(version.version) != str(held)]
    client.set_registered_model_alias(NAME, "champion", str(random.choice(others)))
    return f"{NAME} alias champion", Reason.CHANGED


def _alias_missing(stores: Stores, random: Random) -> Named:
    client_of(stores.settings.home).delete_registered_model_alias(NAME, "champion")
    return f"{NAME} alias champion", Reason.MISSING


def _alias_added(stores: Stores, random: Random) -> Named:
    client = client_of(stores.settings.home)
    client.set_registered_model_alias(NAME, "challenger", str(_some(client, random).version))
    return f"{NAME} alias challenger", Reason.ADDED


def _model_tag(stores: Stores, random: Random) -> Named:
    client = client_of(stores.settings.home)
    client.set_registered_model_tag(NAME, LEDGER_TAG, f"no identity {random.randrange(1_000)}")
    return f"{NAME} tag", Reason.CHANGED


def _version_tag(stores: Stores, random: Random) -> Named:
    client = client_of(stores.settings.home)
    version = _some(client, random)
    if random.random() < 0.5:
        client.delete_model_version_tag(NAME, str(version.version), LEDGER_TAG)
        return f"{_key(version)} tag", Reason.MISSING
    client.set_model_version_tag(NAME, str(version.version), LEDGER_TAG, f"ridecast/local/region/small 1 {'00' * 32}")
    return f"{_key(version)} tag", Reason.CHANGED


def _run_tag(stores: Stores, random: Random) -> Named:
    client = client_of(stores.settings.home)
    version = _some(client, random)
    client.set_tag(str(version.run_id), LEDGER_TAG, "text")
    return f"{_key(version)} run tag", Reason.CHANGED


def _run_deleted(stores: Stores, random: Random) -> Named:
    client = client_of(stores.settings.home)
    version = _some(client, random)
    client.delete_run(str(version.run_id))
    return f"{_key(version)} run", Reason.MISSING


def _artefact_changed(stores: Stores, random: Random) -> Named:
    version = _some(client_of(stores.settings.home), random)
    path = Path(str(version.source).removeprefix("file://"))
    data = bytearray(path.read_bytes())
    data[random.randrange(len(data))] ^= 1
    path.write_bytes(data if random.random() < 0.5 else data[: len(data) // 2])
    return f"{_key(version)} artefact", Reason.CHANGED


def _artefact_missing(stores: Stores, random: Random) -> Named:
    version = _some(client_of(stores.settings.home), random)
    Path(str(version.source).removeprefix("file://")).unlink()
    return f"{_key(version)} artefact", Reason.MISSING


CORRUPTIONS: tuple[Callable[[Stores, Random], Named], ...] = (
    _alias_moved,
    _alias_missing,
    _alias_added,
    _model_tag,
    _version_tag,
    _run_tag,
    _run_deleted,
    _artefact_changed,
    _artefact_missing,
)
