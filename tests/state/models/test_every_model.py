"""What every model of the table promises; a second corrector of the tests shows that one file and one row are enough."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from schemas.events.rides import Float64s, Int64s, UInt64s
from schemas.records.records import FALLBACKS
from state.demand.calendar import Calendar
from state.demand.history import CountHistory
from state.forecast.forecast import Forecaster
from state.forecast.region import FOLD_VERSION
from state.models.current import Current
from state.models.intervals import LOWER_MILLI, MEDIAN_MILLI, UPPER_MILLI, quantiles
from state.models.protocol import Corrector, MeanModel, Outcome, SlotView, Watcher
from state.models.quiet import quiet_cells
from state.models.table import MODELS, CorrectorRow, MeanRow, ModelTable, load_trained, untrained
from tests.state.model_city import CELLS, HOURLY, fold, run_slot, town_chain, town_model, town_slots
from tests.state.models.level import LEVEL

CALENDAR = Calendar(HOURLY)
HORIZONS = len(HOURLY.horizons)
DISPERSION_MILLI = (100, 150, 200)
# River multiplies a batch by its weights in BLAS, which adds a row's products in an order that the batch's size decides.
# To put it right changes last bits of what is served, so it needs a version of the fold. No other row may be here.
SUMMED_BY_BLAS = {"online"}
WITH_LEVEL = ModelTable(MODELS.means, (*MODELS.correctors, LEVEL))

every_mean = pytest.mark.parametrize("row", MODELS.means, ids=lambda row: row.name)
every_corrector = pytest.mark.parametrize("row", WITH_LEVEL.correctors, ids=lambda row: row.name)
some_cells = st.sets(st.integers(0, len(CELLS) - 1), min_size=1).map(lambda rows: np.array(sorted(rows), np.int64))


class WatchedHistory(CountHistory):
    """A history that keeps the latest boundary between slots that anybody asked for."""

    asked = -1

    def _known(self, slot: int) -> int:
        self.asked = max(self.asked, slot)
        return super()._known(slot)


@cache
def town(days: int = 29) -> WatchedHistory:
    """The first days of the town, by default four weeks and a day; nobody changes it."""
    history = WatchedHistory(HOURLY, tracked=True)
    for known in town_slots(days * 24):
        fold(history, known)
    return history


def town_of(row: MeanRow) -> WatchedHistory:
    """A town that a mean model serves: a young one for the model of young regions."""
    return town(3) if row.name == "level" else town()


def view_of(history: CountHistory, columns: Int64s) -> SlotView:
    """What a model sees of these cells after the last slot."""
    slot = history.next_slot - 1
    return SlotView(history, CALENDAR, slot, columns, quiet_cells(history, CALENDAR, slot, columns))


def made(row: MeanRow, *, trained: bool = True) -> MeanModel | None:
    """The model of a row, with the town's artefact of its kind or none."""
    model = load_trained((town_chain() if row.name == "chain" else town_model()).artefact, HOURLY.horizons) if trained else None
    return row.make(model.about if model is not None else untrained(HOURLY.horizons), model)


@cache
def model_of(row: MeanRow) -> MeanModel:
    """The model of a row, made once: with the town's artefact, unless the row is only for regions without one."""
    model = made(row) or made(row, trained=False)
    assert model is not None
    return model


def served_rows(model: MeanModel, view: SlotView) -> Int64s:
    """Rows of the cells that a model can serve."""
    return np.flatnonzero(model.serves(view))


# --- mean models ---------------------------------------------------------------------------------------


@every_mean
def test_a_mean_is_a_number_for_every_cell_and_horizon(row: MeanRow) -> None:
    """A model serves some cells of the town, and says a finite mean that is not negative for each of them."""
    history, model = town_of(row), model_of(row)
    view = view_of(history, history.universe(history.next_slot - 1))
    rows = served_rows(model, view)
    means = model.forecast(view, rows)
    assert len(rows)
    assert (len(rows), HORIZONS) == means.shape
    assert np.float64 == means.dtype
    assert np.isfinite(means).all()
    assert (means >= 0).all()
    assert HORIZONS == len(model.dispersion_milli)


