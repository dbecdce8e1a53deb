"""The features of the stream, and that nothing but the past of their own cell moves them."""

import numpy as np
import pytest

from schemas.errors import ContractError
from state.demand.calendar import Calendar
from state.demand.feature_table import Feature, FeatureTable, Fill
from state.demand.features import FEATURES, NAMES, build, matrix_digest
from state.demand.history import CountHistory
from tests.state.model_city import CELLS, FIRST_SLOT, HOURLY, fold, town_slots

CALENDAR = Calendar(HOURLY)


def history_of(n: int, **how: object) -> CountHistory:
    """A history of n slots of the town."""
    history = CountHistory(HOURLY)
    for known in town_slots(n, **how):  # type: ignore[arg-type]
        fold(history, known)
    return history


def column(matrix: np.ndarray, name: str) -> np.ndarray:
    """One feature by name."""
    return matrix[:, NAMES.index(name)]


def test_every_feature_is_declared_once_and_filled() -> None:
    """Names are unique, each has a meaning, and with five weeks of history no value is missing."""
    assert len(set(NAMES)) == len(FEATURES)
    assert all(feature.meaning for feature in FEATURES)
    history = history_of(29 * 24 + 90)
    matrix = build(history, CALENDAR, history.next_slot - 1, history.universe(history.next_slot - 1))
    assert (len(history.universe(history.next_slot - 1)), len(FEATURES)) == matrix.shape
    assert np.float32 == matrix.dtype
    assert np.isfinite(matrix).all()


@pytest.mark.parametrize(
    ("fill", "got"),
    [
        (lambda w: None, "None"),
        (lambda w: "7", "'7'"),
        (lambda w: w.own(w.day)[:-1], r"an array \(33,\)"),
        (lambda w: w.city_last, r"an array \(1,\)"),
        (lambda w: w.own(w.day)[:, None], r"an array \(34, 1\)"),
        (lambda w: np.array(None), r"an array \(\)"),
    ],
)
def test_a_feature_that_is_not_filled_raises(fill: Fill, got: str) -> None:
    """A function that does not return one number per cell raises an error with its name; its column is never used."""
    history = history_of(100)
    columns = history.universe(history.next_slot - 1)[:34]
    assert 34 == len(columns)
    table = FeatureTable(2, (*FEATURES, Feature("mood", "of the town", fill)))
    with pytest.raises(ContractError, match=f"feature mood: expected a number or an array .34,., got {got}"):
        build(history, CALENDAR, history.next_slot - 1, columns, table)


@pytest.mark.parametrize("value", [3, 2.5, True, np.float64(0.25)])
def test_one_number_fills_a_column(value: float) -> None:
    """What is the same for all cells is given once, and a new row of the table needs nothing else."""
    history = history_of(100)
    slot = history.next_slot - 1
    columns = history.universe(slot)
    before = build(history, CALENDAR, slot, columns)
    table = FeatureTable(2, (Feature("mood", "of the town", lambda w: value), *FEATURES))
    after = build(history, CALENDAR, slot, columns, table)
    assert [float(value)] * len(columns) == after[:, 0].tolist()
    assert before.tobytes() == after[:, 1:].tobytes()


def test_windows_hold_the_rides_that_they_name() -> None:
    """Lags and seasonal windows equal sums over the slots themselves."""
    slots = town_slots(400)
    history = history_of(400)
    last = FIRST_SLOT + 399
    columns = np.arange(len(history.cells))
    matrix = build(history, CALENDAR, last, columns)

    def rides(low: int, high: int) -> list[int]:
        counts = dict.fromkeys(history.cells.tolist(), 0)
        for known in slots[low - FIRST_SLOT : high - FIRST_SLOT]:
            for cell, n in zip(known.cells.tolist(), known.counts.tolist(), strict=True):
                counts[cell] += n
        return list(counts.values())

    assert rides(last, last + 1) == column(matrix, "lag_60").tolist()
    assert rides(last - 23, last + 1) == column(matrix, "lag_1440").tolist()
    assert rides(last - 23, last - 21) == column(matrix, "day_middle").tolist()
    assert rides(last - 167, last - 164) == column(matrix, "week_last").tolist()
    assert [sum(rides(last - 2, last + 1))] * len(columns) == column(matrix, "city_long").tolist()


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    """Built alone, in another order, or with other cells, a cell's features have the same bits."""
    history = history_of(500)
    slot = history.next_slot - 1
    columns = history.universe(slot)
    whole = build(history, CALENDAR, slot, columns)
    order = np.random.default_rng(3).permutation(len(columns))
    for picked in (order, order[:5], order[7:20], order[:1]):
        assert whole[picked].tobytes() == build(history, CALENDAR, slot, columns[picked]).tobytes()


def test_stream_and_replay_build_the_same_bits() -> None:
    """Features after a snapshot, and those of a training replay, equal those of an uninterrupted stream."""
    slots = town_slots(260, late=True, outage=range(100, 104))
    stream, replay = CountHistory(HOURLY), CountHistory(HOURLY)
    digests = []
    for i, known in enumerate(slots):
        fold(stream, known)
        if i == 170:
            arrays = stream.to_arrays()
            stream = CountHistory(HOURLY)
            stream.from_arrays(arrays)
        digests.append(matrix_digest(build(stream, CALENDAR, known.slot, stream.universe(known.slot))))
    again = []
    for known in slots:
        fold(replay, known)
        again.append(matrix_digest(build(replay, CALENDAR, known.slot, replay.universe(known.slot))))
    assert digests == again


def test_an_outage_is_missing_not_zero() -> None:
    """A lag whose window touches an unobserved slot is NaN, as are the windows of that day in later weeks."""
    history = history_of(402, outage=range(400, 401))
    columns = np.arange(len(history.cells))
    matrix = build(history, CALENDAR, FIRST_SLOT + 401, columns)
    assert np.isfinite(column(matrix, "lag_60")).all()
    assert np.isnan(column(matrix, "lag_120")).all()
    assert np.isnan(column(matrix, "city_long")).all()
    history = history_of(400 + 167, outage=range(400, 401))
    assert np.isnan(column(build(history, CALENDAR, history.next_slot - 1, columns[:3]), "week_first")).all()


def test_a_late_ride_moves_features_only_from_when_it_was_known() -> None:
    """Point in time: the build before the correction keeps its bits, the build after it counts the ride."""
    history = history_of(300)
    slot = history.next_slot - 1
    columns = history.columns_of(CELLS[:1])
    before = column(build(history, CALENDAR, slot, columns), "lag_240")[0]
    history.correct(np.array([slot - 1]), CELLS[:1], np.array([2]))
    assert before + 2 == column(build(history, CALENDAR, slot, columns), "lag_240")[0]


def test_the_first_slots_of_a_history_build_too() -> None:
    """With no past at all every value is a number or missing, never infinite."""
    history = CountHistory(HOURLY)
    for known in town_slots(30):
        fold(history, known)
        matrix = build(history, CALENDAR, known.slot, history.universe(known.slot))
        assert not np.isinf(matrix).any()
