"""Outcomes of made-up forecasts for tests of fairness: some days, two attributes, truths from a seed."""

from dataclasses import dataclass

import numpy as np

from schemas.configuration.areas import NO_CLASS, Groups
from schemas.events.rides import Float64s
from state.detect.fairness import FairnessSums, Outcomes
from state.models.chances import COVERED, UNDER, chance_within
from state.models.predictive import NOMINAL, Predictive

HORIZONS_MIN = (15, 30)
NAMES = (("income", "high"), ("income", "low"), ("transit", "far"), ("transit", "near"))


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue and horizon, as `FairnessSums.add` takes it."""

    day: int
    horizon: int
    outcomes: Outcomes


def groups_of(cells: int) -> Groups:
    """Half of the cells with low income, every third one far from transit, and the last one without a class."""
    number = np.arange(cells)
    codes = np.array([np.where(number % 2, 1, 0), np.where(number % 3, 3, 2)])
    codes[:, -1] = NO_CLASS
    return Groups(NAMES, codes)


def outcomes_of(truth: Float64s, mean: Float64s, fallback: Float64s) -> Outcomes:
    """What came of Poisson forecasts."""
    law = Predictive(mean, np.zeros(len(truth)), np.tile(NOMINAL, (len(truth), 1)))
    below, upto = law.around(truth.astype(np.int64))
    return Outcomes(
        truth, mean, np.floor(mean + 0.5), chance_within(below, upto, UNDER), chance_within(below, upto, COVERED), fallback > 0.8
    )


def issues(seed: int, *, days: int = 8, per_day: int = 12, cells: int = 40, low_factor: float = 1.0) -> list[Issue]:
    """Issues of calibrated forecasts, but those of cells with low income are multiplied by a factor."""
    random = np.random.default_rng(seed)
    found = []
    for day in range(days):
        for _ in range(per_day):
            for horizon in range(len(HORIZONS_MIN)):
                rate = random.gamma(2.0, 2.0 * (horizon + 1), cells)
                truth = random.poisson(rate).astype(np.float64)
                mean = rate * np.where(np.arange(cells) % 2, low_factor, 1.0)
                found.append(Issue(day, horizon, outcomes_of(truth, mean, random.random(cells))))
    return found


def counted(given: list[Issue]) -> FairnessSums:
    """The sums of issues."""
    sums = FairnessSums(NAMES, HORIZONS_MIN)
    for issue in given:
        sums.add(issue.day, issue.horizon, groups_of(len(issue.outcomes.truth)), issue.outcomes)
    return sums
