"""Fairness of a whole run, read from the ledger: the same numbers as pandas finds in the exported tables."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from dataflows.jobs.exports.tables import export_parquet
from dataflows.jobs.fairness import Period, measure_fairness, period_of
from dataflows.stream.stores import Stores, open_stores
from ledger.views.regions import region_of
from schemas.configuration.areas import Areas
from schemas.configuration.settings import Settings
from schemas.errors import NotFound
from schemas.records.records import RegionBootstrapped, SlotClosed, region_log
from state.detect.fairness import BIAS, FALLBACK, WAPE
from state.simulation.quarters import quarters_of
from tests.api.town import build_town
from tests.ridecast.conftest import Small

LONGEST, SETTLE = 12, 12


@pytest.fixture
def stores(small: Small) -> Iterator[Stores]:
    """The stores of the small home, for reading."""
    opened = open_stores(Settings.from_env({}, {"home": str(small.home)}), reading=True)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def tables(small: Small, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """The exported tables of the small home."""
    folder = tmp_path_factory.mktemp("tables")
    opened = open_stores(Settings.from_env({}, {"home": str(small.home)}), reading=True)
    export_parquet(opened.ledger, opened.blobs, ["tehran"], folder)
    opened.close()
    return {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("counts", "forecasts")}


def test_a_run_has_the_measures_that_pandas_finds(stores: Stores, tables: dict[str, pd.DataFrame]) -> None:
    """Rides, bias, WAPE and share of fallback of each class are those of the exported forecasts joined with the exported counts."""
    region = region_of(stores.ledger, "tehran")
    areas = quarters_of(region, 7)
    period = period_of(stores, region, None, None)
    measured = measure_fairness(stores, region, "requests", areas, period)
    starts = pd.to_datetime([(slot + 1) * region.slot_us for slot in range(period.first, period.until, period.step)], unit="us", utc=True)
    assert len(starts) == len(measured.issues)
    for horizon_min in (15, 60):
        expected = by_class(tables, areas, starts, horizon_min)
        found = [row for row in measured.found.rows if row.horizon_min == horizon_min and row.attribute]
        assert {(row.attribute, row.name) for row in found} == set(expected)
        for row in found:
            want = expected[(row.attribute, row.name)]
            assert (want["pairs"], want["truth"]) == (row.pairs, row.rides)
            got = [row.estimates[name].value for name in (BIAS, WAPE, FALLBACK)]
            wanted = [want["mean"] / want["truth"] - 1, want["error"] / want["truth"], want["fallback"] / want["pairs"]]
            assert wanted == pytest.approx(got)
    every = [row.rides for row in measured.found.rows if (row.attribute, row.horizon_min) == ("", 15)]
    assert sum(row.rides for row in measured.found.rows if (row.attribute, row.horizon_min) == ("transit", 15)) <= every[0]


Sums = dict[tuple[str, str], dict[str, float]]  # of each class, by name


def by_class(tables: dict[str, pd.DataFrame], areas: Areas, starts: pd.DatetimeIndex, horizon_min: int) -> Sums:
    """Sums per class of one horizon, by joining and grouping."""
    length = pd.Timedelta(minutes=horizon_min)
    forecasts = tables["forecasts"].query("horizon_min == @horizon_min and target in @starts").set_index(["target", "cell"])
    windows = []
    for start in starts:
        inside = tables["counts"][(tables["counts"].slot >= start) & (tables["counts"].slot < start + length)]
        windows.append(inside.groupby("cell")["count"].sum().rename("truth").to_frame().assign(target=start).reset_index())
    truth = pd.concat(windows).set_index(["target", "cell"])
    joined = forecasts.join(truth, how="outer").fillna({"truth": 0, "mean": 0.0, "median": 0.0}).reset_index()
    joined["error"] = (joined["median"] - joined.truth).abs()
    joined["fallback"] = (joined.fallback != "none").astype(int)
    found: Sums = {}
    for attribute in areas.attributes:
        code = {cell: dict(area.classes)[attribute] for area in areas.areas for cell in area.cells}
        for name in set(code.values()):
            part = joined[joined.cell.map(code) == name]
            sums = {column: float(part[column].sum()) for column in ("truth", "mean", "error", "fallback")}
            found[attribute, name] = {"pairs": float(len(part)), **sums}
    return found


def test_the_default_period_is_what_has_settled(stores: Stores) -> None:
    """Without dates the period ends with the newest issue whose longest window has settled, and begins where the run did."""
    region = region_of(stores.ledger, "tehran")
    newest, boot = stores.ledger.find(region_log("tehran"), SlotClosed), stores.ledger.find(region_log("tehran"), RegionBootstrapped)
    assert newest is not None
    assert boot is not None
    assert Period(boot.start_slot, newest.slot + 1 - LONGEST - SETTLE, 3) == period_of(stores, region, None, None)
    given = period_of(stores, region, boot.start_slot + 11, boot.start_slot + 31)
    assert (boot.start_slot + 10, boot.start_slot + 30) == (given.first, given.until)


def test_a_period_without_settled_forecasts_is_not_found(stores: Stores, tmp_path: Path) -> None:
    """A period after the run has nothing to measure, and neither has a region that has closed no slot."""
    region = region_of(stores.ledger, "tehran")
    late = period_of(stores, region, 2**31, 2**31 + 9)
    with pytest.raises(NotFound, match="no forecast of requests in this period has settled"):
        measure_fairness(stores, region, "requests", quarters_of(region, 7), late)
    town = build_town(tmp_path, slots=0)
    town.ledger.close()
    empty = open_stores(Settings.from_env({}, {"home": str(tmp_path)}), reading=True)
    with pytest.raises(NotFound, match="no slot is closed yet"):
        period_of(empty, town.region, None, None)
    empty.close()
