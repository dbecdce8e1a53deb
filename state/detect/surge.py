"""Surges: neighbouring cells in which many more rides were counted than forecast; each connected group of cells is one signal.

Each cell gathers evidence of its own. A cell takes part if the evidence of it and its neighbours, the CROWD strongest of them
left out, is above the threshold: where a crowd leaves from a concert, or one cell is spoofed, there are few such cells, and in a
surge there are many. Corrected forecasts follow a surge within a slot or two, so rides are compared with the forecast of LAG slots
before where that expects fewer; half an hour after a forecast has followed a surge, it is no longer unexpected.
"""

from collections.abc import Mapping
from math import log
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.events.cells import cell_texts, neighbours
from schemas.events.rides import Float64s, Int64s, UInt64s
from schemas.forecasts.watched import WatchedSlot
from schemas.regions import Region
from state.detect.detector import Arrays, Said, Threshold, signal_of
from state.detect.signals import Severity, Signal

THRESHOLD_NATS = 8.0  # without the strongest cells, so a bound on nothing: chosen on simulated cities
FACTOR = 2.5  # a surge has so many times the usual rides
USUAL = 1.2  # what is still usual, as a multiple of the forecast
CROWD = 4  # cells
MOST_OF_A_CELL = 4.0  # nats
LAG = 6  # slots: so much older is the forecast that is compared with, if it expects fewer rides
LEAST_EXPECTED = 0.25  # rides of a cell: of fewer, as if there were as many
DISPERSION = 0.05  # of the rides of a cell: variance = mean + DISPERSION x mean^2


