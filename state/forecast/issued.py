"""What was issued and still waits for its truth."""

import hashlib
from dataclasses import dataclass

import numpy as np

from schemas.events.rides import Float64s, Int64s, UInt8s, UInt64s
from schemas.forecasts.chunks import NUMBERS, ForecastColumns
from state.demand.history import Arrays, CountHistory


@dataclass(frozen=True, slots=True)
class Issued:
    """The forecasts that were issued at one slot's cut, and what the online learner needs to learn from them.

    Attributes:
        own: int64[m], rows of the cells with their own model.
        means: float64[m, h], their means before correction.
        inputs: float64[m, h, k], what the online learner saw of them.
        predicted: float64[m, h], the standardised error that it predicted.
    """

    slot: int
    columns: ForecastColumns
    own: Int64s
    means: Float64s
    inputs: Float64s
    predicted: Float64s


class IssuedQueue:
    """Issues in order of slots, each with its place in the history's columns."""

    def __init__(self, horizons_min: tuple[int, ...], inputs: int) -> None:
        self._horizons_min = horizons_min
        self._inputs = inputs
        self._issues: dict[int, Issued] = {}
        self._places: dict[int, tuple[int, Int64s]] = {}  # slot -> (generation, columns), a cache
        self._digests: dict[int, bytes] = {}  # slot -> digest, a cache

    def push(self, issued: Issued, history: CountHistory, columns: Int64s) -> None:
        """Keep an issue; `columns` are those of its cells in the history."""
        self._issues[issued.slot] = issued
        self._places[issued.slot] = history.generation, columns
        self._digests.pop(issued.slot, None)

    def at(self, slot: int) -> Issued | None:
        """What was issued at a slot, if it is still kept."""
        return self._issues.get(slot)

    def columns(self, slot: int, history: CountHistory) -> Int64s:
        """Columns in the history of the cells that were issued at a slot; -1 for one that it forgot."""
        generation, columns = self._places.get(slot, (-1, np.empty(0, np.int64)))
        if generation != history.generation:
            columns = history.columns_of(self._issues[slot].columns.cells)
            self._places[slot] = history.generation, columns
        return columns

    def forget_inputs(self, slot: int) -> None:
        """Nobody learns from the issue of this slot any more; its numbers still wait to settle."""
        issued = self._issues.get(slot)
        if issued is not None:
            h = len(self._horizons_min)
            none = np.empty((0, h))
            self._issues[slot] = Issued(slot, issued.columns, np.empty(0, np.int64), none, np.empty((0, h, self._inputs)), none)

    def drop_before(self, slot: int) -> None:
        """Forget issues of slots before this one."""
        for old in [kept for kept in self._issues if kept < slot]:
            del self._issues[old]
            self._places.pop(old, None)
            self._digests.pop(old, None)

    def to_arrays(self) -> Arrays:
        """All issues as one set of columns."""
        issues = list(self._issues.values())
        n = len(self._horizons_min)
        arrays: Arrays = {
            "issued_slot": np.array([issue.slot for issue in issues], np.int64),
            "issued_size": np.array([len(issue.columns) for issue in issues], np.int64),
            "issued_cell": np.concatenate([np.empty(0, np.uint64), *(issue.columns.cells for issue in issues)]),
            "issued_fallback": np.concatenate([np.empty(0, np.uint8), *(issue.columns.fallback for issue in issues)]),
        }
        for name in NUMBERS:
            parts = [np.empty((0, n), np.int64), *(getattr(issue.columns, name) for issue in issues)]
            arrays[f"issued_{name}"] = np.concatenate(parts).astype(np.int32)
        for name, shape in (("own", (0,)), ("means", (0, n)), ("inputs", (0, n, self._inputs)), ("predicted", (0, n))):
            kind = np.int64 if name == "own" else np.float64
            arrays[f"issued_{name}"] = np.concatenate([np.empty(shape, kind), *(getattr(issue, name) for issue in issues)])
        arrays["issued_owns"] = np.array([len(issue.own) for issue in issues], np.int64)
        return arrays

    def from_arrays(self, arrays: Arrays) -> None:
        """Become the queue whose `to_arrays` gave these."""
        self._issues, self._places, self._digests = {}, {}, {}
        ends = np.cumsum(arrays["issued_size"].astype(np.int64)).tolist()
        cells: UInt64s = arrays["issued_cell"].astype(np.uint64)
        fallback: UInt8s = arrays["issued_fallback"].astype(np.uint8)
        numbers = {name: arrays[f"issued_{name}"].astype(np.int64) for name in NUMBERS}
        own, means, inputs, predicted = (arrays[f"issued_{name}"] for name in ("own", "means", "inputs", "predicted"))
        owns = np.cumsum(arrays["issued_owns"].astype(np.int64)).tolist()
        start = first = 0
        for slot, end, until in zip(arrays["issued_slot"].tolist(), ends, owns, strict=True):
            here, mine = slice(start, end), slice(first, until)
            values = {name: column[here] for name, column in numbers.items()}
            columns = ForecastColumns(cells=cells[here], horizons_min=self._horizons_min, fallback=fallback[here], **values)
            self._issues[slot] = Issued(
                slot,
                columns,
                own[mine].astype(np.int64),
                means[mine].astype(np.float64),
                inputs[mine].astype(np.float64),
                predicted[mine].astype(np.float64),
            )
            start, first = end, until

    def digest(self) -> bytes:
        """SHA-256 over the issues: cells, means, baselines and fallbacks, from which the other columns follow."""
        for slot, issue in self._issues.items():
            if slot not in self._digests:
                columns = issue.columns
                parts = (columns.cells, columns.mean, columns.baseline, columns.fallback)
                head = f"{slot} {len(columns)}\n".encode()
                self._digests[slot] = hashlib.sha256(head + b"".join(part.tobytes() for part in parts)).digest()
        return hashlib.sha256(b"".join(self._digests[slot] for slot in sorted(self._issues))).digest()
