"""Shifts between cells: the shares that cells have of the rides of 24 hours differ from those of the same hours a week ago.

The distance is the sum of squared differences of shares without what chance explains, over the sum of squared shares, so it
does not depend on how many rides there are: 0 for the same shares. The OUTLIERS cells that differ the most are left out,
since a concert or a spoofed position is no shift.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.events.rides import Float64s, UInt64s
from schemas.forecasts.watched import WatchedSlot
from schemas.regions import Region
from state.demand.calendar import Calendar
from state.detect.detector import Arrays, Said, Threshold, signal_of
from state.detect.signals import Severity, Signal

NEVER = 10.0  # no distance is larger
THRESHOLD = 0.02  # distance; a fifth of all demand that moved from half of the cells to the others is 0.16
BLOCK_H = 3
BLOCKS = 8 * 24 // BLOCK_H  # a week and a day
DAY_BLOCKS, WEEK_BLOCKS = 24 // BLOCK_H, 7 * 24 // BLOCK_H
OUTLIERS = 6  # cells
LEAST_RIDES = 1_000  # of 24 hours
LEAST_SHARE = 0.9  # of the slots of a block in which something arrived


class MixDetector:
    """Shifts between the cells of a region.

    Args:
        region: The region.
        threshold: Distance.
    """

    def __init__(self, region: Region, threshold: float = THRESHOLD) -> None:
        self._region, self._threshold, self._calendar = region, threshold, Calendar(region)
        self._said = Said("mix", "mix", Severity.INFO, "distance")
        self._block = 60 * BLOCK_H // region.slot_min  # slots
        self._cells = np.empty(0, np.uint64)
        self._counts = np.zeros((BLOCKS, 0), np.int32)  # the newest block last
        self._whole = np.zeros(BLOCKS)  # slots in which something arrived
        self._at = np.array([-1, 0, -1])  # number of the newest block, whether it fires, slot since when

    def see(self, watched: WatchedSlot) -> list[Signal]:
        """Take the next closed slot."""
        at = watched.slot // self._block
        if at != self._at[0]:
            self._turn(at)
        if watched.arrived.received and not self._calendar.local(watched.slot).holiday:
            some = watched.counts > 0
            places = self._places(watched.cells[some])
            self._counts[-1, places] += watched.counts[some].astype(np.int32)
            self._whole[-1] += 1
        if watched.slot % self._block != self._block - 1:
            return []
        distance = self._distance()
        if distance is None:
            return []
        distance = min(distance, NEVER)
        fires = distance > self._threshold
        if fires == bool(self._at[1]):
            return []
        self._at[1:] = fires, watched.slot if fires else self._at[2]
        words = f"The shares of cells differ from those of a week ago by {distance:.3f}; equal ones would differ by 0."
        return [
            signal_of(
                self._said,
                self._region,
                watched,
                "region",
                firing=fires,
                since=int(self._at[2]),
                value=distance,
                threshold=self._threshold,
                message=words,
            )
        ]

    def _turn(self, at: int) -> None:
        """Begin a block, and forget cells without a ride in all others."""
        moved = BLOCKS if self._at[0] < 0 else min(at - int(self._at[0]), BLOCKS)
        self._counts = np.concatenate([self._counts[moved:], np.zeros((moved, len(self._cells)), np.int32)])
        self._whole = np.concatenate([self._whole[moved:], np.zeros(moved)])
        kept = self._counts.any(axis=0)
        self._cells, self._counts = self._cells[kept], self._counts[:, kept]
        self._at[0] = at

    def _places(self, cells: UInt64s) -> npt.NDArray[np.intp]:
        fresh = np.setdiff1d(cells, self._cells)
        if len(fresh):
            every = np.union1d(self._cells, fresh)
            counts = np.zeros((BLOCKS, len(every)), np.int32)
            counts[:, np.searchsorted(every, self._cells)] = self._counts
            self._cells, self._counts = every, counts
        return np.searchsorted(self._cells, cells)

    def _distance(self) -> float | None:
        now, before = np.arange(BLOCKS - DAY_BLOCKS, BLOCKS), np.arange(BLOCKS - DAY_BLOCKS, BLOCKS) - WEEK_BLOCKS
        usable = (self._whole[now] >= LEAST_SHARE * self._block) & (self._whole[before] >= LEAST_SHARE * self._block)
        if usable.sum() < DAY_BLOCKS - 1:
            return None
        a, b = (self._counts[rows[usable]].sum(axis=0).astype(np.float64) for rows in (now, before))
        if min(a.sum(), b.sum()) < LEAST_RIDES:
            return None
        return distance_of(a, b)

    def use(self, threshold: Threshold) -> None:
        """From the next judgement on, fire above this threshold."""
        self._threshold = threshold.value

    def arrays(self) -> Arrays:
        """All of its state."""
        return {"cells": self._cells.copy(), "counts": self._counts.copy(), "whole": self._whole.copy(), "at": self._at.copy()}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a state."""
        self._cells, self._counts, self._whole, self._at = (arrays[name].copy() for name in ("cells", "counts", "whole", "at"))


def distance_of(now: Float64s, before: Float64s) -> float:
    """How far the shares of cells lie apart, from rides: float64[n] each, without what chance explains.

    >>> round(distance_of(np.full(100, 60.0), np.full(100, 60.0)), 3)
    -0.033
    """
    p, q = now / now.sum(), before / before.sum()
    apart = (p - q) ** 2 - p / now.sum() - q / before.sum()
    kept = np.argsort(apart, kind="stable")[: max(len(apart) - OUTLIERS, 1)]
    scale = float((p[kept] * q[kept]).sum())
    return float(apart[kept].sum() / scale) if scale > 0.0 else 0.0
