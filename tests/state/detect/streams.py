"""Watched slots of a plain simulated region, with faults, for the tests of detectors."""

import functools
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from schemas.events.cells import cell_code, neighbours as around
from schemas.events.rides import Reason
from schemas.forecasts.watched import Arrived, WatchedSlot
from schemas.regions import load_region

REGION = load_region("nyc")
DAY = 288
LONG_FAULT_DAY = 14  # of streams for detectors that compare weeks
FIRST = 4_664_496  # a slot at midnight in New York
PARTITIONS = 4
EVENTS_PER_RIDE = 5
FAULT_AT = 2 * DAY + 150  # from midday of the third day on
Change = Callable[[int, WatchedSlot], WatchedSlot]


@functools.cache
def cells_of(side: int = 9) -> np.ndarray:
    """A block of neighbouring cells, ascending."""
    cells = np.array([cell_code("dr5ru7")], np.uint64)
    for _ in range(side // 2):
        cells = np.unique(np.concatenate([cells, around(cells, REGION.cell_bits).ravel()]))
    return cells


def stream(days: float, seed: int, change: Change | None = None, demand: Callable[[int], np.ndarray] | None = None) -> list[WatchedSlot]:
    """Slots whose counts are Poisson around a right forecast, with few duplicates and broken events.

    Args:
        change: Takes the number of a slot and the slot; what happens to its events.
        demand: Number of a slot -> factor of each cell's true demand, which the forecast does not know.
    """
    rng, cells = np.random.default_rng(seed), cells_of()
    weight = rng.gamma(1.0, 1.0, len(cells))
    slots = []
    for number in range(round(days * DAY)):
        means = weight * (1.0 - 0.8 * np.cos(2 * np.pi * number / DAY))
        counts = rng.poisson(means * (1.0 if demand is None else demand(number)))
        parts = rng.multinomial(EVENTS_PER_RIDE * int(counts.sum()), np.full(PARTITIONS, 1 / PARTITIONS))
        partitions = {}
        for partition, accepted in enumerate(parts.tolist()):
            duplicate, broken, ahead = rng.poisson(accepted * np.array([0.004, 0.001, 0.001])).tolist()
            rejected = {Reason.UNDECODABLE: broken, Reason.AHEAD_OF_LOG: ahead}
            partitions[partition] = Arrived(
                accepted + duplicate + broken + ahead, accepted, duplicate, {str(reason): number for reason, number in rejected.items()}
            )
        dispersion = np.zeros(len(cells))
        watched = WatchedSlot(FIRST + number, number, True, partitions, cells, counts, means, dispersion, True)
        slots.append(watched if change is None else change(number, watched))
    return slots


def with_rejects(share: float, reason: Reason | None) -> Change:
    """A share of the events is rejected for a reason, or arrives twice without one."""

    def change(number: int, watched: WatchedSlot) -> WatchedSlot:
        if number < FAULT_AT:
            return watched
        return replace(watched, partitions={at: _spoilt(part, share, reason) for at, part in watched.partitions.items()})

    return change


def _spoilt(part: Arrived, share: float, reason: Reason | None) -> Arrived:
    more = round(share * part.accepted)
    if reason is None:
        return replace(part, received=part.received + more, duplicate=part.duplicate + more)
    return replace(part, accepted=part.accepted - more, rejected=part.rejected | {reason: part.rejected.get(reason, 0) + more})


def silent(partitions: range) -> Change:
    """Nothing arrives in some partitions."""

    def change(number: int, watched: WatchedSlot) -> WatchedSlot:
        if number < FAULT_AT:
            return watched
        left = {at: Arrived() if at in partitions else part for at, part in watched.partitions.items()}
        return replace(watched, partitions=left)

    return change


def surge(number: int) -> np.ndarray:
    """Three times the demand in twelve neighbouring cells for two hours."""
    cells = cells_of()
    factor = np.ones(len(cells))
    if FAULT_AT <= number < FAULT_AT + 24:
        centre = cell_code("dr5ru7")
        near = np.concatenate([[np.uint64(centre)], around(np.array([centre], np.uint64), REGION.cell_bits)[0]])
        more = np.setdiff1d(np.unique(around(near, REGION.cell_bits)), near)[:3]
        factor[np.isin(cells, np.concatenate([near, more]))] = 3.0
    return factor


def spoofed(number: int, watched: WatchedSlot) -> WatchedSlot:
    """A tenth of the rides of all cells are reported in one of them."""
    if number < FAULT_AT:
        return watched
    counts = watched.counts.copy()
    at = int(np.searchsorted(watched.cells, np.uint64(cell_code("dr5ru7"))))
    moved = np.random.default_rng(number).binomial(counts, 0.1)
    counts -= moved
    counts[at] += moved.sum()
    return replace(watched, counts=counts)


def late(number: int, watched: WatchedSlot) -> WatchedSlot:
    """A fifth of the rides come after their slots."""
    if number < FAULT_AT:
        return watched
    moved = np.random.default_rng(number).binomial(watched.counts, 0.2)
    return replace(watched, counts=watched.counts - moved, late=int(moved.sum()))


def lower(number: int) -> np.ndarray:
    """Three tenths less demand for good."""
    return np.full(len(cells_of()), 0.7 if number >= LONG_FAULT_DAY * DAY + 150 else 1.0)


def shifted(number: int) -> np.ndarray:
    """Every second cell has less demand, and the others more."""
    cells = np.arange(len(cells_of()))
    return np.where(cells % 2, 1.4, 0.6) if number >= LONG_FAULT_DAY * DAY + 150 else np.ones(len(cells))


def growing(number: int) -> np.ndarray:
    """Four percent more demand every day."""
    return np.full(len(cells_of()), 1.04 ** max(0.0, number / DAY - LONG_FAULT_DAY - 0.5))
