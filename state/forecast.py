"""The forecaster of one region and measure: issue at a slot's cut, score what came true, learn from it.

It folds nothing but what history holds and what it issued before; which model serves is told by `use`.
Scores are written in the integers that were served, so that anyone can recompute them.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np

from schemas.chunks import ForecastColumns
from schemas.records import FALLBACKS, Fallback, HorizonSpread, ScoreRow, SlotScored
from schemas.regions import Region
from schemas.rides import Float32s, Float64s, Int64s, UInt8s
from state.calendar import Calendar
from state.history import Arrays, CountHistory
from state.issued import Issued, IssuedQueue
from state.models.baseline import expected_rides, profile
from state.models.intervals import LOWER_MILLI, MEDIAN_MILLI, UPPER_MILLI, quantiles
from state.models.quiet import QUIET_PER_15_MIN, QuietMix, mean_rate, quiet_means, quiet_parts

DISPERSION_MILLI = 150  # until training has fitted one; New York, April 2014, weekday x slot profile
QUIET_DISPERSION_MILLI = 1_500
MILLI = 1000

_QUIET, _BASELINE = (FALLBACKS.index(name) for name in (Fallback.QUIET, Fallback.BASELINE))


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


class Forecaster:
    """Forecasts of one region and measure.

    The owner closes a slot in the history, then calls `score`, `issue` and `learn` for it, in this order.
    """

    def __init__(self, region: Region, measure: str) -> None:
        self.region = region
        self.measure = measure
        self.calendar = Calendar(region)
        self.horizons = region.horizons
        self._queue = IssuedQueue(region.horizons_min)
        self.use(None)

    def use(self, model: bytes | None) -> None:
        """Serve this artefact from the next issue on; None serves the baseline.

        Raises:
            DamagedError: the bytes are not an artefact.
            ContractError: it was trained for other features or horizons.
        """
        self._mix = QuietMix.default(len(self.horizons))
        self._spread = tuple(
            HorizonSpread(h, DISPERSION_MILLI, QUIET_DISPERSION_MILLI, LOWER_MILLI, UPPER_MILLI) for h in self.region.horizons_min
        )

    def expected(self, history: CountHistory, slot: int) -> float:
        """Rides that the profile expects in a slot, over all cells."""
        return expected_rides(history, self.calendar, slot)

    # --- issue ---------------------------------------------------------------------------------

    def issue(self, history: CountHistory, slot: int) -> Draft:
        """Forecast every cell of the universe for the windows that start at the end of a closed slot."""
        columns = history.universe(slot)
        base = profile(history, self.calendar, slot, columns, self.horizons)
        quiet = mean_rate(history, slot, columns) * 15 < QUIET_PER_15_MIN * self.region.slot_min
        means = base.copy()
        fallback = np.full(len(columns), _BASELINE, np.uint8)
        fallback[quiet] = _QUIET
        if quiet.any():
            parts = quiet_parts(history, self.calendar, slot, columns[quiet], self.horizons)
            means[quiet] = quiet_means(parts, self._mix)
        features = np.empty((0, 0), np.float32)
        served = self._columns(history, columns, means, base, fallback)
        self._queue.push(Issued(slot, served), history, columns)
        counts = Counter(fallback.tolist())
        return Draft(
            columns=served,
            features_digest=matrix_digest(features),
            spread=self._spread,
            fallbacks={FALLBACKS[code].value: counts[code] for code in sorted(counts)},
            online_weight_milli=0,
        )

    def _columns(self, history: CountHistory, columns: Int64s, means: Float64s, base: Float64s, fallback: UInt8s) -> ForecastColumns:
        quiet = fallback == _QUIET
        shape = means.shape
        median, lower, upper, dispersion = (np.empty(shape, np.int64) for _ in range(4))
        for i, spread in enumerate(self._spread):
            for rows, milli in ((~quiet, spread.dispersion_milli), (quiet, spread.quiet_dispersion_milli)):
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

        A window that touches an outage is not scored.
        """
        scored = []
        for settled, ended in ((False, slot), (True, slot - settle_slots)):
            rows = []
            for i, h in enumerate(self.horizons):
                issued = self._queue.at(ended - h)
                if issued is not None and history.complete(ended - h + 1, ended + 1):
                    truth = history.window(ended - h + 1, ended + 1, self._queue.columns(ended - h, history))
                    rows.append(_score_row(issued.columns, i, truth))
            if rows:
                scored.append(SlotScored(self.region.id, self.measure, ended, settled, tuple(rows)))
        self._queue.drop_before(slot - settle_slots - self.horizons[-1] + 1)
        return tuple(scored)

    # --- learn ---------------------------------------------------------------------------------

    def learn(self, history: CountHistory, slot: int) -> None:
        """Learn online from the windows that ended with this slot."""

    # --- keeping -------------------------------------------------------------------------------

    def to_arrays(self) -> Arrays:
        """The state that `from_arrays` restores to the last bit; the model itself is not in it."""
        return self._queue.to_arrays()

    def from_arrays(self, arrays: Arrays) -> None:
        """Become the forecaster whose `to_arrays` gave these; call `use` with the same model before."""
        self._queue.from_arrays(arrays)

    def digest(self) -> bytes:
        """SHA-256 over the state that is kept."""
        return hashlib.sha256(self._queue.digest()).digest()


def matrix_digest(features: Float32s) -> bytes:
    """SHA-256 of a feature matrix: its shape, then its values, little-endian."""
    head = np.array(features.shape, "<i8").tobytes()
    return hashlib.sha256(head + np.ascontiguousarray(features, "<f4").tobytes()).digest()


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
