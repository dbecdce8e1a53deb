"""Covariates in a ledger: recorded once, used by the closes that cite them, and the same in a replay, a refold and a training."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from dataflows.audit.deep import fold_again
from dataflows.audit.replay import replay_region
from dataflows.audit.replay_report import Verdict
from dataflows.connectors.covariate_files import CovariateRows
from dataflows.jobs.covariates import ROWS_PER_RECORD, Imported, expect_no_others, held_covariates, record_covariates
from dataflows.jobs.learn import CONTROL_SIZE, train_region
from dataflows.stream.region_run import open_region_run
from ledger.views.control import ControlView
from schemas.errors import NotFound, UsageError
from schemas.events.covariates import NAMES
from schemas.records.records import CONTROL_LOG, CovariatesKnown, ForecastIssued, ModelTrained
from state.demand.groups import Group
from state.demand.tables import TABLES
from state.models.chain import unpack
from tests.dataflows.jobs.shifting_town import DAY, FIRST_SLOT, LOG, START, TOWN, Town, quick_training

HOUR_S = 3_600
FIRST_S, START_S = FIRST_SLOT * 2 * HOUR_S, START * 2 * HOUR_S


def rows(values: Sequence[tuple[str, int, int, int]]) -> CovariateRows:
    """Rows as a file gives them: (name, valid_s, known_s, value_milli)."""
    ordered = sorted((NAMES.index(name), *rest) for name, *rest in values)
    columns = [np.array(column, np.int64) for column in zip(*ordered, strict=True)]
    return CovariateRows(b"f" * 32, *columns)


def weather(first_s: int, until_s: int, seed: int = 1) -> CovariateRows:
    """Temperature and rain of every hour, known at its end, and a forecast six hours before."""
    rng = np.random.default_rng(seed)
    times = [(name, valid_s) for name in ("precipitation_mm", "temperature_c") for valid_s in range(first_s, until_s, HOUR_S)]
    values = [
        (name, valid_s, valid_s - early_s, int(value) * 100)
        for (name, valid_s), value in zip(times, rng.integers(0, 90, len(times)), strict=True)
        for early_s in (0, 6 * HOUR_S)
    ]
    return rows(values)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A town whose model was trained with the weather of its history, and whose feed went on, stopped, and came back late."""
    town = Town(tmp_path_factory.mktemp("weather") / "home", 6)
    record_covariates(town.stores, TOWN.id, weather(FIRST_S, START_S))
    with quick_training(20):
        train_region(town.stores, TOWN, promote=True, most_rows=4_000)
    town.close_slots(4, shifted=False)
    record_covariates(town.stores, TOWN.id, weather(START_S, START_S + 12 * HOUR_S))  # also for the past, known then
    town.close_slots(14, shifted=False)
    record_covariates(town.stores, TOWN.id, weather(START_S + 40 * HOUR_S, START_S + 60 * HOUR_S, seed=2))
    town.close_slots(3, shifted=False)
    yield town
    town.stores.close()


def test_a_replay_and_a_refold_reproduce_every_byte(trained: Town) -> None:
    """From the citations alone, the weather that each close used is known: replay, verification and resume give its bytes."""
    stores = trained.stores
    found = replay_region(stores.ledger, stores.blobs, stores.environment, TOWN.id, None)
    assert {Verdict.IDENTICAL: 21} == found.verdicts
    assert [] == fold_again(stores.ledger, stores.blobs, stores.environment, TOWN.id, lambda done, total: None)
    size = stores.ledger.head(LOG).size
    run = open_region_run(stores.ledger, stores.blobs, TOWN.id, [0], stores.environment, lambda: 0.0)
    assert size == run.size  # it folded every close again, and raises if a byte differs