@every_mean
def test_no_mean_model_looks_ahead(row: MeanRow) -> None:
    """Nothing after the end of the slot is asked of the history, by choosing cells or by forecasting them."""
    history, model = town_of(row), model_of(row)
    columns = history.universe(history.next_slot - 1)
    history.asked = -1
    view = view_of(history, columns)
    model.forecast(view, served_rows(model, view))
    assert history.next_slot == history.asked


@every_mean
@settings(max_examples=30, deadline=None)
@given(picked=some_cells)
def test_a_mean_does_not_depend_on_company(row: MeanRow, picked: Int64s) -> None:
    """A cell gets the same bits whichever cells are asked for with it, and whichever are in the universe with it."""
    history, model = town_of(row), model_of(row)
    columns = history.universe(history.next_slot - 1)
    view = view_of(history, columns)
    rows = np.intersect1d(served_rows(model, view), picked)
    expected = model.forecast(view, served_rows(model, view))[np.isin(served_rows(model, view), rows)]
    if len(rows):
        assert expected.tobytes() == model.forecast(view, rows).tobytes()
        alone = view_of(history, columns[rows])
        assert np.arange(len(rows)).tolist() == served_rows(model, alone).tolist()
        assert expected.tobytes() == model.forecast(alone, np.arange(len(rows))).tobytes()


@every_mean
def test_the_same_artefact_gives_the_same_means(row: MeanRow) -> None:
    """All that a mean model knows is in its artefact: made twice and asked twice, it says the same bits."""
    history = town_of(row)
    view, again = view_of(history, history.universe(history.next_slot - 1)), made(row) or made(row, trained=False)
    assert again is not None
    rows = served_rows(again, view)
    first = again.forecast(view, rows).tobytes()
    assert first == model_of(row).forecast(view, rows).tobytes() == again.forecast(view, rows).tobytes()


@every_mean
def test_quantiles_are_in_order(row: MeanRow) -> None:
    """With the model's dispersions the bounds enclose the median, and a larger mean has no smaller quantile."""
    history, model = town_of(row), model_of(row)
    view = view_of(history, history.universe(history.next_slot - 1))
    means = model.forecast(view, served_rows(model, view))
    for i, milli in enumerate(model.dispersion_milli):
        ascending = np.sort(means[:, i])
        lower, median, upper = (quantiles(ascending, milli, p) for p in (LOWER_MILLI, MEDIAN_MILLI, UPPER_MILLI))
        assert (lower <= median).all()
        assert (median <= upper).all()
        for found in (lower, median, upper):
            assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize("days", [3, 29])
@pytest.mark.parametrize("trained", [False, True])
def test_every_cell_is_served_by_the_first_model_that_can(trained: bool, days: int) -> None:
    """Each model has a fallback of its own but the two of the level, the last serves all, and the forecaster follows the table."""
    history = town(days)
    columns = history.universe(history.next_slot - 1)
    view = view_of(history, columns)
    models = [model for row in MODELS.means if row.name != "chain" and (model := made(row, trained=trained)) is not None]
    codes = [FALLBACKS.index(model.fallback) for model in models if not isinstance(model, Current)]
    assert len(set(codes)) == len(codes)
    assert models[-1].serves(view).all()
    first = [next(model.fallback for model in models if model.serves(view)[i]) for i in range(len(columns))]
    forecaster = Forecaster(HOURLY, "pickups", version=FOLD_VERSION)
    forecaster.use(town_model().artefact if trained else None)
    assert first == [FALLBACKS[code] for code in forecaster.issue(history, history.next_slot - 1).columns.fallback.tolist()]


# --- correctors ----------------------------------------------------------------------------------------


