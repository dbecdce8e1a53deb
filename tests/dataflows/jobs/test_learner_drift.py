"""A drift of the served forecasts trains a challenger, once, with the evidence on record."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dataflows.jobs.band_parts import BandParts
from dataflows.jobs.learn import train_region
from ledger.views.settled import settled_issues
from schemas.records.records import CONTROL_LOG, ForecastIssued, ModelTrained
from state.counting.slots import CountColumns
from state.decide.band_drift import band_sums
from state.decide.drift import PARTS
from state.decide.retraining import RetrainingRules
from tests.dataflows.jobs import shifting_town
from tests.dataflows.jobs.shifting_town import DAY, LOG, START, TOWN, Town, quick_training
from tests.state.model_city import CELLS

ONLY_DRIFT = RetrainingRules(every_days=0, least_rise=1e9)


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """Few trees."""
    with quick_training(20):
        yield


def test_a_drift_trains_once(tmp_path: Path) -> None:
    """Eight usual days train nothing; after the town's day shifts one training follows within two days, and no other."""
    town = Town(tmp_path / "home")
    train_region(town.stores, TOWN, promote=True, most_rows=10_000)
    learner = town.learner(retraining=ONLY_DRIFT)
    town.close_days(8, shifted=False, after=learner.take_turn)
    assert 1 == len(list(town.stores.ledger.records(CONTROL_LOG, ModelTrained)))
    town.close_days(4, shifted=True, after=learner.take_turn)
    [_, trained] = town.stores.ledger.records(CONTROL_LOG, ModelTrained)
    assert START + 8 * DAY < trained.until_slot <= START + 10 * DAY + TOWN.horizons[-1]
    assert trained.parameters["trigger"].startswith("drift: pickups: rides against their forecast ")
    assert "the sum of its deviations from the same hours of 7 days before" in trained.parameters["trigger"]
    town.stores.close()


def test_a_drift_of_some_cells_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rides move from busy to medium cells: where the region's own series say nothing, the record names the band."""
    town = Town(tmp_path / "home")
    train_region(town.stores, TOWN, promote=True, most_rows=10_000)
    learner = town.learner(retraining=ONLY_DRIFT)
    town.close_days(8, shifted=False, after=learner.take_turn)
    plain = shifting_town.rides

    def moved(slot: int, *, shifted: bool) -> CountColumns:
        usual = plain(slot, shifted=shifted)
        medium = np.isin(usual.cells, CELLS[16:31])
        more = np.where(medium, 2 * usual.counts, usual.counts - np.minimum(usual.counts, int(usual.counts[medium].sum()) // 16))
        some = more > 0
        return CountColumns(usual.slots[some], usual.cells[some], more[some])

    monkeypatch.setattr(shifting_town, "rides", moved)
    monkeypatch.setattr("dataflows.jobs.drifting.drifts_in", lambda *_: [])
    town.close_days(3, shifted=False, after=learner.take_turn)
    [_, trained] = town.stores.ledger.records(CONTROL_LOG, ModelTrained)
    assert re.match(r"drift: pickups: rides against their forecast, (busy|medium) cells (rose|fell): ", trained.parameters["trigger"])
    town.stores.close()


def test_every_part_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums are those of the settled issues, whenever they are asked for; what expired or is damaged adds nothing."""
    town = Town(tmp_path / "home")
    town.close_days(3, shifted=False)
    ended, first = START + 3 * DAY, START // DAY * PARTS
    parts = BandParts(town.stores, TOWN, DAY)
    sums = parts.sums("pickups", first, ended)
    issues = list(settled_issues(town.stores.ledger, town.stores.blobs, TOWN, "pickups", START, START + 3))
    assert np.array_equal(sum(band_sums(issue) for issue in issues), sums[:, :, 0])
    assert 3 * PARTS - 1 == sums.shape[2]
    monkeypatch.setattr("dataflows.jobs.band_parts.settled_issues", lambda *_, **__: pytest.fail("read again"))
    assert np.array_equal(sums[:, :, 4:], parts.sums("pickups", first + 4, ended))
    assert 0 == parts.sums("pickups", first, START).shape[2]
    monkeypatch.undo()
    later = BandParts(town.stores, TOWN, DAY)
    assert np.array_equal(sums[:, :, 4:], later.sums("pickups", first + 4, ended))
    assert np.array_equal(sums, later.sums("pickups", first, ended))  # the last answered drift is no longer on record
    issued = town.stores.ledger.entry(LOG, ForecastIssued, START)
    assert issued is not None
    town.stores.blobs.remove(issued.record.blob)
    again = BandParts(town.stores, TOWN, DAY).sums("pickups", first, ended)
    assert not again[:, :, 0].any()
    assert np.array_equal(sums[:, :, 1:], again[:, :, 1:])
    town.stores.close()