def test_a_close_uses_what_it_cites(trained: Town) -> None:
    """Folded without its weather, the same slots have other features: the test above says something."""
    stores = trained.stores
    control = ControlView(stores.ledger).latest()
    assert 3 == len(control.covariates_of(TOWN.id))
    assert () == control.covariates_of("elsewhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("state.forecast.region.RegionFold.know", lambda fold, records: None)
        found = replay_region(stores.ledger, stores.blobs, stores.environment, TOWN.id, None)
    assert Verdict.DIFFERENT in found.verdicts


def test_a_feed_that_stops_holds_up_nothing(trained: Town) -> None:
    """Closes went on through the day without weather, with forecasts of the model."""
    issues = list(trained.stores.ledger.records(LOG, ForecastIssued))
    assert 21 == len(issues)
    assert all(issue.models for issue in issues)


def test_the_training_names_the_control_log_that_it_read(trained: Town) -> None:
    """The record says up to which entry the weather was read, and the linear model uses what was known."""
    [model] = trained.stores.ledger.records(CONTROL_LOG, ModelTrained)
    size = int(model.parameters[CONTROL_SIZE])
    assert trained.stores.ledger.read(CONTROL_LOG, 0, size, CovariatesKnown)
    _, version, links = unpack(trained.stores.blobs.get(model.model))
    used = {TABLES[version].names[column] for column in links[0].glm.columns if TABLES[version].groups[column] is Group.WEATHER}
    kinds = ("now", "day", "ahead_first")
    assert {f"weather_{name}_{kind}" for name in ("precipitation_mm", "temperature_c") for kind in kinds} == used


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """A town without a model."""
    made = Town(tmp_path / "home", 6)
    yield made
    made.stores.close()


def test_importing_again_adds_what_is_new(town: Town) -> None:
    """The same rows twice add nothing; more rows add themselves; a new known_at is a new value."""
    one, more = weather(FIRST_S, FIRST_S + 10 * HOUR_S), weather(FIRST_S, FIRST_S + 10 * HOUR_S)
    assert Imported(40, 0) == record_covariates(town.stores, TOWN.id, one)
    size = town.stores.ledger.head(CONTROL_LOG).size
    assert Imported(0, 40) == record_covariates(town.stores, TOWN.id, one)
    assert size == town.stores.ledger.head(CONTROL_LOG).size
    more = dataclasses.replace(more, known_s=more.known_s + 60, values_milli=more.values_milli + 1)
    assert Imported(40, 0) == record_covariates(town.stores, TOWN.id, more)
    [rain, heat] = held_covariates(town.stores.ledger)
    assert ("precipitation_mm", 40, FIRST_S, FIRST_S + 9 * HOUR_S, FIRST_S + 9 * HOUR_S + 60) == dataclasses.astuple(rain)[1:]
    assert "temperature_c" == heat.name


def test_a_contradiction_is_refused_and_nothing_is_imported(town: Town) -> None:
    """Another value for the same name and times is refused with both values, and the other rows of its file are not taken."""
    record_covariates(town.stores, TOWN.id, rows([("wind_m_s", START_S, START_S, 5_000)]))
    size = town.stores.ledger.head(CONTROL_LOG).size
    with pytest.raises(UsageError, match=r"wind_m_s for 2014-.*expected 5 as recorded, got 6; nothing was imported"):
        record_covariates(town.stores, TOWN.id, rows([("wind_m_s", START_S, START_S, 6_000), ("wind_m_s", START_S + 60, START_S, 1_000)]))
    assert size == town.stores.ledger.head(CONTROL_LOG).size
    with pytest.raises(NotFound, match="elsewhere"):
        record_covariates(town.stores, "elsewhere", rows([("wind_m_s", START_S, START_S, 6_000)]))


def test_covariates_of_another_file_are_noticed(town: Town) -> None:
    """A comparison with a file, or without one, takes a ledger that has nothing else; a file of which a part is held is right."""
    one, more = weather(FIRST_S, FIRST_S + HOUR_S), weather(FIRST_S, FIRST_S + 3 * HOUR_S)
    expect_no_others(town.stores.ledger, TOWN.id, None)
    record_covariates(town.stores, TOWN.id, rows([("wind_m_s", START_S, START_S, 5_000)]))
    both = rows([("wind_m_s", START_S, START_S, 5_000), ("wind_m_s", START_S + 60, START_S, 5_000)])
    expect_no_others(town.stores.ledger, TOWN.id, both)
    for other, count in ((None, 1), (one, 1), (more, 1)):
        with pytest.raises(UsageError, match=f"--home: expected .* of region {TOWN.id}, got {count} other values; use another --home"):
            expect_no_others(town.stores.ledger, TOWN.id, other)
    with pytest.raises(UsageError, match="expected 5 as recorded, got 6"):
        expect_no_others(town.stores.ledger, TOWN.id, rows([("wind_m_s", START_S, START_S, 6_000)]))


def test_a_large_import_is_split_into_entries(town: Town) -> None:
    """Values at their bounds fit into entries of the allowed size, and come back as they were."""
    last_s = 4_102_444_799  # the end of 2099
    large = rows([("precipitation_mm", last_s - i, last_s, 500_000 - i) for i in range(2 * ROWS_PER_RECORD + 1)])
    assert len(large) == record_covariates(town.stores, TOWN.id, large).new
    records = list(town.stores.ledger.records(CONTROL_LOG, CovariatesKnown))
    assert [ROWS_PER_RECORD, ROWS_PER_RECORD, 1] == [len(record.name) for record in records]
    assert large.values_milli.tolist() == [value for record in records for value in record.values_milli]


def test_another_writer_in_between_is_seen(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another process records the same values while this one decides, they are not recorded twice."""
    from dataflows.jobs import covariates

    first = covariates._new_rows

    def beaten(*words: object) -> object:
        monkeypatch.setattr(covariates, "_new_rows", first)
        found = first(*words)  # type: ignore[arg-type]
        record_covariates(town.stores, TOWN.id, weather(FIRST_S, FIRST_S + HOUR_S))
        return found

    monkeypatch.setattr(covariates, "_new_rows", beaten)
    assert Imported(4, 4) == record_covariates(town.stores, TOWN.id, two_hours())
    assert 8 == sum(held.values for held in held_covariates(town.stores.ledger))


def two_hours() -> CovariateRows:
    """The rows of one hour, and those of the next."""
    one, later = weather(FIRST_S, FIRST_S + HOUR_S), weather(FIRST_S + DAY * HOUR_S, FIRST_S + (DAY + 1) * HOUR_S)
    columns = {name: np.concatenate([getattr(one, name), getattr(later, name)]) for name in ("name", "valid_s", "known_s", "values_milli")}
    return CovariateRows(b"f" * 32, **columns)
