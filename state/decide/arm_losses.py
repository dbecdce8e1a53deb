"""Losses of the two arms of an experiment, from what was served and what came true: one difference per block of time.

The loss of a cell and slot is that of the served number less that of the baseline, summed over the horizons; a horizon of h
minutes counts 1 / sqrt(h) for absolute and 1 / h for squared errors, since counts of longer windows vary more.
"""

from dataclasses import dataclass, field

import numpy as np

from schemas.errors import ContractError
from schemas.events.rides import Bools, Float64s, Int64s, UInt64s
from schemas.forecasts.chunks import ForecastColumns
from schemas.records.records import FALLBACKS, ExperimentStarted, Fallback
from schemas.regions import Region
from state.counting.slots import ClosedSlot
from state.decide.experiments import ConfidenceSequence, Finding, confidence_sequence, differences
from state.decide.paired import WHOLE_SHARE
from state.forecast.arms import design_of
from state.forecast.region import counted_whole

MILLI = 1000.0
OWN = FALLBACKS.index(Fallback.NONE)
ABSOLUTE, SQUARE = "absolute", "square"
LOSSES = {ABSOLUTE: "absolute error of the median", SQUARE: "squared error of the mean"}
CHAMPION, CHALLENGER = 0, 1
PARTS = ("forecasts", "rides", "absolute", "baseline_absolute", "square", "baseline_square")  # of `ArmLosses.totals`


@dataclass(slots=True)
class _Block:
    """Sums over one block: net losses of clusters, and how many issues were scored per horizon."""

    issues: Int64s
    clusters: UInt64s = field(default_factory=lambda: np.empty(0, np.uint64))
    net: Float64s = field(default_factory=lambda: np.empty(0))
    gross: Float64s = field(default_factory=lambda: np.empty(0))

    def add(self, clusters: UInt64s, net: Float64s, gross: Float64s) -> None:
        """Add the losses of some cells."""
        every, at = np.unique(np.concatenate([self.clusters, clusters]), return_inverse=True)
        self.net = np.bincount(at, np.concatenate([self.net, net]), len(every)).astype(np.float64)
        self.gross = np.bincount(at, np.concatenate([self.gross, gross]), len(every)).astype(np.float64)
        self.clusters = every


@dataclass(frozen=True, slots=True)
class Compared:
    """What an experiment says after its last block.

    Attributes:
        blocks: int64[n], that were compared, ascending.
        sequence: Of the change of the loss by the challenger, relative to the champion's mean loss; after each block.
        totals: float64[horizons, 2 arms, PARTS], of all that was scored.
    """

    blocks: Int64s
    sequence: ConfidenceSequence
    totals: Float64s

    @property
    def finding(self) -> Finding:
        """About the challenger."""
        return self.sequence.finding

    @property
    def at(self) -> int:
        """The look that is reported: the one that decided, else the last; -1 for none."""
        decided = self.sequence.decided
        return len(self.blocks) - 1 if decided is None else decided

    def sentence(self) -> str:
        """The finding in words."""
        if self.at < 0:
            return "no block has been compared yet"
        mean, low, high = (100.0 * float(values[self.at]) for values in (self.sequence.mean, self.sequence.lower, self.sequence.upper))
        said = f"after {self.at + 1} blocks"
        if self.finding is Finding.BETTER:
            return f"B is better by {-mean:.1f} % ({-high:.1f} to {-low:.1f}), {said}"
        if self.finding is Finding.WORSE:
            return f"B is worse by {mean:.1f} % ({low:.1f} to {high:.1f}), {said}"
        bounds = "" if np.isinf(low) else f"; the change of the loss by B is between {low:+.1f} and {high:+.1f} %"
        return f"no difference seen yet, {said}{bounds}"


