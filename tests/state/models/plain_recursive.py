"""The recursive correction from its definition: one cell at a time, in pure Python but for solving the equations."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tests.state.models.plain_online import clipped, spread

LEVELS = (0.2, 0.35, 0.55, 0.8, 1.0, 1.25, 1.8, 2.8, 4.5)
USUAL = (0.002, 0.004, 0.008, 0.03, 0.912, 0.03, 0.008, 0.004, 0.002)
REGRESSORS = 8
PRIOR = 20.0


@dataclass(frozen=True, slots=True)
class Said:
    """The forecast of one cell and horizon: its mean, what the filters made of it, and the regressors."""

    mean: float
    factor: float
    level: float
    region: float
    surge: float
    regressors: list[float]
    predicted: float


@dataclass(slots=True)
class Errors:
    """What is known of one cell."""

    last: float = 0.0
    log_mean: float | None = None
    sums: list[float] = field(default_factory=lambda: [0.0] * 4)  # rides and means over a day, over a week
    chances: list[float] = field(default_factory=lambda: list(USUAL))


def left(moved: float, own: float) -> float:
    """A log ratio without the part that was done already."""
    return max(moved - max(own, 0.0), 0.0) if moved > 0 else min(moved - min(own, 0.0), 0.0)


def expected(chances: Sequence[float]) -> float:
    """The expected level."""
    return sum(level * chance for level, chance in zip(LEVELS, chances, strict=True))


def weighed(chances: Sequence[float], likely: Sequence[float]) -> list[float]:
    """Bayes' rule on log likelihoods."""
    products = [chance * math.exp(one - max(likely)) for chance, one in zip(chances, likely, strict=True)]
    return [product / sum(products) for product in products]