def new(row: CorrectorRow) -> Corrector:
    """A corrector that has seen nothing."""
    return row.make(HORIZONS, 24)


def run_close(corrector: Corrector, rng: np.random.Generator, cells: UInt64s = CELLS) -> Float64s:
    """One close of cells with half more rides than their means: ask, let it come true at once, learn; the corrected means."""
    means = rng.gamma(2.0, 2.0, (len(cells), HORIZONS))
    inputs = corrector.inputs(cells, means, DISPERSION_MILLI)
    predicted = corrector.predict(inputs)
    corrected = corrector.correct(means, predicted, DISPERSION_MILLI)
    truth = rng.poisson(1.5 * means).astype(float)
    outcomes = [Outcome(i, cells, inputs[:, i], means[:, i], predicted[:, i], truth[:, i]) for i in range(HORIZONS)]
    corrector.observe(outcomes, DISPERSION_MILLI)
    corrector.learn(outcomes, DISPERSION_MILLI)
    return corrected


def watched(row: CorrectorRow) -> Corrector:
    """A corrector that watched two days of the town, and knows every second cell."""
    history = CountHistory(HOURLY, tracked=True)
    forecaster = Forecaster(HOURLY, "pickups", ModelTable(MODELS.means, (row,)), row.since)
    forecaster.use(town_model().artefact)
    for number, known in enumerate(town_slots(29 * 24)):
        if number < 27 * 24:
            fold(history, known)
        else:
            run_slot(history, forecaster, known)
    [corrector] = forecaster._correctors.values()
    corrector.keep_only(CELLS[::2])
    return corrector


@cache
def learned(row: CorrectorRow) -> Corrector:
    """A corrector that learned from every second cell for some closes; nobody changes it."""
    corrector, rng = new(row), np.random.default_rng(7)
    if isinstance(corrector, Watcher):
        corrector = watched(row)
    for _ in range(60):
        run_close(corrector, rng, CELLS[::2])
    return corrector


def kept_bytes(corrector: Corrector) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Everything that a corrector keeps, in a form that compares to the last bit."""
    return {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in corrector.to_arrays().items()}


@every_corrector
def test_a_correction_is_a_number_for_every_cell_and_horizon(row: CorrectorRow) -> None:
    """Inputs have the width of the row; known or not, a cell's mean stays a number above zero."""
    corrector, means = learned(row), np.random.default_rng(1).gamma(2.0, 2.0, (len(CELLS), HORIZONS))
    inputs = corrector.inputs(CELLS, means, DISPERSION_MILLI)
    assert (len(CELLS), HORIZONS, row.inputs) == inputs.shape
    predicted = corrector.predict(inputs)
    assert means.shape == predicted.shape
    corrected = corrector.correct(means, predicted, DISPERSION_MILLI)
    assert means.shape == corrected.shape
    assert np.isfinite(corrected).all()
    assert (corrected > 0).all()
    assert corrected.tobytes() != means.tobytes()
    assert 0 <= corrector.weight_milli <= 1000


@every_corrector
def test_to_ask_is_not_to_learn(row: CorrectorRow) -> None:
    """An issue changes neither the state nor what was handed in, so that truth can enter by outcomes alone."""
    corrector, means = learned(row), np.random.default_rng(2).gamma(2.0, 2.0, (len(CELLS), HORIZONS))
    before, handed = kept_bytes(corrector), means.tobytes()
    inputs = corrector.inputs(CELLS, means, DISPERSION_MILLI)
    seen = inputs.tobytes()
    predicted = corrector.predict(inputs)
    said = predicted.tobytes()
    corrector.correct(means, predicted, DISPERSION_MILLI)
    assert (before, handed, seen, said) == (kept_bytes(corrector), means.tobytes(), inputs.tobytes(), predicted.tobytes())


