"""The two arms of an experiment: which cells the challenger serves at a slot, and the forecaster of its arm.

Cells are grouped in clusters, time in blocks, and every cluster is assigned anew in every block (a switchback). The assignment is
a hash: whoever knows the experiment knows it, at any time and in any process.

While an experiment runs, each arm has corrections of its own, which learn at every close from what its model forecast for all
cells. So each arm serves what it would serve alone: with common corrections, a bias of one arm would be corrected in the other.

What the challenger's forecaster raises is raised again as `ArmFailed`, which names the experiment: the run stops that experiment on
record and folds the slot again, served by the champion.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np

from schemas.errors import Fault, RidecastError, UsageError, fault_of
from schemas.events.rides import Bools, Float64s, UInt64s
from schemas.forecasts.chunks import ForecastColumns
from schemas.records.records import FALLBACKS, ExperimentStarted, Fallback
from state.demand.history import Arrays, CountHistory
from state.models.protocol import SlotView

MOST_LEVELS = 3
UNIT_BITS = 53
MILLI = 1000.0
ARMS_SINCE = 5  # version of the fold from which a challenger may serve some of the cells
BLAMED_SINCE = 6  # version of the fold from which a failure of the challenger's arm ends its experiment, and holds no region
ARM = "arm."  # prefix of the names of the arrays of the challenger's forecaster


class Arm(StrEnum):
    """Which model serves a cell in a block."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How an experiment assigns cells.

    Attributes:
        name: Its seed; another one gives another assignment.
        share_milli: Share of the clusters that the challenger serves in a block, 1/1000.
        block_slots: Length of a block; a block is numbered slot // block_slots.
        levels: A cluster is all cells with the same geohash but for its last so many letters; 0: each cell is one.
    """

    name: str
    share_milli: int = 500
    block_slots: int = 12
    levels: int = 0

    def __post_init__(self) -> None:
        if not self.name:
            raise UsageError("experiment: expected a name, got an empty text")
        for what, low, value, high in (
            ("share_milli", 1, self.share_milli, 999),
            ("block_slots", 1, self.block_slots, 2_016),
            ("levels", 0, self.levels, MOST_LEVELS),
        ):
            if not low <= value <= high:
                raise UsageError(f"experiment {self.name}: {what}: expected {low} to {high}, got {value}")

    def clusters(self, cells: UInt64s) -> UInt64s:
        """The cluster of each cell: uint64[n]."""
        return cells >> np.uint64(5 * self.levels)

    def challenged(self, cells: UInt64s, slot: int) -> Bools:
        """Which cells the challenger serves at a slot: bool[n]; depends on the design, the cell and the slot alone.

        >>> design = Design(name="trees", levels=1)
        >>> one, other = (design.challenged(np.array(cells, np.uint64), slot) for cells, slot in (([640, 641], 7), ([671, 640], 11)))
        >>> one.tolist() == other.tolist()
        True
        """
        key = int.from_bytes(hashlib.sha256(self.name.encode("utf-8")).digest()[:8], "big")
        block = mixed(np.array([key ^ (slot // self.block_slots)], np.uint64))
        unit = mixed(self.clusters(cells) ^ block) >> np.uint64(64 - UNIT_BITS)
        return np.asarray(unit < np.uint64((self.share_milli << UNIT_BITS) // 1000))


def mixed(numbers: UInt64s) -> UInt64s:
    """A bijection of 64-bit numbers whose results look independent: uint64[n].

    Source:
        G. Steele, D. Lea and C. Flood (2014), Fast splittable pseudorandom number generators, OOPSLA: splitmix64.
    """
    x = numbers + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)


def design_of(started: ExperimentStarted) -> Design:
    """How a recorded experiment assigns cells.

    Raises:
        UsageError: a number is out of range.
    """
    return Design(
        name=started.seed,
        share_milli=started.share_milli,
        block_slots=started.block_slots,
        levels=started.levels,
    )


def challenged_rows(started: ExperimentStarted, columns: ForecastColumns, slot: int) -> Bools:
    """Which forecasts of an issue the challenger made: bool[n]."""
    own = columns.fallback == FALLBACKS.index(Fallback.NONE)
    return np.asarray(own & design_of(started).challenged(columns.cells, slot))


class ArmFailed(RidecastError):
    """The challenger's arm of an experiment raised; the error is the cause.

    Attributes:
        started: The experiment.
    """

    def __init__(self, started: ExperimentStarted) -> None:
        super().__init__(f"region {started.region}, {started.measure}: the challenger of experiment {started.experiment} failed")
        self.started = started


@contextmanager
def blaming(started: ExperimentStarted | None, version: int) -> Iterator[None]:
    """Raise what the challenger of an experiment raises as `ArmFailed`, by a version of the fold.

    Raises:
        ArmFailed: from any error that does not heal by itself.
    """
    try:
        yield
    except Exception as error:  # whatever a model's code or artefact raises
        if started is None or version < BLAMED_SINCE or fault_of(error) is Fault.TRANSIENT:
            raise
        raise ArmFailed(started) from error


class Twin(Protocol):
    """A forecaster, as far as the challenger's arm needs it; see `state.forecast.forecast.Forecaster`."""

    def follow(self, version: int) -> None: ...
    def use(self, model: bytes | None) -> None: ...
    def score(self, history: CountHistory, slot: int, settle_slots: int) -> object: ...
    def skip_issue(self, history: CountHistory, slot: int) -> SlotView: ...
    def learn(self, history: CountHistory, slot: int) -> None: ...
    def means_of(self, slot: int) -> Float64s: ...
    def from_arrays(self, arrays: Arrays) -> None: ...
    def to_arrays(self) -> Arrays: ...
    def digest(self) -> bytes: ...