@dataclass(slots=True)
class PlainRecursive:
    """State of the corrector; `dispersion` per horizon."""

    dispersion: Sequence[float]
    day_slots: int
    closes: int = 0
    region_last: float = 0.0
    region_sums: list[float] = field(default_factory=lambda: [0.0] * 6)  # rides and means over an hour, six and a day
    region_chances: list[float] = field(default_factory=lambda: list(USUAL))
    cells: dict[int, Errors] = field(default_factory=dict)
    rows: dict[int, list[tuple[int, list[float], float]]] = field(default_factory=dict)  # horizon -> (step, regressors, error)
    surges: dict[tuple[int, bool], list[tuple[int, float, float]]] = field(default_factory=dict)  # (step, surge, error)
    steps: dict[int, int] = field(default_factory=dict)
    coefficients: dict[int, list[float]] = field(default_factory=dict)

    def say(self, cell: int, horizon: int, means: Sequence[float]) -> Said:
        """The prediction for one cell and horizon, from its means for all horizons."""
        known, mean = self.cells.get(cell, Errors()), means[horizon]
        level = expected(self.region_chances)
        own = 0.0 if known.log_mean is None else math.log(means[0]) - known.log_mean
        of_region = left(math.log(level), own)
        of_cell = left(math.log(expected(known.chances)), own - (math.log(level) - of_region))
        region, surge = math.exp(of_region), math.exp(of_cell) - 1
        factor = min(max(region * (1 + self.trust(horizon, mean >= 4.0) * surge), 0.3), 3.0)
        scale = factor * mean / spread(factor * mean, self.dispersion[horizon])
        slow = [(sums[i] + PRIOR) / (sums[i + 1] + PRIOR) - 1 for sums in (self.region_sums, known.sums) for i in range(0, len(sums), 2)]
        regressors = [scale * e for e in (self.region_last, *slow[:3])] + [known.last] + [scale * e for e in slow[3:]] + [scale]
        found = sum(c * x for c, x in zip(self.coefficients.get(horizon, [0.0] * REGRESSORS), regressors, strict=True))
        return Said(mean, factor, level, region, surge, regressors, factor * min(max(1 + found / scale, 0.5), 2.0) - 1)

    def trust(self, horizon: int, busy: bool) -> float:
        """The share of surges that lasted, as if 100 squared errors had said: all."""
        now = self.steps.get(horizon, 0)
        kept = [(0.5 ** ((now - step) / (7 * self.day_slots)), x, e) for step, x, e in self.surges.get((horizon, busy), [])]
        gain, size = sum(w * x * e for w, x, e in kept), sum(w * x * x for w, x, _ in kept)
        return float(min(max((gain + 100) / (size + 100), 0.0), 1.0))

    def close(self, ended: Mapping[int, Mapping[int, tuple[Said, float]]]) -> None:
        """Windows that came true, horizon -> cell -> (forecast, rides): first their errors, then the regressions."""
        self._fade()
        if ended.get(0):
            self._add(ended[0])
        if not any(ended.values()):
            return
        for horizon, cells in ended.items():
            now = self.steps[horizon] = self.steps.get(horizon, 0) + 1
            for said, rides in cells.values():
                self.rows.setdefault(horizon, []).append((now, said.regressors, self._error(horizon, said, rides)))
                mean = said.region * said.mean
                width = spread(mean, self.dispersion[horizon])
                surge = (now, mean * said.surge / width, clipped((rides - mean) / width, 8.0))
                self.surges.setdefault((horizon, said.mean >= 4.0), []).append(surge)
        self.closes += 1
        if self.closes % 6 == 0:
            self.coefficients = {horizon: self._solved(horizon) for horizon in range(len(self.dispersion))}

    def _fade(self) -> None:
        slot_min = 1440 / self.day_slots
        self.region_sums = [value * math.exp(-slot_min / (60, 360, 1440)[i // 2]) for i, value in enumerate(self.region_sums)]
        keep = math.exp(-slot_min / 120)
        self.region_chances = [keep * chance + (1 - keep) * usual for chance, usual in zip(self.region_chances, USUAL, strict=True)]
        for errors in self.cells.values():
            errors.sums = [value * math.exp(-slot_min / (1440, 10080)[i // 2]) for i, value in enumerate(errors.sums)]
            errors.chances = [keep * chance + (1 - keep) * usual for chance, usual in zip(errors.chances, USUAL, strict=True)]

    def _add(self, cells: Mapping[int, tuple[Said, float]]) -> None:
        total, means = sum(rides for _, rides in cells.values()), sum(said.factor * said.mean for said, _ in cells.values())
        self.region_last = (total + PRIOR) / (means + PRIOR) - 1
        self.region_sums = [value + (means if i % 2 else total) for i, value in enumerate(self.region_sums)]
        part = 1 / max(1.0, self.day_slots / 96)
        plain = sum(expected(self.cells.get(cell, Errors()).chances) * said.mean for cell, (said, _) in cells.items())
        variances = [level * plain + (0.12 * level * plain) ** 2 + 20 for level in LEVELS]
        likely = [-((total - level * plain) ** 2) / (2 * v) - math.log(v) / 2 for level, v in zip(LEVELS, variances, strict=True)]
        self.region_chances = weighed(self.region_chances, [part * one for one in likely])
        for cell, (said, rides) in cells.items():
            errors = self.cells.setdefault(cell, Errors())
            errors.last, errors.log_mean = self._error(0, said, rides), math.log(said.mean)
            errors.sums = [value + (said.factor * said.mean if i % 2 else rides) for i, value in enumerate(errors.sums)]
            mean = said.level * said.mean
            share = part / (1 + self.dispersion[0] * mean)
            errors.chances = weighed(errors.chances, [share * (rides * math.log(level) - level * mean) for level in LEVELS])

    def _error(self, horizon: int, said: Said, rides: float) -> float:
        mean = said.factor * said.mean
        return clipped((rides - mean) / spread(mean, self.dispersion[horizon]), 4.0)

    def _solved(self, horizon: int) -> list[float]:
        """Ridge regression on all rows so far; a row loses half of its weight in seven days of steps."""
        now, left_side, right_side = self.steps.get(horizon, 0), 200.0 * np.eye(REGRESSORS), np.zeros(REGRESSORS)
        for step, regressors, error in self.rows.get(horizon, []):
            weight, x = 0.5 ** ((now - step) / (7 * self.day_slots)), np.array(regressors)
            left_side += weight * np.outer(x, x)
            right_side += weight * error * x
        return [float(value) for value in np.linalg.solve(left_side, right_side)]
