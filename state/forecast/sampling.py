"""Which rows a model is trained on: history is replayed slot by slot, with the same feature build as in the stream.

A hash of the slot's number decides whether a slot is sampled, so that the sample depends neither on order nor
on the state of a random generator.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from schemas.events.rides import Float32s, Float64s, Int64s, UInt64s
from schemas.regions import Region
from state.demand.calendar import Calendar
from state.demand.covariates import NONE_KNOWN, Covariates
from state.demand.feature_table import FeatureTable
from state.demand.features import build
from state.demand.history import CountHistory
from state.demand.seasons import profile
from state.models.quiet import quiet_cells, quiet_parts

MOST_WARM_SHARE = 0.25  # of the slots, when there are few
SLACK = 1.25  # rows may exceed the requested number by this factor: halving at the first excess row would leave only half
QUIET_SHARE = 0.1  # of the sampled slots, as quiet cells are many

NO_INTS: Int64s = np.empty(0, np.int64)
NO_CELLS: UInt64s = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class KnownSlot:
    """One slot of history: the rides counted at its cut, and late rides of earlier slots.

    Attributes:
        cells, counts: uint64[n], int64[n], each cell once.
        observed, whole: As in `CountHistory.close`.
        late_slots, late_cells, late_counts: int64[m], uint64[m], int64[m].
        beside: The same slot of the region's other measures, by name; the same names in every slot.
    """

    slot: int
    cells: UInt64s
    counts: Int64s
    observed: bool = True
    late_slots: Int64s = field(default_factory=lambda: NO_INTS)
    late_cells: UInt64s = field(default_factory=lambda: NO_CELLS)
    late_counts: Int64s = field(default_factory=lambda: NO_INTS)
    whole: bool | None = None
    beside: "Mapping[str, KnownSlot]" = field(default_factory=dict)

    def add_to(self, history: CountHistory) -> None:
        """Take the slot into a history, as the region's fold does."""
        if len(self.late_slots):
            history.correct(self.late_slots, self.late_cells, self.late_counts)
        history.close(self.slot, self.cells, self.counts, observed=self.observed, whole=self.whole)


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """How much is sampled, and from when.

    Attributes:
        most_rows: Size of the sample; up to `SLACK` times as many rows are kept.
        warm_days: No row of the first days: they have no profile yet.
        most_days: No row of earlier days.
        slots_per_hour: At most this many slots of an hour, on average.
        enough_rows: A region whose slots have fewer rows uses more of them: slots close by say little new, but not nothing.
    """

    most_rows: int
    warm_days: int
    most_days: int
    slots_per_hour: float
    enough_rows: int = 60_000


@dataclass(frozen=True, slots=True)
class SampledRows:
    """Sampled rows: slots int64[n], truth float64[n, h] (NaN where a window was not counted whole) and model inputs."""

    slots: Int64s
    truth: Float64s
    features: Float32s  # [n, f], or [0, f] for quiet rows
    baseline: Float64s  # [n, h]
    parts: Float64s  # [n, 3, h], quiet rows only


@dataclass(slots=True)
class _Piece:
    """The sampled rows of one slot; their truth is filled in later."""

    slot: int
    cells: UInt64s
    truth: Float64s
    features: Float32s
    baseline: Float64s
    parts: Float64s


class _Rows:
    def __init__(self, horizons: int, features: int) -> None:
        self.pieces: dict[int, _Piece] = {}
        self.n = 0
        self._horizons, self._features = horizons, features

    def add(self, piece: _Piece) -> None:
        self.pieces[piece.slot] = piece
        self.n += len(piece.cells)

    def keep(self, wanted: Callable[[int], bool]) -> None:
        self.pieces = {slot: piece for slot, piece in self.pieces.items() if wanted(slot)}
        self.n = sum(len(piece.cells) for piece in self.pieces.values())

    def columns(self) -> SampledRows:
        pieces = list(self.pieces.values())
        h = self._horizons
        empty = _Piece(0, NO_CELLS, np.empty((0, h)), np.empty((0, self._features), np.float32), np.empty((0, h)), np.empty((0, 3, h)))
        self.pieces = {}
        return SampledRows(
            slots=np.concatenate([NO_INTS, *(np.full(len(p.cells), p.slot, np.int64) for p in pieces)]),
            **{
                name: np.concatenate([getattr(empty, name), *(getattr(piece, name) for piece in pieces)])
                for name in ("truth", "features", "baseline", "parts")
            },
        )


