"""Surges: cells in which, with their neighbours, many more rides were counted than forecast; neighbouring ones are one signal.

Each cell's sum compares the rides of the cell and its eight neighbours with FACTOR times their forecast. A forecast that follows a surge
ends it: then it is no longer unexpected.
"""

from collections.abc import Mapping
from math import log
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.events.cells import cell_texts, neighbours
from schemas.events.rides import Float64s, UInt64s
from schemas.forecasts.watched import WatchedSlot
from schemas.regions import Region
from state.detect.detector import MOST_EVIDENCE, Arrays, Said, Threshold, signal_of
from state.detect.signals import Severity, Signal

THRESHOLD_NATS = 18.0  # higher than others, since there are as many sums as cells
FACTOR = 2.5  # a surge has so many times the usual rides
USUAL = 1.2  # what is still usual, as a multiple of the forecast
LEAST_EXPECTED = 0.5  # rides of a cell and its neighbours: of fewer, as if there were as many
DISPERSION = 0.05  # of the rides of a neighbourhood: variance = mean + DISPERSION x mean^2


class SurgeDetector:
    """Surges of a region, as one subject: its cells are those that take part.

    Args:
        region: The region.
        threshold: Nats.
    """

    def __init__(self, region: Region, threshold: float = THRESHOLD_NATS) -> None:
        self._region, self._threshold = region, Threshold(threshold)
        self._said = Said("surge", "surge", Severity.WARNING, "rides")
        self._cells, self._sums = np.empty(0, np.uint64), np.empty(0, np.float64)
        self._firing, self._since = np.empty(0, np.uint64), -1

    def see(self, watched: WatchedSlot) -> list[Signal]:
        """Take the next closed slot."""
        if not watched.forecast or not watched.observed:
            return []
        around = np.concatenate([watched.cells[:, None], neighbours(watched.cells, self._region.cell_bits)], axis=1)
        counted = _summed(around, watched.cells, watched.counts.astype(np.float64))
        expected = np.maximum(_summed(around, watched.cells, watched.means), LEAST_EXPECTED)
        usual = USUAL * expected
        nats = (counted * log(FACTOR / USUAL) - (FACTOR - USUAL) * expected) / (1.0 + DISPERSION * usual)
        before = _summed(watched.cells[:, None], self._cells, self._sums)
        sums = np.clip(before + nats, 0.0, MOST_EVIDENCE)
        kept = sums > 0.0
        self._cells, self._sums = watched.cells[kept], sums[kept]
        firing = watched.cells[sums > _limits(self._threshold, watched.cells)]
        was, self._firing = self._firing, firing
        if len(firing) and not len(was):
            self._since = watched.slot
        if (not len(firing) and not len(was)) or np.array_equal(firing, was):
            return []
        place = np.searchsorted(watched.cells, firing if len(firing) else was)
        place = place[place < len(watched.cells)]
        rides, forecast = float(watched.counts[place].sum()), float(watched.means[place].sum())
        words = f"{rides:.0f} rides in {len(place)} cells, {forecast:.1f} were forecast."
        names = tuple(cell_texts(firing, self._region.precision).tolist())
        return [
            signal_of(
                self._said,
                self._region,
                watched,
                "cells",
                firing=bool(len(firing)),
                since=self._since,
                value=rides,
                threshold=FACTOR * forecast,
                message=words,
                cells=names,
            )
        ]

    def use(self, threshold: Threshold) -> None:
        """From the next slot on, fire above this threshold; a cell above its own, if it has one."""
        self._threshold = threshold

    def arrays(self) -> Arrays:
        """All of its state."""
        return {"cells": self._cells, "sums": self._sums, "firing": self._firing, "since": np.array([self._since])}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a state."""
        self._cells, self._sums, self._firing = arrays["cells"], arrays["sums"], arrays["firing"]
        self._since = int(arrays["since"][0])


def _limits(threshold: Threshold, cells: UInt64s) -> Float64s:
    """The threshold of each cell, nats: float64[n]."""
    limits = np.full(len(cells), threshold.nats)
    for cell, nats in threshold.of_cells.items():
        limits[cells == np.uint64(cell)] = nats
    return limits


def _summed(wanted: UInt64s, cells: UInt64s, values: Float64s) -> Float64s:
    """The sum of the values of each row's cells: float64[n]; a cell without a value adds nothing."""
    if not len(cells):
        return np.zeros(len(wanted))
    place = np.minimum(np.searchsorted(cells, wanted), len(cells) - 1)
    return np.asarray(np.where(cells[place] == wanted, values[place], 0.0).sum(axis=1), np.float64)
