"""A model of several regions: what it is trained on, what is recorded, where it serves, and what is refused."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from dataflows.jobs.bootstrap import bootstrap_region
from dataflows.jobs.learn_global import train_global
from dataflows.jobs.promoting import all_stories, measures_of, promote_model, roll_back
from dataflows.jobs.retrack import retrack
from dataflows.stream.routing import SLOT_MIN
from ledger.store.recording import Recorder
from ridecast.main import cli
from schemas.errors import ContractError, StoreUnavailable, UsageError
from schemas.records.record_codec import encode
from schemas.records.records import CONTROL_LOG, Fallback, ModelTrained, region_log
from schemas.regions import Region, RegionId
from state.demand.tables import newest_table
from state.forecast.pooling import pooled
from state.forecast.region import FOLD_VERSION
from state.forecast.routes import GLOBAL_SCOPE
from state.forecast.training import SampledHistory, sample_history
from tests.dataflows.stream.routed_town import TOWN, RoutedTown, boot_of
from tests.state.forecast.test_region import counted
from tests.state.model_city import FIRST_SLOT, HOURLY, town_slots

ELDER = dataclasses.replace(HOURLY, id=RegionId("elder"))


def add_region(town: RoutedTown, region: Region, days: int = 30) -> None:
    """Record the history of another region in the town's home."""
    past = [counted(known) for known in town_slots(24 * days, seed=5)]
    Recorder(town.stores.ledger, region_log(region.id)).append(0, [encode(boot_of(town.stores, region, past))])


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RoutedTown]:
    """A town without a model, and an elder one beside it; trainings are quick, and MLflow has tests of its own."""
    monkeypatch.setattr("dataflows.jobs.learn.track_training", lambda *_, **__: "")
    monkeypatch.setattr("dataflows.jobs.promoting.track_aliases", lambda *_, **__: None)
    monkeypatch.setattr("dataflows.jobs.learn_global.os.cpu_count", lambda: 1)
    monkeypatch.setattr("state.models.chain_fitting.MOST_ROUNDS", 15)
    found = RoutedTown(tmp_path / "home")
    add_region(found, ELDER)
    yield found
    found.stores.close()


def test_a_global_model_serves_a_region_without_one(town: RoutedTown) -> None:
    """It is recorded with its regions, promoted like any other, and named by the next issue; a challenger serves nothing."""
    [challenger] = train_global(town.stores, promote=False, most_rows=10_000)
    assert () == town.close()[0].models
    promoted = promote_model(town.stores, challenger.record.model.hex())
    assert (GLOBAL_SCOPE, "pickups") == (promoted.region, promoted.measure)
    [issued] = town.close()
    assert ((challenger.record.model,), ("global",), {"champion": "no-model"}) == (issued.models, issued.roles, issued.reasons)
    assert Fallback.GLOBAL in town.served_by(issued)
    [stored] = town.stores.ledger.records(CONTROL_LOG, ModelTrained)
    assert challenger.record == stored
    assert ("elder,town", "60") == (stored.parameters["regions"], stored.parameters[SLOT_MIN])
    sizes = map(int, stored.parameters["log_sizes"].split(","))
    heads = [town.stores.ledger.root_at(region_log(name), size) for name, size in zip(("elder", "town"), sizes, strict=True)]
    assert tuple(heads) == stored.trained_on
    assert GLOBAL_SCOPE in {scope for scope, _ in all_stories(town.stores)}
    assert (GLOBAL_SCOPE, ["pickups"]) == measures_of(town.stores, GLOBAL_SCOPE, None)
    with pytest.raises(UsageError, match="found none to go back to"):
        roll_back(town.stores, GLOBAL_SCOPE, "pickups")