class Sampler:
    """Replays history and keeps rows of some slots; halves the share of slots whenever there are too many rows.

    Args:
        first_slot, until_slot: The data; no window of a row ends later.
        table: The columns of a row.
        covariates: Of the region; a row has what was known at the end of its slot.
    Attributes:
        busy, quiet: Rows of cells with a model of their own, and of quiet cells.
    """

    def __init__(
        self,
        region: Region,
        first_slot: int,
        until_slot: int,
        table: FeatureTable,
        plan: SamplePlan,
        seed: int,
        covariates: Covariates = NONE_KNOWN,
    ) -> None:
        self.covariates = covariates
        self.region, self.table, self.plan, self.seed = region, table, plan, seed
        self.calendar = Calendar(region)
        self.history = CountHistory(region, tracked=table.tracked, older=table.older)
        self.busy, self.quiet = _Rows(len(region.horizons), len(table)), _Rows(len(region.horizons), len(table))
        span, day = until_slot - first_slot, self.calendar.day_slots
        warm = min(plan.warm_days * day, int(MOST_WARM_SHARE * span))
        self.start = max(first_slot + warm, until_slot - plan.most_days * day)
        self.until = until_slot
        self.share = 0.0  # of slots; set at the first sampled slot

    def take(self, known: KnownSlot) -> None:
        """Fold one slot: fill in the truth of earlier rows, then add rows of this slot if it is sampled."""
        history, slot = self.history, known.slot
        known.add_to(history)
        if known.beside.keys() != history.beside.keys():
            history.beside = {name: CountHistory(self.region, tracked=self.table.tracked, older=self.table.older) for name in known.beside}
        for name, other in known.beside.items():
            other.add_to(history.beside[name])
        for i, h in enumerate(self.region.horizons):
            for rows in (self.busy, self.quiet):
                piece = rows.pieces.get(slot - h)
                if piece is not None and history.whole(slot - h + 1, slot + 1):
                    piece.truth[:, i] = history.window(slot - h + 1, slot + 1, history.columns_of(piece.cells))
        if slot >= self.start and slot + self.region.horizons[-1] < self.until:
            self._sample(slot)

    def _sample(self, slot: int) -> None:
        if self.share and _chance(slot, self.seed) >= self.share:
            return
        history = self.history
        columns = history.universe(slot)
        quiet = quiet_cells(history, self.calendar, slot, columns)
        own, others = columns[~quiet], columns[quiet]
        if not self.share:
            # The number of these cells rarely grows much; where it does, the halving below bounds the rows.
            rows = max(len(own) * (self.until - slot), 1)
            most = max(self.plan.slots_per_hour * self.region.slot_min / 60, self.plan.enough_rows / rows)
            self.share = min(1.0, most, self.plan.most_rows / rows)
        h = len(self.region.horizons)
        features = np.ascontiguousarray(build(history, self.calendar, slot, own, self.table, self.covariates))
        base = profile(history, self.calendar, slot, own, self.region.horizons)
        unknown, none = np.full((len(own), h), np.nan), np.empty((0, len(self.table)), np.float32)
        self.busy.add(_Piece(slot, history.cells[own], unknown, features, base, np.empty((0, 3, h))))
        if _chance(slot, self.seed + 1) < QUIET_SHARE and len(others):
            parts = quiet_parts(history, self.calendar, slot, others, self.region.horizons).transpose(2, 0, 1)
            self.quiet.add(_Piece(slot, history.cells[others], np.full((len(others), h), np.nan), none, np.empty((0, h)), parts))
        while self.busy.n > SLACK * self.plan.most_rows:
            self.share /= 2
            self.busy.keep(lambda kept: _chance(kept, self.seed) < self.share)
            self.quiet.keep(lambda kept: _chance(kept, self.seed) < self.share)


def _chance(slot: int, seed: int) -> float:
    """A number in [0, 1) that depends on slot and seed only (the finaliser of splitmix64)."""
    x = (slot * 0x9E3779B97F4A7C15 + seed * 0xD1B54A32D192ED03) % 2**64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    return (x ^ x >> 31) / 2**64
