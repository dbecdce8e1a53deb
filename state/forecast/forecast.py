"""The forecaster of one region and measure: issue at a slot's cut, score what came true, learn from it.

It folds nothing but what history holds and what it issued before; which model serves is told by `use`.
Scores are written in the integers that were served, so that anyone can recompute them.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np

from schemas.events.rides import Bools, Float32s, Float64s, Int64s, UInt8s
from schemas.forecasts.chunks import NUMBERS, ForecastColumns
from schemas.records.records import FALLBACKS, Fallback, HorizonSpread, ScoreRow, SlotScored
from schemas.regions import Region
from state.demand.calendar import Calendar
from state.demand.features import FEATURES, build, matrix_digest
from state.demand.history import Arrays, CountHistory
from state.demand.seasons import profile
from state.forecast.issued import Issued, IssuedQueue
from state.models.boosted import Boosted
from state.models.intervals import LOWER_MILLI, MEDIAN_MILLI, UPPER_MILLI, quantiles
from state.models.online import INPUTS, OnlineCorrection, Outcome
from state.models.quiet import QUIET_PER_15_MIN, QuietMix, mean_rate, quiet_means, quiet_parts

DISPERSION_MILLI = 150  # until training has fitted one; New York, April 2014, weekday x slot profile
QUIET_DISPERSION_MILLI = 1_500
MILLI = 1000

_NONE, _QUIET, _BASELINE = (FALLBACKS.index(name) for name in (Fallback.NONE, Fallback.QUIET, Fallback.BASELINE))


@dataclass(frozen=True, slots=True)
class Draft:
    """Forecasts of one measure at one slot's cut, before they are recorded.

    Attributes:
        columns: The numbers served.
        features_digest: SHA-256 of the float32 matrix that the model saw, rows in cell order.
        spread: The predictive distribution of each horizon.
        fallbacks: How many cells each fallback served.
        online_weight_milli: Share of the online correction in the mean.
    """

    columns: ForecastColumns
    features_digest: bytes
    spread: tuple[HorizonSpread, ...]
    fallbacks: dict[str, int]
    online_weight_milli: int


@dataclass(frozen=True, slots=True)
class _Own:
    """What is said of the m cells that have their own model; see `Issued` for means, inputs and predicted.

    Attributes:
        features: float32[m, n_features].
    """

    features: Float32s
    means: Float64s
    inputs: Float64s
    predicted: Float64s


class Forecaster:
    """Forecasts of one region and measure.

    The owner closes a slot in the history, then calls `score`, `issue` and `learn` for it, in this order.
    """

    def __init__(self, region: Region, measure: str) -> None:
        self.region = region
        self.measure = measure
        self.calendar = Calendar(region)
        self.horizons = region.horizons
        self._queue = IssuedQueue(region.horizons_min, len(INPUTS))
        self._online = OnlineCorrection(len(self.horizons), self.calendar.day_slots)
        self._outcomes: list[Outcome] = []  # between score and learn of the same slot
        self.use(None)

    def use(self, model: bytes | None) -> None:
        """Serve this artefact from the next issue on; None serves the baseline.

        Raises:
            DamagedError: the bytes are not an artefact.
            ContractError: it was trained for other features or horizons.
        """
        self._model = Boosted(model, self.horizons) if model is not None else None
        self._mix = QuietMix.default(len(self.horizons))
        own, quiet = (DISPERSION_MILLI,) * len(self.horizons), (QUIET_DISPERSION_MILLI,) * len(self.horizons)
        if self._model is not None:
            about = self._model.about
            self._mix = QuietMix(np.array(about.quiet_mix))
            own, quiet = about.dispersion_milli, about.quiet_dispersion_milli
        self._dispersion_milli = own
        self._spread = tuple(
            HorizonSpread(
                horizon_min=h, dispersion_milli=own[i], quiet_dispersion_milli=quiet[i], lower_milli=LOWER_MILLI, upper_milli=UPPER_MILLI
            )
            for i, h in enumerate(self.region.horizons_min)
        )

    # --- issue ---------------------------------------------------------------------------------

    def issue(self, history: CountHistory, slot: int) -> Draft:
        """Forecast every cell of the universe for the windows that start at the end of a closed slot."""
        columns = history.universe(slot)
        base = profile(history, self.calendar, slot, columns, self.horizons)
        quiet = self._quiet(history, slot, columns)
        means = base.copy()
        fallback = np.full(len(columns), _BASELINE, np.uint8)
        fallback[quiet] = _QUIET
        if quiet.any():
            parts = quiet_parts(history, self.calendar, slot, columns[quiet], self.horizons)
            means[quiet] = quiet_means(parts, self._mix)
        own = self._own(history, slot, columns[~quiet])
        rows, weight_milli = np.empty(0, np.int64), 0
        if self._model is not None:
            rows = np.flatnonzero(~quiet)
            fallback[rows] = _NONE
            weight_milli = self._online.weight_milli
            means[rows] = self._online.correct(own.means, own.predicted, self._dispersion_milli)
        served = self._columns(history, columns, means, base, fallback)
        self._queue.push(Issued(slot, served, rows, own.means, own.inputs, own.predicted), history, columns)
        counts = Counter(fallback.tolist())
        return Draft(
            columns=served,
            features_digest=matrix_digest(own.features),
            spread=self._spread,
            fallbacks={FALLBACKS[code].value: counts[code] for code in sorted(counts)},
            online_weight_milli=weight_milli,
        )

    def skip_issue(self, history: CountHistory, slot: int) -> None:
        """Keep of an issue what the online learner needs of it later; in place of the numbers that were served stand zeros."""
        columns = history.universe(slot)
        rows = np.flatnonzero(~self._quiet(history, slot, columns)) if self._model is not None else np.empty(0, np.int64)
        own = self._own(history, slot, columns[rows])
        zeros = np.zeros((len(columns), len(self.horizons)), np.int64)
        numbers = dict.fromkeys(NUMBERS, zeros)
        none = ForecastColumns(
            cells=history.cells[columns], horizons_min=self.region.horizons_min, fallback=np.zeros(len(columns), np.uint8), **numbers
        )
        self._queue.push(Issued(slot, none, rows, own.means, own.inputs, own.predicted), history, columns)

    def _quiet(self, history: CountHistory, slot: int, columns: Int64s) -> Bools:
        return np.asarray(mean_rate(history, slot, columns) * 15 < QUIET_PER_15_MIN * self.region.slot_min, np.bool_)

    def _own(self, history: CountHistory, slot: int, columns: Int64s) -> "_Own":
        """What the model and the online learner say of cells with their own model; nothing without a model."""
        h = len(self.horizons)
        if self._model is None:
            return _Own(np.empty((0, len(FEATURES)), np.float32), np.empty((0, h)), np.empty((0, h, len(INPUTS))), np.empty((0, h)))
        features = build(history, self.calendar, slot, columns)
        means = self._model.means(features)
        inputs = self._online.inputs(history.cells[columns], means, self._dispersion_milli)
        return _Own(features, means, inputs, self._online.predict(inputs))

    def _columns(self, history: CountHistory, columns: Int64s, means: Float64s, base: Float64s, fallback: UInt8s) -> ForecastColumns:
        quiet, own = np.flatnonzero(fallback == _QUIET), np.flatnonzero(fallback != _QUIET)
        shape = means.shape
        median, lower, upper, dispersion = (np.empty(shape, np.int64) for _ in range(4))
        for i, spread in enumerate(self._spread):
            for rows, milli in ((own, spread.dispersion_milli), (quiet, spread.quiet_dispersion_milli)):
                mean = means[rows, i]
                dispersion[rows, i] = milli
                for out, probability in ((median, MEDIAN_MILLI), (lower, LOWER_MILLI), (upper, UPPER_MILLI)):
                    out[rows, i] = quantiles(mean, milli, probability) * MILLI
        return ForecastColumns(
            cells=history.cells[columns],
            horizons_min=self.region.horizons_min,
            mean=_milli(means),
            median=median,
            lower=lower,
            upper=upper,
            dispersion=dispersion,
            baseline=_milli(base),
            fallback=fallback,
        )

    # --- score ---------------------------------------------------------------------------------

    def score(self, history: CountHistory, slot: int, settle_slots: int) -> tuple[SlotScored, ...]:
        """Compare with truth the forecasts whose window ended with this slot, and again those that settle now.

        A window that touches an outage, or a slot that is known to be an undercount, is neither scored nor learned from.
        """
        scored = []
        self._outcomes = []
        for settled, ended in ((False, slot), (True, slot - settle_slots)):
            rows = []
            for i, h in enumerate(self.horizons):
                issued = self._queue.at(ended - h)
                if issued is not None and history.whole(ended - h + 1, ended + 1):
                    truth = history.window(ended - h + 1, ended + 1, self._queue.columns(ended - h, history))
                    rows.append(_score_row(issued.columns, i, truth))
                    if not settled and len(issued.own):
                        self._outcomes.append(_outcome(issued, i, truth))
            if rows:
                scored.append(SlotScored(region=self.region.id, measure=self.measure, slot=ended, settled=settled, rows=tuple(rows)))
        self._online.observe(self._outcomes, self._dispersion_milli)
        self._queue.forget_inputs(slot - self.horizons[-1])
        self._queue.drop_before(slot - settle_slots - self.horizons[-1] + 1)
        return tuple(scored)

    # --- learn ---------------------------------------------------------------------------------

    def learn(self, history: CountHistory, slot: int) -> None:
        """Learn online from the windows that ended with this slot."""
        self._online.learn(self._outcomes, self._dispersion_milli)
        self._outcomes = []
        if slot % self.calendar.day_slots == 0:
            issued = self._queue.at(slot)
            self._online.keep_only(issued.columns.cells if issued is not None else history.cells[:0])

    # --- keeping -------------------------------------------------------------------------------

    def to_arrays(self) -> Arrays:
        """The state that `from_arrays` restores to the last bit; the model itself is not in it."""
        return self._queue.to_arrays() | self._online.to_arrays()

    def from_arrays(self, arrays: Arrays) -> None:
        """Become the forecaster whose `to_arrays` gave these; call `use` with the same model before."""
        self._queue.from_arrays(arrays)
        self._online.from_arrays(arrays)

    def digest(self) -> bytes:
        """SHA-256 over the state that is kept."""
        return hashlib.sha256(self._queue.digest() + arrays_digest(self._online.to_arrays())).digest()


def arrays_digest(arrays: Arrays) -> bytes:
    """SHA-256 of named arrays: name, type, shape and bytes of each, in order of names."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.digest()


def _milli(values: Float64s) -> Int64s:
    return np.rint(values * MILLI).astype(np.int64)


def _outcome(issued: Issued, i: int, truth: Int64s) -> Outcome:
    own = issued.own
    rides = truth[own].astype(np.float64)
    return Outcome(i, issued.columns.cells[own], issued.inputs[:, i], issued.means[:, i], issued.predicted[:, i], rides)


def _score_row(columns: ForecastColumns, i: int, truth: Int64s) -> ScoreRow:
    truth_milli = truth * MILLI
    error = truth_milli - columns.mean[:, i]
    base_error = truth_milli - columns.baseline[:, i]
    inside = (columns.lower[:, i] <= truth_milli) & (truth_milli <= columns.upper[:, i])
    return ScoreRow(
        horizon_min=columns.horizons_min[i],
        cells=len(columns),
        truth=int(truth.sum()),
        forecast_mean_milli=int(columns.mean[:, i].sum()),
        abs_error_milli=int(np.abs(truth_milli - columns.median[:, i]).sum()),
        square_error_micro=int((error * error).sum()),
        baseline_abs_error_milli=int(np.abs(base_error).sum()),
        baseline_square_error_micro=int((base_error * base_error).sum()),
        covered=int(inside.sum()),
    )
