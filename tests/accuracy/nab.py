"""The Numenta Anomaly Benchmark's series of New York's taxis: our score beside those that it publishes of other detectors."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from schemas.events.rides import Float64s
from state.detect.metric import RARITY, REST_DAYS
from tests.accuracy.nab_score import NabScore, Window, score
from tests.accuracy.planted import detections, rarities_of
from tests.accuracy.results import Result

FILE = "realKnownCause/nyc_taxi.csv"
STEPS_PER_DAY = 48
# Raw scores of this file, standard profile, each at the threshold that is best for its detector over the whole corpus of 58 files:
# numenta/NAB on GitHub, results/DETECTOR/DETECTOR_standard_scores.csv. With five windows, -5 is no detection and 5 is perfect.
PUBLISHED = {
    "relativeEntropy": 3.83335967699,
    "ARTime": 3.775210013719179,
    "numenta (HTM)": 2.43572773247,
    "htmjava": 2.29035592557,
    "knncad": 0.26509116701106183,
    "contextOSE": -1.42976791842,
    "numentaTM": -3.09725377366,
    "randomCutForest": -3.1846309122,
    "bayesChangePt": -5.0,
    "earthgeckoSkyline": -5.0,
    "expose": -5.0,
    "skyline": -5.0,
    "twitterADVec": -5.0,
    "windowedGaussian": -5.0,
}
WINDOWS = 5


def taxis(data: Path) -> tuple[Float64s, list[str], list[Window]]:
    """Passengers per half hour, the times of the rows, and the windows of the labelled anomalies as rows."""
    table = pq.read_table(data / "nab_nyc_taxi.parquet")
    times = np.datetime_as_string(table["time"].to_numpy(), unit="m").tolist()
    labelled = json.loads((data / "nab_windows.json").read_text("utf-8"))[FILE]
    row = {time: i for i, time in enumerate(times)}
    windows = [(row[_minute(first)], row[_minute(last)]) for first, last in labelled]
    return table["value"].to_numpy().astype(np.float64), times, windows


def _minute(time: str) -> str:
    return time.replace(" ", "T")[: len("2014-01-01T00:00")]


def normalised(raw: float) -> float:
    """A raw score of this file on NAB's scale.

    >>> normalised(-5.0), normalised(5.0)
    (0.0, 100.0)
    """
    return 100.0 * (raw + WINDOWS) / (2.0 * WINDOWS)


def best_threshold(rare: Float64s, windows: list[Window], rest: int) -> tuple[float, NabScore]:
    """The rarity with the highest score, chosen on the file itself, and that score."""
    scores = {rarity: score(detections(rare, rarity, rest), windows, len(rare)) for rarity in np.unique(rare[rare < 0.1]).tolist()}
    best = max(scores, key=lambda rarity: scores[rarity].raw)
    return best, scores[best]


def nab(data: Path, _folder: Path) -> list[Result]:
    """Our score at the preset threshold, at the best ones, and what is published."""
    values, times, windows = taxis(data)
    rare, rest = rarities_of(values, STEPS_PER_DAY), round(REST_DAYS * STEPS_PER_DAY)
    found = detections(rare, RARITY, rest)
    preset = score(found, windows, len(values))
    rarity, best = best_threshold(rare, windows, rest)
    rarity_of_steps, best_of_steps = best_threshold(rare, windows, 0)
    above = max(normalised(raw) for raw in PUBLISHED.values())
    return [
        Result(f"NAB score at the preset rarity of {RARITY}", preset.normalised, above, at_least=True),
        Result("windows found, of 5", preset.found),
        Result("false detections", preset.false),
        *(Result(f"detected at {times[row]}{_place(row, windows)}, rarity", float(rare[row])) for row in found),
        Result(f"at the best rarity for this file, {rarity:.2g}", best.normalised),
        Result(f"every step counted, no rest, at its best rarity, {rarity_of_steps:.2g}", best_of_steps.normalised),
        *(Result(f"{name}, published, best threshold over the corpus", normalised(raw)) for name, raw in PUBLISHED.items()),
    ]


def _place(row: int, windows: list[Window]) -> str:
    return next((f", in window {i}" for i, (first, last) in enumerate(windows, 1) if first <= row <= last), "")
