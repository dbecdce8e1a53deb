"""The online learner from its definition: one cell at a time, without River and without arrays."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

INPUTS = 8
RATE, INTERCEPT_RATE = 0.0002, 0.001
CLIP = 4.0  # standard errors
PRIOR = 20.0  # rides


def spread(mean: float, dispersion: float) -> float:
    """Standard deviation of a count with variance mean + dispersion x mean^2."""
    return math.sqrt(mean + dispersion * mean * mean)


def clipped(value: float, most: float) -> float:
    """Between -most and most."""
    return max(-most, min(most, value))


@dataclass(frozen=True, slots=True)
class Forecast:
    """The forecast of one cell and horizon: mean, inputs and predicted error."""

    mean: float
    inputs: list[float]
    predicted: float


@dataclass(slots=True)
class CellErrors:
    """Standardised error of the first and the last horizon, rides and means with a half-life of two days."""

    first: float = 0.0
    last: float = 0.0
    rides: float = 0.0
    means: float = 0.0


@dataclass(slots=True)
class PlainOnline:
    """State of the learner; `dispersion` per horizon."""

    dispersion: Sequence[float]
    day_slots: int
    weights: list[float] = field(default_factory=lambda: [0.0] * INPUTS)
    intercept: float = 0.0
    steps: int = 0
    seen: list[list[float]] = field(default_factory=lambda: [[] for _ in range(INPUTS)])  # every input that was learned from
    gain: float = 0.0
    size: float = 0.0
    region_first: float = 0.0
    region_last: float = 0.0
    region_rides: float = 0.0
    region_means: float = 0.0
    cells: dict[int, CellErrors] = field(default_factory=dict)

    def say(self, cell: int, horizon: int, mean: float) -> Forecast:
        """Inputs and predicted error of one cell and horizon."""
        errors = self.cells.get(cell, CellErrors())
        scale = mean / spread(mean, self.dispersion[horizon])
        long = horizon / max(len(self.dispersion) - 1, 1)
        slow = (self.region_rides + PRIOR) / (self.region_means + PRIOR) - 1
        cell_slow = (errors.rides + PRIOR) / (errors.means + PRIOR) - 1
        region = [scale * self.region_first, scale * self.region_last, scale * slow, scale * self.region_last * long]
        inputs = [scale, *region, errors.first, errors.last, scale * cell_slow]
        predicted = self._line([self._scaled(i, value) for i, value in enumerate(inputs)]) if self.steps else 0.0
        return Forecast(mean, inputs, predicted)

    def weight_milli(self) -> int:
        """Share of a prediction that enters a mean."""
        return round(1000 * max(0.0, min(1.0, self.gain / self.size))) if self.size > 0 else 0

    def correct(self, horizon: int, forecast: Forecast) -> float:
        """The mean with its share of the predicted error, at least half and at most twice of what it was."""
        moved = forecast.mean + self.weight_milli() / 1000 * forecast.predicted * spread(forecast.mean, self.dispersion[horizon])
        return min(max(moved, 0.5 * forecast.mean), 2.0 * forecast.mean)

    def close(self, ended: Mapping[int, Mapping[int, tuple[Forecast, float]]]) -> None:
        """Windows that came true, horizon -> cell -> (forecast, rides): take in their errors, then learn one step."""
        forget, forget_cell = 0.5 ** (1 / self.day_slots), 0.5 ** (1 / (2 * self.day_slots))
        self.gain, self.size = self.gain * forget, self.size * forget
        self.region_rides, self.region_means = self.region_rides * forget, self.region_means * forget
        for errors in self.cells.values():
            errors.rides, errors.means = errors.rides * forget_cell, errors.means * forget_cell
        for horizon, cells in ended.items():
            for forecast, rides in cells.values():
                step = forecast.predicted * spread(forecast.mean, self.dispersion[horizon])
                self.gain += step * (rides - forecast.mean)
                self.size += step * step
            total, means = sum(rides for _, rides in cells.values()), sum(forecast.mean for forecast, _ in cells.values())
            relative = (total + PRIOR) / (means + PRIOR) - 1
            if horizon == 0:
                self.region_first = relative
                self.region_rides, self.region_means = self.region_rides + total, self.region_means + means
            if horizon == len(self.dispersion) - 1:
                self.region_last = relative
            for cell, (forecast, rides) in cells.items():
                error = self._error(horizon, forecast, rides)
                if horizon == 0:
                    errors = self.cells.setdefault(cell, CellErrors())
                    errors.first = error
                    errors.rides, errors.means = errors.rides + rides, errors.means + forecast.mean
                if horizon == len(self.dispersion) - 1:
                    self.cells.setdefault(cell, CellErrors()).last = error
        self._learn(
            [(forecast.inputs, self._error(h, forecast, rides)) for h, cells in ended.items() for forecast, rides in cells.values()]
        )

    def _error(self, horizon: int, forecast: Forecast, rides: float) -> float:
        return clipped((rides - forecast.mean) / spread(forecast.mean, self.dispersion[horizon]), CLIP)

    def _learn(self, rows: list[tuple[list[float], float]]) -> None:
        """Standardise by all inputs so far, then one step down the mean gradient of squared errors."""
        if not rows:
            return
        for inputs, _ in rows:
            for i, value in enumerate(inputs):
                self.seen[i].append(value)
        gradient, level = [0.0] * INPUTS, 0.0
        for inputs, error in rows:
            scaled = [self._scaled(i, value) for i, value in enumerate(inputs)]
            slope = clipped(2 * (self._line(scaled) - error), 2 * CLIP)
            gradient = [total + slope * value / len(rows) for total, value in zip(gradient, scaled, strict=True)]
            level += slope / len(rows)
        self.weights = [weight - RATE * slope for weight, slope in zip(self.weights, gradient, strict=True)]
        self.intercept -= INTERCEPT_RATE * level
        self.steps += 1

    def _scaled(self, i: int, value: float) -> float:
        seen = self.seen[i]
        mean = sum(seen) / len(seen)
        variance = sum((other - mean) ** 2 for other in seen) / len(seen)
        return (value - mean) / math.sqrt(variance) if variance > 1e-20 else 0.0

    def _line(self, scaled: list[float]) -> float:
        return sum(weight * value for weight, value in zip(self.weights, scaled, strict=True)) + self.intercept
