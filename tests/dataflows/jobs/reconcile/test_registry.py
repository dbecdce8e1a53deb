"""MLflow against the ledger: every corruption is named and repaired, and what others registered is left alone."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from dataflows.connectors.tracking import LEDGER_TAG
from dataflows.jobs.reconcile.registry import RegistryPlace
from dataflows.stream.stores import Stores
from ledger.views.reconcile.differences import Reason, reconciled
from ledger.views.regions import region_of
from tests.dataflows.connectors.test_tracking import NAME, client_of
from tests.dataflows.jobs.reconcile.corrupted_registry import CORRUPTIONS, state_of
from tests.simulation.homes import Learned
from tests.simulation.runs import copied


@pytest.fixture
def stores(learned: Learned, tmp_path: Path) -> Iterator[Stores]:
    """A home with two trainings of one model, promoted."""
    opened = copied(learned.place, tmp_path / "home").open()
    yield opened
    opened.close()


def place_of(stores: Stores) -> RegistryPlace:
    """MLflow, for the home's region."""
    return RegistryPlace(stores, [region_of(stores.ledger, "small")])


def test_every_corruption_of_the_registry_is_named_and_repaired(stores: Stores) -> None:
    """Each kind is one difference with key and reason; a dry run writes nothing, a repair restores what users see."""
    place = place_of(stores)
    assert () == place.compare().differences
    before = state_of(stores.settings.home)
    for seed, corrupt in enumerate(CORRUPTIONS):
        named = corrupt(stores, Random(seed))
        corrupted = state_of(stores.settings.home)
        dry = reconciled(place, lambda: None, repair=False)
        assert [named] == [(one.key, one.reason) for one in dry.found]
        assert corrupted == state_of(stores.settings.home)
        assert () == reconciled(place, lambda: None, repair=True).left
        assert before == state_of(stores.settings.home)


def test_a_registry_that_is_lost_is_filled_again(stores: Stores) -> None:
    """Without MLflow's files each training is missing; a dry run creates nothing, a repair logs what the ledger has."""
    shutil.rmtree(stores.settings.home / "mlflow")
    place = place_of(stores)
    dry = reconciled(place, lambda: None, repair=False)
    assert {Reason.MISSING} == {one.reason for one in dry.found}
    assert not (stores.settings.home / "mlflow").exists()
    assert () == reconciled(place, lambda: None, repair=True).left
    assert {"champion": "1"} == {
        alias: str(number) for alias, number in client_of(stores.settings.home).get_registered_model(NAME).aliases.items()
    }


def test_what_others_registered_is_left_alone(stores: Stores) -> None:
    """A model that names another ledger, other models and other experiments are neither differences nor changed."""
    client = client_of(stores.settings.home)
    client.create_registered_model("their.model", tags={LEDGER_TAG: "theirs"})
    client.create_experiment("theirs")
    client.set_registered_model_tag(NAME, LEDGER_TAG, f"ridecast/local/region/small 2 {'ab' * 32}")
    client.delete_registered_model_alias(NAME, "champion")
    before = state_of(stores.settings.home)
    done = reconciled(place_of(stores), lambda: None, repair=True)
    assert () == done.found
    assert (f"the registered model {NAME} is of another ledger: left alone",) == done.compared.notes
    assert before == state_of(stores.settings.home)
