"""What serves a region without a trained model after its first hour: which part of it is which, and what it is worth."""

import numpy as np
import pytest

from schemas.events.rides import Float64s, Int64s
from schemas.records.records import FALLBACKS, Fallback
from state.demand.calendar import Calendar
from state.demand.history import CountHistory
from state.demand.levels import HALF_LIVES_MIN
from state.demand.profiles import OWN, Profiles
from state.forecast.forecast import Forecaster
from state.models.current import AROUND_RIDES, CELL_RIDES, Current, levels_of, young_part
from state.models.level import Level
from state.models.protocol import SlotView
from tests.state.model_city import CELLS, FIRST_SLOT, HOURLY, town_slots

CALENDAR = Calendar(HOURLY)


def history_of(slots: int, outage: range = range(0)) -> CountHistory:
    """The first slots of the town."""
    history = CountHistory(HOURLY, tracked=True)
    for known in town_slots(slots, outage=outage):
        history.close(known.slot, known.cells, known.counts, observed=known.observed)
    return history


def view_of(history: CountHistory) -> SlotView:
    """What a model sees after the last slot."""
    columns = history.universe(history.next_slot - 1)
    return SlotView(history, CALENDAR, history.next_slot - 1, columns, np.zeros(len(columns), np.bool_))


def plain_levels(history: CountHistory, columns: Int64s) -> Float64s:
    """Levels cell by cell, from the sums of decayed counts and profiles."""

    def around(column: int, minutes: float) -> float:
        which = HALF_LIVES_MIN.index(minutes)
        own = history.levels.own[:, which]
        rides, profile = own[:, column] + history.around(0, np.array([column]), own.T.copy())[0]
        return float((rides + AROUND_RIDES * region(minutes)) / (profile + AROUND_RIDES))

    def region(minutes: float) -> float:
        rides, profile = history.levels.city[:, HALF_LIVES_MIN.index(minutes)].tolist()
        return float((rides + 1.0) / (profile + 1.0))

    found = []
    for column in columns.tolist():
        rides, profile = history.levels.own[:, HALF_LIVES_MIN.index(720.0), column].tolist()
        slow = around(column, 720.0)
        cell = (rides / slow + CELL_RIDES) / (profile + CELL_RIDES)
        found.append(around(column, 180.0) * cell * region(20.0) / region(180.0))
    return np.array(found)


def test_a_forecast_is_profile_times_level_and_the_level_of_a_young_region() -> None:
    """After nine days a fifth is the forecast of the level model; the rest is the smooth profile times levels by value."""
    history = history_of(216)
    view = view_of(history)
    rows = np.arange(len(view.columns))
    windows = tuple((0, h) for h in HOURLY.horizons)
    profile = Profiles(history, CALENDAR, view.slot + 1, windows).own(OWN)[0][:, view.columns].T * np.array(HOURLY.horizons)
    expected = 0.8 * profile * plain_levels(history, view.columns)[:, None] + 0.2 * Level(3).forecast(view, rows)
    assert expected.ravel().tolist() == pytest.approx(Current(3).forecast(view, rows).ravel().tolist())
    assert plain_levels(history, view.columns).tolist() == pytest.approx(levels_of(history, view.columns).tolist())


def test_on_the_first_day_the_level_serves() -> None:
    """Before a day is observed nothing is known of the course of a day; then the part of the level falls with the days."""
    view = view_of(history_of(20))
    rows = np.arange(len(view.columns))
    assert Level(3).forecast(view, rows).ravel().tolist() == pytest.approx(Current(3).forecast(view, rows).ravel().tolist())
    assert [1.0, 1.0, 0.5, 0.25] == [young_part(days) for days in (0.1, 1.0, 3.0, 7.0)]


def test_an_outage_is_no_level() -> None:
    """While no recent slot was observed, the level that could be carried forward is none: the profile serves, not zero rides."""
    view = view_of(history_of(52, range(49, 52)))
    found = Current(3).forecast(view, np.arange(len(view.columns)))
    assert Level(3).forecast(view, np.arange(len(view.columns))).sum() == 0.0
    assert found.sum() > 0.7 * view.baseline.sum()


@pytest.mark.parametrize(("version", "label", "corrected"), [(5, Fallback.QUIET, 0), (6, Fallback.LEVEL, 1)])
def test_it_serves_every_cell_from_version_6_on(version: int, label: Fallback, corrected: int) -> None:
    """With weeks of history and no model, older folds serve the profile, uncorrected; newer ones the current level, corrected."""
    history = history_of(21 * 24)
    forecaster = Forecaster(HOURLY, "pickups", version=version)
    draft = forecaster.issue(history, history.next_slot - 1)
    labels = {FALLBACKS[code] for code in draft.columns.fallback.tolist()}
    assert (labels == {Fallback.LEVEL}) == (version == 6)
    assert labels <= {label, Fallback.BASELINE}
    assert corrected == int(bool(draft.mix.members))
    assert len(CELLS) >= len(draft.columns) > 0


def test_the_first_hour_is_the_level_models() -> None:
    """Before an hour is observed there is nothing to correct by, and the level model serves uncorrected."""
    history = CountHistory(HOURLY, tracked=True)
    served = []
    for slot, observed in ((FIRST_SLOT, False), (FIRST_SLOT + 1, True)):
        history.close(slot, CELLS[:2], np.array([1, 2]), observed=observed)
        served.append(Current(3).serves(view_of(history)).tolist())
    assert [[False, False], [True, True]] == served
