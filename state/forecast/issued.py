"""Issued forecasts whose truth is not settled yet."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from schemas.events.rides import Int64s, UInt8s, UInt64s
from schemas.forecasts.chunks import NUMBERS, ForecastColumns
from state.demand.history import Arrays, CountHistory
from state.models.protocol import Correction
from state.models.table import CorrectorRow


@dataclass(frozen=True, slots=True)
class Issued:
    """The forecasts issued at one slot's cut, and the data that correctors need to learn from them.

    Attributes:
        own: int64[m], rows of the corrected cells: those with their own model.
        corrections: Inputs and outputs of each active corrector for these cells, by the name of its row.
    """

    slot: int
    columns: ForecastColumns
    own: Int64s
    corrections: Mapping[str, Correction] = field(default_factory=dict)


class IssuedQueue:
    """Issues in order of slots, each with the history's columns of its cells.

    Args:
        horizons_min: Of every issue.
        rows: The active correctors; the owner replaces them when others become active.
    """

    def __init__(self, horizons_min: tuple[int, ...], rows: Sequence[CorrectorRow]) -> None:
        self._horizons_min = horizons_min
        self.rows = rows
        self._issues: dict[int, Issued] = {}
        self._places: dict[int, tuple[int, Int64s]] = {}  # slot -> (generation, columns), a cache
        self._digests: dict[int, bytes] = {}  # slot -> digest, a cache

    def push(self, issued: Issued, history: CountHistory, columns: Int64s) -> None:
        """Add an issue; `columns` are the columns of its cells in the history."""
        self._issues[issued.slot] = issued
        self._places[issued.slot] = history.generation, columns
        self._digests.pop(issued.slot, None)

    def at(self, slot: int) -> Issued | None:
        """The issue of a slot, None if it is no longer kept."""
        return self._issues.get(slot)

    def columns(self, slot: int, history: CountHistory) -> Int64s:
        """Columns in the history of the cells issued at a slot; -1 for a cell that the history dropped."""
        generation, columns = self._places.get(slot, (-1, np.empty(0, np.int64)))
        if generation != history.generation:
            columns = history.columns_of(self._issues[slot].columns.cells)
            self._places[slot] = history.generation, columns
        return columns

    def forget_inputs(self, slot: int) -> None:
        """Drop the corrector data of this slot's issue, which is no longer learned from; keep its numbers until they settle."""
        issued = self._issues.get(slot)
        if issued is not None:
            self._issues[slot] = Issued(slot, issued.columns, np.empty(0, np.int64))

    def drop_before(self, slot: int) -> None:
        """Drop the issues of slots before this one."""
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
        arrays["issued_own"] = np.concatenate([np.empty(0, np.int64), *(issue.own for issue in issues)])
        for row in self.rows:
            arrays |= self._corrections_to_arrays(row)
        arrays["issued_owns"] = np.array([len(issue.own) for issue in issues], np.int64)
        return arrays

    def from_arrays(self, arrays: Arrays) -> None:
        """Restore the queue that `to_arrays` returned."""
        self._issues, self._places, self._digests = {}, {}, {}
        ends = np.cumsum(arrays["issued_size"].astype(np.int64)).tolist()
        cells: UInt64s = arrays["issued_cell"].astype(np.uint64)
        fallback: UInt8s = arrays["issued_fallback"].astype(np.uint8)
        numbers = {name: arrays[f"issued_{name}"].astype(np.int64) for name in NUMBERS}
        own: Int64s = arrays["issued_own"].astype(np.int64)
        # A snapshot from before a corrector was active has no data of it.
        corrections = {row.name: self._corrections_from_arrays(row, arrays) for row in self.rows if row.issued + "owns" in arrays}
        owns = np.cumsum(arrays["issued_owns"].astype(np.int64)).tolist()
        start = first = 0
        for i, (slot, end, until) in enumerate(zip(arrays["issued_slot"].tolist(), ends, owns, strict=True)):
            here = slice(start, end)
            values = {name: column[here] for name, column in numbers.items()}
            columns = ForecastColumns(cells=cells[here], horizons_min=self._horizons_min, fallback=fallback[here], **values)
            of_slot = {name: parts[i] for name, parts in corrections.items() if len(parts[i].means)}
            self._issues[slot] = Issued(slot, columns, own[first:until], of_slot)
            start, first = end, until

    def _corrections_to_arrays(self, row: CorrectorRow) -> Arrays:
        """Corrections of one corrector in all issues; none in issues from before it was active."""
        n = len(self._horizons_min)
        none = Correction(np.empty((0, n)), np.empty((0, n, row.inputs)), np.empty((0, n)))
        corrections = [none, *(issue.corrections.get(row.name, none) for issue in self._issues.values())]
        arrays: Arrays = {}
        for name in ("means", "inputs", "predicted"):
            arrays[row.issued + name] = np.concatenate([getattr(correction, name) for correction in corrections])
        arrays[row.issued + "owns"] = np.array([len(correction.means) for correction in corrections[1:]], np.int64)
        return arrays

    def _corrections_from_arrays(self, row: CorrectorRow, arrays: Arrays) -> list[Correction]:
        """Corrections of one corrector, per issue."""
        ends = np.cumsum(arrays[row.issued + "owns"].astype(np.int64))[:-1]
        names = ("means", "inputs", "predicted")
        parts = (np.split(arrays[row.issued + name].astype(np.float64), ends) for name in names)
        return [Correction(*arrays_of_issue) for arrays_of_issue in zip(*parts, strict=True)]

    def digest(self) -> bytes:
        """SHA-256 over the issues: cells, means, baselines and fallbacks, which determine the other columns."""
        for slot, issue in self._issues.items():
            if slot not in self._digests:
                columns = issue.columns
                parts = (columns.cells, columns.mean, columns.baseline, columns.fallback)
                head = f"{slot} {len(columns)}\n".encode()
                self._digests[slot] = hashlib.sha256(head + b"".join(part.tobytes() for part in parts)).digest()
        return hashlib.sha256(b"".join(self._digests[slot] for slot in sorted(self._issues))).digest()