@every_corrector
@settings(max_examples=30, deadline=None)
@given(picked=some_cells)
def test_a_correction_does_not_depend_on_company(row: CorrectorRow, picked: Int64s) -> None:
    """A cell's inputs, prediction and corrected means do not depend on which cells are in the batch."""
    corrector, means = learned(row), np.random.default_rng(3).gamma(2.0, 2.0, (len(CELLS), HORIZONS))
    inputs = corrector.inputs(CELLS, means, DISPERSION_MILLI)
    assert inputs[picked].tobytes() == corrector.inputs(CELLS[picked], means[picked], DISPERSION_MILLI).tobytes()
    predicted, part = corrector.predict(inputs), corrector.predict(inputs[picked])
    if row.name in SUMMED_BY_BLAS:
        assert np.abs(predicted[picked] - part).max() <= 1e-14
    else:
        assert predicted[picked].tobytes() == part.tobytes()
    corrected = corrector.correct(means, predicted, DISPERSION_MILLI)
    assert corrected[picked].tobytes() == corrector.correct(means[picked], predicted[picked], DISPERSION_MILLI).tobytes()


@every_corrector
@settings(max_examples=20, deadline=None)
@given(closes=st.integers(0, 6), seed=st.integers(0, 1000))
def test_arrays_there_and_back(row: CorrectorRow, closes: int, seed: int) -> None:
    """Restored after any number of closes, it keeps and says the same bits for ever; names are of its row."""
    one, other = new(row), new(row)
    rng = np.random.default_rng(seed)
    for _ in range(closes):
        run_close(one, rng, CELLS[seed % 3 :])
    other.from_arrays(one.to_arrays())
    assert kept_bytes(one) == kept_bytes(other)
    assert all(name.startswith(f"{row.name}_") for name in one.to_arrays())
    rngs = np.random.default_rng(seed + 1), np.random.default_rng(seed + 1)
    for _ in range(3):
        assert run_close(one, rngs[0]).tobytes() == run_close(other, rngs[1]).tobytes()
    assert kept_bytes(one) == kept_bytes(other)


@every_corrector
def test_what_a_corrector_keeps_is_bounded(row: CorrectorRow) -> None:
    """However many cells came and went, after a day it keeps no more than the cells that are left."""
    corrector, rng = new(row), np.random.default_rng(5)
    sizes = []
    for day in range(12):
        for hour in range(4):
            run_close(corrector, rng, np.arange(1_000 * day + 100 * hour, 1_000 * day + 100 * hour + 50).astype(np.uint64))
        corrector.keep_only(np.arange(1_000 * day + 300, 1_000 * day + 340).astype(np.uint64))
        sizes.append(sum(array.nbytes for array in corrector.to_arrays().values()))
    assert {sizes[0]} == set(sizes)


@every_corrector
def test_without_outcomes_there_is_nothing_to_learn(row: CorrectorRow) -> None:
    """A close at which no window came true is no error, and a new corrector stays as it was."""
    corrector = new(row)
    before = kept_bytes(corrector)
    corrector.observe([], DISPERSION_MILLI)
    corrector.learn([], DISPERSION_MILLI)
    corrector.keep_only(CELLS)
    assert before == kept_bytes(corrector)
    assert (0, HORIZONS) == corrector.predict(corrector.inputs(CELLS[:0], np.empty((0, HORIZONS)), DISPERSION_MILLI)).shape


def test_names_of_rows_do_not_meet() -> None:
    """Arrays of two rows, and of what they said in issues, never have one name."""
    names = [row.name for row in WITH_LEVEL.correctors]
    assert sorted(set(names)) == sorted(names)
    arrays = [f"{row.issued}{part}" for row in WITH_LEVEL.correctors for part in ("means", "inputs", "predicted", "owns")]
    arrays += [name for row in WITH_LEVEL.correctors for name in new(row).to_arrays()]
    assert len(set(arrays)) == len(arrays)
    assert not [(a, b) for a in names for b in names if a != b and f"{a}_".startswith(f"{b}_")]