class SurgeDetector:
    """Surges of a region. The subject of a group is named for its first cell, and kept while some of its cells take part.

    Args:
        region: The region.
        threshold: Nats.
    """

    def __init__(self, region: Region, threshold: float = THRESHOLD_NATS) -> None:
        self._region, self._threshold = region, Threshold(threshold)
        self._said = Said("surge", "surge", Severity.WARNING, "rides")
        self._cells, self._sums = np.empty(0, np.uint64), np.empty(0, np.float64)
        self._past: list[tuple[UInt64s, Float64s]] = []  # cells and means of the last LAG forecasts, oldest first
        # Of the cells that take part, ascending: the first cell of their group, and the slot since which it fires.
        self._firing, self._groups, self._since = np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64)

    def see(self, watched: WatchedSlot) -> list[Signal]:
        """Take the next closed slot."""
        if not watched.forecast:  # a slot that was not counted whole has less evidence, and none that is wrong
            return []
        past_cells, past_means = self._past[0] if self._past else (watched.cells, watched.means)
        expected = np.maximum(np.minimum(watched.means, values_at(watched.cells, past_cells, past_means)), LEAST_EXPECTED)
        self._past = [*self._past[1 - LAG :], (watched.cells, watched.means)]
        nats = (watched.counts * log(FACTOR / USUAL) - (FACTOR - USUAL) * expected) / (1.0 + DISPERSION * USUAL * expected)
        sums = np.clip(values_at(watched.cells, self._cells, self._sums) + nats, 0.0, MOST_OF_A_CELL)
        kept = sums > 0.0
        self._cells, self._sums = watched.cells[kept], sums[kept]
        around = np.concatenate([self._cells[:, None], neighbours(self._cells, self._region.cell_bits)], axis=1)
        near = np.sort(values_at(around, self._cells, self._sums), axis=1)
        firing = self._cells[near[:, : near.shape[1] - CROWD].sum(axis=1) > _limits(self._threshold, self._cells)]
        return self._told(firing, watched)

    def _told(self, firing: UInt64s, watched: WatchedSlot) -> list[Signal]:
        was, was_of, was_since = self._firing, self._groups, self._since
        if not len(firing) and not len(was):
            return []
        groups, since = np.empty(len(firing), np.uint64), np.full(len(firing), watched.slot)
        taken: set[int] = set()
        for part in connected(firing, self._region.cell_bits):
            before = np.flatnonzero(np.isin(was, firing[part]))
            known = [row for row in before.tolist() if int(was_of[row]) not in taken]
            oldest = min(known, key=lambda row: (int(was_since[row]), int(was_of[row]))) if known else None
            free = firing[part] if oldest is None else was_of[oldest : oldest + 1]
            groups[part] = next((cell for cell in free.tolist() if cell not in taken), int(firing[part][0]))
            since[part] = watched.slot if oldest is None else was_since[oldest]
            taken.add(int(groups[part][0]))
        self._firing, self._groups, self._since = firing, groups, since
        signals = []
        for group in np.union1d(was_of, groups).tolist():
            own, old = firing[groups == group], was[was_of == group]
            if not np.array_equal(own, old):
                begun = since[groups == group] if len(own) else was_since[was_of == group]
                signals.append(self._signal(group, own, old, int(begun[0]), watched))
        return signals

    def _signal(self, group: int, own: UInt64s, old: UInt64s, since: int, watched: WatchedSlot) -> Signal:
        shown = own if len(own) else old
        rows = np.isin(watched.cells, shown)
        rides, forecast = float(watched.counts[rows].sum()), float(watched.means[rows].sum())
        return signal_of(
            self._said,
            self._region,
            watched,
            f"cells:{cell_texts(np.array([group], np.uint64), self._region.precision)[0]}",
            firing=bool(len(own)),
            since=since,
            value=rides,
            threshold=FACTOR * forecast,
            message=f"{rides:.0f} rides in {len(shown)} cells, {forecast:.1f} were forecast.",
            cells=tuple(cell_texts(own, self._region.precision).tolist()),
        )

    def use(self, threshold: Threshold) -> None:
        """From the next slot on, fire above this threshold; a cell above its own, if it has one."""
        self._threshold = threshold

    def arrays(self) -> Arrays:
        """All of its state."""
        past = {
            "past_sizes": np.array([len(cells) for cells, _ in self._past], np.int64),
            "past_cells": np.concatenate([np.empty(0, np.uint64), *(cells for cells, _ in self._past)]),
            "past_means": np.concatenate([np.empty(0, np.float64), *(means for _, means in self._past)]),
        }
        return {"cells": self._cells, "sums": self._sums, "firing": self._firing, "groups": self._groups, "since": self._since} | past

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a state."""
        self._cells, self._sums = arrays["cells"], arrays["sums"]
        self._firing, self._groups, self._since = arrays["firing"], arrays["groups"], arrays["since"]
        edges = np.cumsum(arrays["past_sizes"])[:-1]
        pairs = zip(np.split(arrays["past_cells"], edges), np.split(arrays["past_means"], edges), strict=True)
        self._past = list(pairs) if len(arrays["past_sizes"]) else []


def _limits(threshold: Threshold, cells: UInt64s) -> Float64s:
    """The threshold of each cell, nats: float64[n]."""
    limits = np.full(len(cells), threshold.value)
    for cell, nats in threshold.of_cells.items():
        limits[cells == np.uint64(cell)] = nats
    return limits


def connected(cells: UInt64s, bits: int) -> list[Int64s]:
    """Rows of the cells of each connected group; cells are connected with their eight neighbours.

    >>> from schemas.events.cells import cell_code
    >>> cells = np.sort(np.array([cell_code("dr5ru7"), cell_code("dr5ru6"), cell_code("dr5rkp")], np.uint64))
    >>> [rows.tolist() for rows in connected(cells, 30)]
    [[0], [1, 2]]
    """
    around = neighbours(cells, bits)
    left, groups = set(range(len(cells))), []
    while left:
        ahead, group = [min(left)], []
        left.discard(ahead[0])
        while ahead:
            row = ahead.pop()
            group.append(row)
            more = [other for other in np.flatnonzero(np.isin(cells, around[row])).tolist() if other in left]
            left.difference_update(more)
            ahead += more
        groups.append(np.array(sorted(group)))
    return groups


def values_at(wanted: UInt64s, cells: UInt64s, values: Float64s) -> Float64s:
    """The value of each wanted cell, 0 for one without: float64, of the shape of `wanted`."""
    if not len(cells):
        return np.zeros(wanted.shape)
    place = np.minimum(np.searchsorted(cells, wanted), len(cells) - 1)
    return np.asarray(np.where(cells[place] == wanted, values[place], 0.0), np.float64)
