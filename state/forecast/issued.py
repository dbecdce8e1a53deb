"""Issued forecasts whose truth is not settled yet."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from schemas.events.rides import Int64s, UInt8s, UInt64s
from schemas.forecasts.chunks import NUMBERS, ForecastColumns
from schemas.records.records import BandLevels, HorizonSpread
from state.demand.history import Arrays, CountHistory
from state.models.protocol import Correction
from state.models.table import CorrectorRow


@dataclass(frozen=True, slots=True)
class Issued:
    """The forecasts issued at one slot's cut, and the data that correctors need to learn from them.

    Attributes:
        own: int64[m], rows of the corrected cells: those with their own model.
        corrections: Inputs and outputs of each active corrector for these cells, by the name of its row.
        spread: The predictive distributions of the horizons, with bands; empty in versions of the fold that have none.
    """

    slot: int
    columns: ForecastColumns
    own: Int64s
    corrections: Mapping[str, Correction] = field(default_factory=dict)
    spread: tuple[HorizonSpread, ...] = ()


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
            self._issues[slot] = Issued(slot, issued.columns, np.empty(0, np.int64), spread=issued.spread)

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
        return arrays | _spread_to_arrays(issues)

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
        spreads = _spread_from_arrays(arrays, self._horizons_min)
        start = first = 0
        for i, (slot, end, until) in enumerate(zip(arrays["issued_slot"].tolist(), ends, owns, strict=True)):
            here = slice(start, end)
            values = {name: column[here] for name, column in numbers.items()}
            columns = ForecastColumns(cells=cells[here], horizons_min=self._horizons_min, fallback=fallback[here], **values)
            of_slot = {name: parts[i] for name, parts in corrections.items() if len(parts[i].means)}
            self._issues[slot] = Issued(slot, columns, own[first:until], of_slot, spreads[i])
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
        """SHA-256 over the issues: cells, means, baselines and fallbacks, which determine the other columns.

        With bands, dispersions and levels too: they depend on errors of before.
        """
        for slot, issue in self._issues.items():
            if slot not in self._digests:
                columns = issue.columns
                parts: list[npt.NDArray[np.generic]] = [columns.cells, columns.mean, columns.baseline, columns.fallback]
                if issue.spread:
                    parts += [columns.dispersion, _levels_of(issue.spread)]
                head = f"{slot} {len(columns)}\n".encode()
                self._digests[slot] = hashlib.sha256(head + b"".join(part.tobytes() for part in parts)).digest()
        return hashlib.sha256(b"".join(self._digests[slot] for slot in sorted(self._issues))).digest()


def _levels_of(spread: tuple[HorizonSpread, ...]) -> Int64s:
    """int64[n_horizons, n_bands, 4]: start and levels of each band."""
    bands = [[(b.from_milli, b.lower_milli, b.median_milli, b.upper_milli) for b in of.bands] for of in spread]
    return np.array(bands, np.int64)


def _spread_to_arrays(issues: Sequence[Issued]) -> Arrays:
    """Distributions of the issues that have bands; none if no issue has."""
    banded = [issue for issue in issues if issue.spread]
    if not banded:
        return {}
    stated = [[(s.dispersion_milli, s.quiet_dispersion_milli, s.lower_milli, s.upper_milli) for s in issue.spread] for issue in banded]
    return {
        "issued_banded": np.array([bool(issue.spread) for issue in issues], np.bool_),
        "issued_stated": np.array(stated, np.int64),
        "issued_levels": np.stack([_levels_of(issue.spread) for issue in banded]),
    }


def _spread_from_arrays(arrays: Arrays, horizons_min: tuple[int, ...]) -> list[tuple[HorizonSpread, ...]]:
    """The distributions of each issue; empty for one without bands."""
    if "issued_banded" not in arrays:
        return [()] * len(arrays["issued_slot"])
    rest = zip(arrays["issued_stated"].tolist(), arrays["issued_levels"].tolist(), strict=True)
    return [_spread_of(horizons_min, *next(rest)) if banded else () for banded in arrays["issued_banded"].tolist()]


def _spread_of(horizons_min: tuple[int, ...], stated: list[list[int]], levels: list[list[list[int]]]) -> tuple[HorizonSpread, ...]:
    return tuple(
        HorizonSpread(
            horizon_min=horizon_min,
            dispersion_milli=own,
            quiet_dispersion_milli=quiet,
            lower_milli=lower,
            upper_milli=upper,
            bands=tuple(BandLevels(from_milli=f, lower_milli=a, median_milli=b, upper_milli=c) for f, a, b, c in bands),
        )
        for horizon_min, (own, quiet, lower, upper), bands in zip(horizons_min, stated, levels, strict=True)
    )