class ArmLosses:
    """Follows a region's slots from the start of an experiment.

    Args:
        region: Its definition.
        measure: Number of the measure in the region.
        started: The experiment.
    """

    def __init__(self, region: Region, measure: int, started: ExperimentStarted) -> None:
        self.region, self.measure, self.started = region, measure, started
        self.design = design_of(started)
        self.totals: Float64s = np.zeros((len(region.horizons), 2, len(PARTS)))
        self.next_slot = -1
        self._blocks: dict[int, _Block] = {}
        self._issues: dict[int, ForecastColumns] = {}
        self._counts: dict[int, list[tuple[UInt64s, Int64s]]] = {}  # slot -> cells and rides, as counted and as corrected
        self._whole: dict[int, bool] = {}

    def take(self, closed: ClosedSlot, status: str, version: int, served: ForecastColumns | None) -> None:
        """Add one slot: score the issues whose window ended with it, and keep its own.

        Args:
            closed: The next slot.
            status: As recorded with it.
            version: Of the fold that closed it.
            served: What was served at its cut; None if the experiment did not serve, or its numbers are gone.
        Raises:
            ContractError: it is not the next slot.
        """
        slot = closed.slot
        if self.next_slot not in (-1, slot):
            raise ContractError(f"experiment {self.started.experiment}: expected slot {self.next_slot}, got {slot}")
        late, now = closed.corrections[self.measure], closed.counts[self.measure]
        for old in self._counts:
            mine = late.slots == old
            self._counts[old].append((late.cells[mine], late.counts[mine]))
        self._counts[slot] = [(now.cells, now.counts)]
        self._whole[slot] = counted_whole(status, version)
        for i, h in enumerate(self.region.horizons):
            issued = self._issues.get(slot - h)
            if issued is not None and all(self._whole.get(of, False) for of in range(slot - h + 1, slot + 1)):
                self._score(slot - h, i, issued, self._truth(issued.cells, slot - h + 1, slot + 1))
        longest = self.region.horizons[-1]
        for kept in (self._counts, self._whole, self._issues):
            kept.pop(slot - longest, None)
        if served is not None:
            self._issues[slot] = served
        self.next_slot = slot + 1

    def _truth(self, cells: UInt64s, from_slot: int, until_slot: int) -> Int64s:
        """Rides of cells in [from, until), as known now: int64[n]."""
        truth = np.zeros(len(cells), np.int64)
        for slot in range(from_slot, until_slot) if len(cells) else ():
            for some, counts in self._counts[slot]:
                at = np.minimum(np.searchsorted(cells, some), len(cells) - 1)
                known = cells[at] == some
                np.add.at(truth, at[known], counts[known])
        return truth

    def _score(self, slot: int, i: int, issued: ForecastColumns, truth: Int64s) -> None:
        started, design = self.started, self.design
        if slot % design.block_slots < started.washout_slots:
            return
        block = self._blocks.setdefault(slot // design.block_slots, _Block(np.zeros(len(self.region.horizons), np.int64)))
        block.issues[i] += 1
        own = issued.fallback == OWN
        challenged = design.challenged(issued.cells, slot)
        rides = truth.astype(np.float64)
        mean, median, baseline = (part[:, i] / MILLI for part in (issued.mean, issued.median, issued.baseline))
        parts = (np.ones(len(rides)), rides, np.abs(rides - median), np.abs(rides - baseline), (rides - mean) ** 2, (rides - baseline) ** 2)
        for arm, rows in ((CHAMPION, own & ~challenged), (CHALLENGER, own & challenged)):
            self.totals[i, arm] += [float(part[rows].sum()) for part in parts]
        served, naive = parts[2:4] if started.loss == ABSOLUTE else parts[4:6]
        minutes = self.region.horizons_min[i]
        weight = 1.0 / (np.sqrt(minutes) if started.loss == ABSOLUTE else minutes)
        block.add(design.clusters(issued.cells[own]), weight * (served - naive)[own], weight * served[own])

    def compared(self) -> Compared:
        """What can be said after every block that has ended; blocks of which too little was scored are left out."""
        numbers, values, gross, of_champion = [], [], 0.0, 0
        for number in sorted(self._blocks):
            block = self._blocks[number]
            if not self._is_whole(number, block):
                continue
            challenged = self._challenged(number, block.clusters)
            numbers.append(number)
            values.append(float(differences(block.net, challenged)) if len(challenged) else float("nan"))
            gross += float(block.gross[~challenged].sum())
            of_champion += int((~challenged).sum())
        known = ~np.isnan(np.array(values, np.float64))
        scale = gross / of_champion if gross > 0.0 else 1.0  # one number for all blocks: it does not change what is decided
        sequence = confidence_sequence(np.array(values, np.float64)[known] / scale)
        return Compared(np.array(numbers, np.int64)[known], sequence, self.totals)

    def _challenged(self, block: int, clusters: UInt64s) -> Bools:
        cells = clusters << np.uint64(5 * self.design.levels)
        return self.design.challenged(cells, block * self.design.block_slots)

    def _is_whole(self, number: int, block: _Block) -> bool:
        """Whether every window of a block has ended, and nearly all were scored."""
        slots = self.design.block_slots
        ended = (number + 1) * slots + self.region.horizons[-1] <= self.next_slot
        return ended and bool((block.issues >= WHOLE_SHARE * (slots - self.started.washout_slots)).all())
