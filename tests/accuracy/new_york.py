"""What the metric detector says of New York's rides of April and May 2014, which no constant was fitted to."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from schemas.events.rides import Float64s
from state.detect.metric import RARITY, MetricDetector
from tests.accuracy.results import Result
from tests.accuracy.uber import months_of

FIRST = np.datetime64("2014-04-01T00:00")
DAYS = 61
DAY_MIN = 1440
STEPS_MIN = (30, 60)


def rides_per(data: Path, step_min: int) -> Float64s:
    """Rides of the whole city by local time, float64[n]."""
    times = np.concatenate([pq.read_table(path)["time"].to_numpy() for path in months_of(data)])
    step = (times.astype("datetime64[m]") - FIRST).astype(np.int64) // step_min
    return np.bincount(step, minlength=DAYS * DAY_MIN // step_min).astype(np.float64)


def new_york(data: Path, _folder: Path) -> list[Result]:
    """Each detection, as rides by rides that were expected."""
    results = []
    for step_min in STEPS_MIN:
        detector = MetricDetector(DAY_MIN // step_min)
        for number, rides in enumerate(rides_per(data, step_min).tolist()):
            step = detector.see(rides)
            if step.detected:
                at = np.datetime_as_string(FIRST + np.timedelta64(number * step_min, "m"), unit="m")
                words = f"{step_min} min, {at}: {rides:.0f} rides, {step.usual:.0f} expected, rarity"
                results.append(Result(words, 1.0 - step.score))
    return [*results, Result("preset rarity", RARITY)]