class Arms:
    """The challenger's arm beside a forecaster; without an experiment it does nothing.

    Args:
        make: Makes another forecaster of the same region and measure.
    """

    def __init__(self, make: Callable[[], Twin]) -> None:
        self._make = make
        self._twin: Twin | None = None
        self._started: ExperimentStarted | None = None
        self._kept: Arrays = {}  # of a snapshot, until the challenger is known
        self._version = 0

    def challenge(self, given: tuple[ExperimentStarted, bytes] | None, version: int, own: Callable[[], Arrays]) -> None:
        """Let this experiment and its challenger's artefact be in force from the next close on; None for none.

        Args:
            version: Of the fold.
            own: The state of the champion's forecaster, from which the challenger's goes on when the experiment begins.
        Raises:
            ArmFailed: the challenger cannot be used.
            DamagedError, ContractError: likewise, before version 6 of the fold.
        """
        self._version = version
        if given is None or version < ARMS_SINCE:
            self._started, self._twin, self._kept = None, None, {}
        elif given[0] != self._started:
            started, artefact = given
            with blaming(started, version):
                twin = self._make()
                twin.follow(version)
                twin.use(artefact)
                twin.from_arrays(self._kept if _experiment_in(self._kept) == started.experiment else own())
            self._started, self._twin, self._kept = started, twin, {}
        if self._twin is not None:
            with self._blaming():
                self._twin.follow(version)

    def _blaming(self) -> AbstractContextManager[None]:
        return blaming(self._started, self._version)

    def running(self, slot: int) -> ExperimentStarted | None:
        """The experiment whose arms serve at a slot."""
        started = self._started
        return started if started is not None and started.start_slot <= slot < started.until_slot else None

    def score(self, history: CountHistory, slot: int, settle_slots: int) -> None:
        """Let the challenger's corrections see the errors of the windows that ended with this slot."""
        if self._twin is not None:
            with self._blaming():
                self._twin.score(history, slot, settle_slots)

    def serve(self, history: CountHistory, slot: int, cells: UInt64s, own: Bools, means: Float64s) -> SlotView | None:
        """Put the challenger's means where it serves.

        Args:
            cells: uint64[n], to be forecast.
            own: bool[n], which of them the champion serves with its own model.
            means: float64[n, n_horizons], those of the champion; changed in place.
        Returns:
            What the challenger's model saw; None if no arms serve.
        """
        if self._twin is None:
            return None
        with self._blaming():
            view = self._twin.skip_issue(history, slot)
        started = self.running(slot)
        if started is None:
            return None
        rows = np.flatnonzero(own & design_of(started).challenged(cells, slot))
        with self._blaming():
            means[rows] = self._twin.means_of(slot)[rows]
        return view

    def learn(self, history: CountHistory, slot: int) -> None:
        """Let the challenger's corrections learn from the windows that ended with this slot."""
        if self._twin is not None:
            with self._blaming():
                self._twin.learn(history, slot)

    def to_arrays(self) -> Arrays:
        """The challenger's state; empty without an experiment."""
        if self._twin is None or self._started is None:
            return {ARM + name: array for name, array in self._kept.items()}
        arrays = self._twin.to_arrays() | {"experiment": np.frombuffer(self._started.experiment.encode(), np.uint8)}
        return {ARM + name: array for name, array in arrays.items()}

    def from_arrays(self, arrays: Arrays) -> None:
        """Restore what `to_arrays` returned, among other arrays, when `challenge` names the same experiment."""
        self._started, self._twin = None, None
        self._kept = {name.removeprefix(ARM): array for name, array in arrays.items() if name.startswith(ARM)}

    def digest(self) -> bytes:
        """SHA-256 over the challenger's state; empty without an experiment."""
        with self._blaming():
            return self._twin.digest() if self._twin is not None else b""


def _experiment_in(arrays: Arrays) -> str:
    return arrays["experiment"].tobytes().decode() if "experiment" in arrays else ""
