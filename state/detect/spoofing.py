"""Spoofed positions: one cell has far more rides than forecast, while its neighbours do not.

Two sums per cell: of a cell that has FACTOR times its forecast, and of neighbours that have none of what the cell has too many.
Where a crowd leaves, neighbouring cells have a part of it; where a forecast is too low, they have, too. Both sums must be large.
"""

from collections.abc import Mapping
from math import log
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.events.cells import cell_texts, centres
from schemas.events.rides import Float64s, UInt64s
from schemas.forecasts.watched import WatchedSlot
from schemas.regions import Region
from state.detect.detector import MOST_EVIDENCE, Arrays, Said, Threshold, signal_of
from state.detect.signals import Severity, Signal
from state.detect.surge import values_at

THRESHOLD_NATS = 17.0  # as many sums as cells
FACTOR, USUAL = 2.5, 1.2  # of the forecast: in a spoofed cell, and what is still usual
LEAST_EXPECTED = 1.0  # rides of a cell: of fewer, as if there were as many
DISPERSION = 0.02  # variance = mean + DISPERSION x mean^2
SPILL = 0.5  # how much of what a crowd's cell has too many its neighbours have too many, together
RING_WEIGHT = 5.0  # nats of the second sum count for so many
NEAREST, LEAST_MEAN = 5, 0.02  # neighbours of a cell: the nearest ones that have so many rides by their forecast
CANDIDATE_NATS = 2.0  # of the first sum, from which on neighbours are looked at


class SpoofingDetector:
    """Spoofed cells of a region, one subject each.

    Args:
        region: The region.
        threshold: Nats.
    """

    def __init__(self, region: Region, threshold: float = THRESHOLD_NATS) -> None:
        self._region, self._threshold = region, threshold
        self._said = Said("spoofing", "spoofing", Severity.WARNING, "rides")
        self._cells, self._sums = np.empty(0, np.uint64), np.zeros((0, 2))
        self._firing, self._since = np.empty(0, np.uint64), np.empty(0, np.int64)

    def see(self, watched: WatchedSlot) -> list[Signal]:
        """Take the next closed slot."""
        if not watched.forecast:  # a slot that was not counted whole has less evidence, and none that is wrong
            return []
        cells, counts = watched.cells, watched.counts.astype(np.float64)
        expected = np.maximum(watched.means, LEAST_EXPECTED)
        own = (counts * log(FACTOR / USUAL) - (FACTOR - USUAL) * expected) / (1.0 + DISPERSION * USUAL * expected)
        before = np.stack([values_at(cells, self._cells, self._sums[:, column]) for column in range(2)], axis=1)
        ring = np.zeros(len(cells))
        rows = np.flatnonzero(before[:, 0] + own > CANDIDATE_NATS)
        if len(rows):
            near = _nearest(cells, watched.means, rows, self._region.cell_bits)
            near_expected = USUAL * np.maximum(watched.means[near].sum(axis=1), LEAST_EXPECTED)
            spilt = SPILL * np.maximum(counts[rows] - USUAL * expected[rows], 0.0)
            ring[rows] = spilt - counts[near].sum(axis=1) * np.log1p(spilt / near_expected)
            ring[rows] /= 1.0 + DISPERSION * near_expected
        sums = np.clip(before + np.stack([own, ring], axis=1), 0.0, MOST_EVIDENCE)
        sums[sums[:, 0] == 0.0] = 0.0
        kept = sums[:, 0] > 0.0
        self._cells, self._sums = cells[kept], sums[kept]
        fires = np.minimum(sums[:, 0], RING_WEIGHT * sums[:, 1]) > self._threshold
        return self._told(cells[fires], watched)

    def _told(self, firing: UInt64s, watched: WatchedSlot) -> list[Signal]:
        was, since = self._firing, np.full(len(firing), watched.slot)
        known = np.isin(firing, was)
        since[known] = self._since[np.searchsorted(was, firing[known])]
        changed = np.setxor1d(firing, was)
        begun = {**dict(zip(was.tolist(), self._since.tolist(), strict=True)), **dict(zip(firing.tolist(), since.tolist(), strict=True))}
        self._firing, self._since = firing, since
        signals = []
        for cell in changed.tolist():
            name = str(cell_texts(np.array([cell], np.uint64), self._region.precision)[0])
            rows = watched.cells == cell
            rides, forecast = float(watched.counts[rows].sum()), float(watched.means[rows].sum())
            signals.append(
                signal_of(
                    self._said,
                    self._region,
                    watched,
                    f"cell:{name}",
                    firing=cell in firing,
                    since=begun[cell],
                    value=rides,
                    threshold=FACTOR * forecast,
                    message=f"{rides:.0f} rides in cell {name}, {forecast:.1f} were forecast; its neighbours have no more than usual.",
                    cells=(name,),
                )
            )
        return signals

    def use(self, threshold: Threshold) -> None:
        """From the next judgement on, fire above this threshold."""
        self._threshold = threshold.value

    def arrays(self) -> Arrays:
        """All of its state."""
        return {"cells": self._cells, "sums": self._sums, "firing": self._firing, "since": self._since}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a state."""
        self._cells, self._sums = arrays["cells"], arrays["sums"]
        self._firing, self._since = arrays["firing"], arrays["since"]


def _nearest(cells: UInt64s, means: Float64s, rows: npt.NDArray[np.intp], bits: int) -> npt.NDArray[np.intp]:
    """Rows of the nearest cells of some cells: intp[rows, at most NEAREST]."""
    lat, lon = centres(cells, bits)
    apart = (lat[rows, None] - lat) ** 2 + (lon[rows, None] - lon) ** 2
    apart[:, means < LEAST_MEAN] = np.inf
    apart[np.arange(len(rows)), rows] = np.inf
    return np.argsort(apart, axis=1, kind="stable")[:, :NEAREST]