def test_a_global_training_is_recorded_without_mlflow(
    town: RoutedTown, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Minutes of training are not lost with a tracking server: the record stands, and a warning says what is missing."""

    def away(*_: object, **__: object) -> str:
        raise StoreUnavailable("MLflow: connection refused")

    monkeypatch.setattr("dataflows.jobs.learn.track_training", away)
    [trained] = train_global(town.stores, promote=False, most_rows=10_000)
    assert [trained.record] == list(town.stores.ledger.records(CONTROL_LOG, ModelTrained))
    assert "region global, pickups: trained and recorded, but not in MLflow: MLflow: connection refused" in caplog.text
    said: list[object] = []
    monkeypatch.setattr("dataflows.jobs.retrack.track_training", lambda *place, **more: said.append((place[1:3], more["log_size"])))
    monkeypatch.setattr("dataflows.jobs.retrack.tracked_models", lambda *_, **__: set())
    monkeypatch.setattr("dataflows.jobs.retrack.track_aliases", lambda *_, **__: None)
    [stored] = town.stores.ledger.scan(CONTROL_LOG, kind=ModelTrained)
    assert 1 == retrack(town.stores)
    assert [((GLOBAL_SCOPE, "pickups"), stored.index)] == said


def sample(days: int, seed: int, most_rows: int) -> SampledHistory:
    """The rows of a town."""
    slots = town_slots(24 * days, seed=seed)
    return sample_history(HOURLY, slots, FIRST_SLOT, FIRST_SLOT + len(slots), table=newest_table(FOLD_VERSION), most_rows=most_rows)


def test_every_region_has_the_same_weight() -> None:
    """Rows of both regions, each counted back from its own end; their weights sum to the same, however many they are."""
    small, large = sample(12, 1, 2_500), sample(30, 2, 9_000)
    both = pooled([small, large])
    n, m = len(small.rows.slots), len(large.rows.slots)
    assert (n + m, n + m) == (len(both.rows.slots), len(both.rows.features))
    assert n < m
    assert both.weights is not None
    assert both.weights[:n].sum() == pytest.approx(both.weights[n:].sum())
    assert both.weights.mean() == pytest.approx(1.0)
    np.testing.assert_array_equal(small.rows.slots - small.until_slot, both.rows.slots[:n] - both.until_slot)
    np.testing.assert_array_equal(large.rows.slots, both.rows.slots[n:])
    np.testing.assert_array_equal(np.concatenate([small.quiet.parts, large.quiet.parts]), both.quiet.parts)
    other = dataclasses.replace(small, region=dataclasses.replace(HOURLY, horizons_min=(60,)))
    with pytest.raises(ContractError, match="the same slots, horizons and features"):
        pooled([small, other])


def test_regions_that_are_not_alike_are_refused(town: RoutedTown) -> None:
    """One region is not several, and slots of another length cannot be pooled; the messages say what to do."""
    with pytest.raises(UsageError, match=r"expected at least two regions of this home, got elder; add one"):
        train_global(town.stores, ["elder"], promote=False)
    add_region(town, dataclasses.replace(HOURLY, id=RegionId("coarse"), horizons_min=(120, 240)))
    with pytest.raises(
        UsageError, match=r"same slots and horizons, got 60 min and \(120, 240\) in coarse, 60 min and \(60, 120, 180\) in elder"
    ):
        train_global(town.stores, promote=False)
    assert 0 == town.stores.ledger.head(CONTROL_LOG).size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "global"}, "'global' stands for models of all regions"),
        ({"id": "young", "parent": "young"}, r"another region of this home \(elder, town\), got 'young'"),
        ({"id": "young", "parent": "nowhere"}, r"got 'nowhere'; bootstrap the parent first"),
        ({"id": "young", "parent": "elder", "slot_min": 30}, r"expected a region with slots of 30 min .* got elder with 60 min"),
    ],
)
def test_a_parent_must_be_there_and_alike(town: RoutedTown, changes: dict[str, object], message: str) -> None:
    """A region's parent is another region of the home with the same slots, so there are no circles; `global` is no region."""
    region = dataclasses.replace(HOURLY, **changes)  # type: ignore[arg-type]  # fields by name
    with pytest.raises(UsageError, match=message):
        bootstrap_region(town.stores, region, None, "2014-05-01")


def test_commands_show_scopes_and_parents(town: RoutedTown) -> None:
    """`models` lists the global scope and parents; `region list` and `status` say what stands in, and why."""
    [trained] = train_global(town.stores, promote=True, most_rows=10_000)
    town.close()
    home = str(town.stores.settings.home)

    def said(*words: str) -> str:
        done = CliRunner().invoke(cli, [*words, "--home", home], env={"COLUMNS": "300"})
        assert 0 == done.exit_code, done.output
        return done.output

    digits = trained.record.model.hex()[:12]
    models = said("models")
    assert f"global pickups: champion {digits}; stands in for every region" in models
    assert "town pickups: no champion, served by the baseline; parent elder" in models
    assert digits in said("models", "--region", "global")
    assert f"the global model {digits} serves pickups: the region's own model does not exist yet" in said("status")
    [row] = [line for line in said("region", "list").splitlines() if " town " in line]
    assert "elder" in row
    assert TOWN.parent == "elder"
