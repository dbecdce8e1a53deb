"""Simulated metrics with planted anomalies, on which the constants of the metric detector were chosen, and the score on them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from schemas.events.rides import Float64s
from state.detect.metric import RARITY, REST_DAYS, MetricDetector
from tests.accuracy.nab_score import Window, score
from tests.accuracy.results import Result

STEPS_PER_DAY, WEEKS, ANOMALIES, LESSER = 48, 30, 5, 2
HALF_WINDOW = 103  # rows on each side of an anomaly's centre
FIRST_DAY = 24
SEEDS = range(240, 264)  # none of those on which constants were chosen: 0 to 24, 100 to 132, 200 to 240
RARITIES = (0.008, 0.005, 0.004, 0.003, 0.002, 0.0015, 0.001, 0.0007, 0.0005, 0.0002, 0.0001)


@dataclass(frozen=True, slots=True)
class Planted:
    """Counts per step, float64[n], and where their anomalies are."""

    counts: Float64s
    windows: tuple[Window, ...]


def planted(seed: int) -> Planted:
    """Thirty weeks of counts by half hours: a profile per weekday and weekend, a season, correlated noise, and anomalies.

    Five are labelled: low days, outages, spikes of an hour, surges of some hours, and days that look like another day. Up to two
    days of 10 to 20 % fewer counts are not.
    """
    rng = np.random.default_rng(seed)
    number, day = STEPS_PER_DAY * 7 * WEEKS, STEPS_PER_DAY
    step = np.arange(number)
    weekday = step // day % 7
    rate = _profile(rng, step % day / day * 24, weekday) * _noise(rng, number)
    rate *= 1.0 + 0.12 * np.sin(2 * np.pi * step / number * rng.uniform(0.7, 1.5) + rng.uniform(0, 6))
    rate *= 15_000 * 10 ** rng.uniform(-1, 0.2)
    windows = [_plant(rng, rate, int(rng.integers(0, 5)), place) for place in _places(rng)]
    for _ in range(LESSER):
        start = int(rng.integers(FIRST_DAY, WEEKS * 7 - 6)) * day
        if all(not first - day < start < last + day for first, last in windows):
            rate[start : start + day] *= rng.uniform(0.8, 0.9)
    return Planted(rng.poisson(rate).astype(np.float64), tuple(windows))


def _profile(rng: np.random.Generator, hour: Float64s, weekday: np.ndarray) -> Float64s:
    depth = rng.uniform(0.3, 0.8)
    work = 1 - depth * np.cos((hour - rng.uniform(2, 6)) / 24 * 2 * np.pi)
    work += 0.3 * np.exp(-0.5 * ((hour - 8) / 1.2) ** 2) + 0.4 * np.exp(-0.5 * ((hour - 19) / 2) ** 2)
    free = 1 - depth * np.cos((hour - rng.uniform(5, 9)) / 24 * 2 * np.pi) + 0.3 * np.exp(-0.5 * ((hour - 1) / 2) ** 2)
    both = np.where(weekday >= 5, free * rng.uniform(0.8, 1.1), work) * (1 + 0.05 * rng.standard_normal(7)[weekday])
    return np.asarray(both / both.mean(), np.float64)


def _noise(rng: np.random.Generator, number: int) -> Float64s:
    """Correlated over three hours, heavy-tailed, with a level of each day."""
    size, kept = rng.uniform(0.015, 0.05), 0.5 ** (8 / STEPS_PER_DAY)
    shocks = rng.standard_t(5, number) * size * np.sqrt(1 - kept**2)
    out = np.zeros(number)
    for i in range(1, number):
        out[i] = kept * out[i - 1] + shocks[i]
    days = np.repeat(rng.standard_t(4, number // STEPS_PER_DAY + 1) * rng.uniform(0.01, 0.035), STEPS_PER_DAY)[:number]
    return np.asarray(np.exp(out + days + 0.01 * rng.standard_normal(number)), np.float64)


def _places(rng: np.random.Generator) -> Iterator[int]:
    """First steps of the days with an anomaly."""
    for i in range(ANOMALIES):
        yield int(FIRST_DAY + (WEEKS * 7 - FIRST_DAY - 6) * (i + rng.uniform(0.25, 0.75)) / ANOMALIES) * STEPS_PER_DAY


def _plant(rng: np.random.Generator, rate: Float64s, kind: int, start: int) -> Window:
    """Change the rates of an anomaly; its window is around where it can be seen."""
    day, at, until = STEPS_PER_DAY, start, start + STEPS_PER_DAY
    if kind == 0:
        rate[start:until] *= rng.uniform(0.45, 0.75)
    elif kind == 1:
        at = start + int(rng.uniform(0, 1) * day)
        rate[at : at + int(day * rng.uniform(0.25, 1))] *= rng.uniform(0.05, 0.4)
    elif kind == 2:
        at = start + int(rng.uniform(0, 0.3) * day)
        rate[at : at + 2] *= rng.uniform(1.7, 2.2)
    elif kind == 3:
        at = start + int(rng.uniform(0, 0.9) * day)
        rate[at : at + int(day * rng.uniform(0.12, 0.25))] *= rng.uniform(1.4, 1.9)
    else:
        rate[start:until] = rate[start - 3 * day : until - 3 * day] * rng.uniform(0.6, 0.85)
    centre = start + int(day * 0.3) if kind in (0, 4) else at
    return centre - HALF_WINDOW, centre + HALF_WINDOW


def rarities_of(values: Float64s, steps_per_day: int) -> Float64s:
    """One minus the score of each step, float64[n]."""
    detector = MetricDetector(steps_per_day)
    return 1.0 - np.array([detector.see(float(value)).score for value in values])


def detections(rare: Float64s, rarity: float, rest: int) -> list[int]:
    """The steps that a detector with another rarity detects."""
    found: list[int] = []
    for step in np.flatnonzero(rare <= rarity).tolist():
        if not found or step - found[-1] >= rest:
            found.append(step)
    return found


def measure_planted(_data: Path, _folder: Path) -> list[Result]:
    """The mean score of simulated metrics that nothing was chosen on."""
    rest = round(REST_DAYS * STEPS_PER_DAY)
    series = [planted(seed) for seed in SEEDS]
    rare = [rarities_of(one.counts, STEPS_PER_DAY) for one in series]
    results = []
    for rarity in RARITIES:
        scores = [score(detections(p, rarity, rest), one.windows, len(one.counts)) for p, one in zip(rare, series, strict=True)]
        mark = ", the preset" if rarity == RARITY else ""
        results.append(Result(f"mean score at a rarity of {rarity}{mark}", float(np.mean([one.normalised for one in scores]))))
        if rarity == RARITY:
            results.append(Result("windows found", sum(one.found for one in scores) / sum(one.windows for one in scores)))
            results.append(Result("false detections per series", float(np.mean([one.false for one in scores]))))
    return results
