"""Training: replays history slot by slot with the same feature build as the stream, samples rows, and fits the models.

A hash of the slot's number decides whether a slot is sampled, so that the sample depends neither on order nor
on the state of a random generator. The last part of the period is held out to measure dispersion and errors;
then the boosters are fitted again on all rows.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from schemas.errors import UsageError
from schemas.events.rides import Float32s, Float64s, Int64s, UInt64s
from schemas.regions import Region
from state.demand.calendar import Calendar
from state.demand.features import FEATURES, NAMES, build
from state.demand.history import CountHistory
from state.demand.seasons import profile
from state.models import boosted
from state.models.intervals import MEDIAN_MILLI, dispersion_of, quantiles
from state.models.quiet import QUIET_PER_15_MIN, QuietMix, fit_mix, quiet_cells, quiet_means, quiet_parts

WARM_DAYS = 4  # a shorter history has too few days for a profile
MOST_WARM_SHARE = 0.25  # of the slots, when there are few
HOLDOUT_SHARE = 0.2
MOST_HOLDOUT_DAYS = 7
MOST_ROWS = 250_000  # New York, April 2014: more rows gained nothing measurable
SLACK = 1.25  # rows may exceed the requested number by this factor: halving at the first excess row would leave only half
LEAST_ROWS = 2_000
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
    """

    slot: int
    cells: UInt64s
    counts: Int64s
    observed: bool = True
    late_slots: Int64s = field(default_factory=lambda: NO_INTS)
    late_cells: UInt64s = field(default_factory=lambda: NO_CELLS)
    late_counts: Int64s = field(default_factory=lambda: NO_INTS)
    whole: bool | None = None


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """Result of training.

    Attributes:
        artefact: For `Forecaster.use`.
        metrics: Errors in the holdout period, per horizon: rmse_<h>, wape_<h>, baseline_..., as numbers.
        rows: How many rows of cells with their own model were fitted.
        first_slot, until_slot: The data, slots [first, until).
        parameters: Everything that the result depends on besides the data.
    """

    artefact: bytes
    metrics: dict[str, float]
    rows: int
    first_slot: int
    until_slot: int
    parameters: dict[str, str]


def train_model(
    region: Region,
    counts: Iterable[KnownSlot],
    first_slot: int,
    until_slot: int,
    *,
    threads: int,
    seed: int = 0,
    most_rows: int = MOST_ROWS,
    on_progress: Callable[[str, float], None] = lambda stage, share: None,
) -> TrainedModel:
    """Train on slots [first_slot, until_slot).

    Args:
        counts: Each slot once, ascending, without holes.
        threads: For fitting; the last bit of the trees depends on it.
        seed: Selects the sample.
        most_rows: Size of the sample, which determines time and memory; up to `SLACK` times as many rows are fitted.
        on_progress: Called with (stage, share done 0..1).
    Raises:
        UsageError: too little history to train on.
    """
    sample = _Sampler(region, first_slot, until_slot, seed, most_rows)
    for closed in counts:
        sample.take(closed)
        if closed.slot % 256 == 0:
            on_progress("building features from history", (closed.slot - first_slot) / max(until_slot - first_slot, 1))
    rows, quiet = sample.busy.columns(), sample.quiet.columns()
    if len(rows.slots) < LEAST_ROWS:
        raise UsageError(
            f"train: expected at least {LEAST_ROWS} rows of cells with {QUIET_PER_15_MIN} rides per 15 min, got {len(rows.slots)} "
            f"from {until_slot - first_slot} slots; give it more history"
        )
    days = (until_slot - first_slot) / sample.calendar.day_slots
    holdout = until_slot - int(min(MOST_HOLDOUT_DAYS, HOLDOUT_SHARE * days) * sample.calendar.day_slots)
    early, late = rows.slots + region.horizons[-1] < holdout, rows.slots >= holdout
    metrics: dict[str, float] = {}
    trees, dispersion, quiet_dispersion, mixes = [], [], [], []
    for i, horizon_min in enumerate(region.horizons_min):
        margin = boosted.offset(rows.features, region.horizons, i)
        truth = rows.truth[:, i]
        known = ~np.isnan(truth)
        first, then = known & early, known & late
        on_progress(f"fitting {horizon_min} min, to measure its error", 2 * i / (2 * len(region.horizons)))
        trial = boosted.fit(rows.features[first], truth[first], margin[first], threads=threads)
        means = boosted.predict(trial, rows.features[then], margin[then])
        dispersion.append(dispersion_of(truth[then], means))
        metrics |= _errors(horizon_min, truth[then], means, rows.baseline[then, i], dispersion[-1])
        on_progress(f"fitting {horizon_min} min", (2 * i + 1) / (2 * len(region.horizons)))
        trees.append(boosted.fit(rows.features[known], truth[known], margin[known], threads=threads))
        known = ~np.isnan(quiet.truth[:, i])
        parts = np.ascontiguousarray(quiet.parts[known, :, i].T)
        mixes.append(fit_mix(parts, quiet.truth[known, i]))
        quiet_mean = quiet_means(parts[:, None, :], QuietMix(np.array([mixes[-1]])))[:, 0]
        quiet_dispersion.append(dispersion_of(quiet.truth[known, i], quiet_mean))
    about = boosted.Artefact(
        features=NAMES,
        horizons=region.horizons,
        dispersion_milli=tuple(dispersion),
        quiet_dispersion_milli=tuple(quiet_dispersion),
        quiet_mix=tuple(mixes),
    )
    parameters = {name: str(value) for name, value in boosted.PARAMETERS.items()}
    parameters |= {"rounds": str(boosted.ROUNDS), "threads": str(threads), "sample_seed": str(seed), "most_rows": str(most_rows)}
    return TrainedModel(boosted.pack(about, trees), metrics, len(rows.slots), first_slot, until_slot, parameters)


def _errors(horizon_min: int, truth: Float64s, means: Float64s, base: Float64s, dispersion_milli: int) -> dict[str, float]:
    total = max(float(truth.sum()), 1.0)
    median = quantiles(means, dispersion_milli, MEDIAN_MILLI)
    return {
        f"rmse_{horizon_min}": float(np.sqrt(((truth - means) ** 2).mean())) if len(truth) else 0.0,
        f"wape_{horizon_min}": float(np.abs(truth - median).sum()) / total,
        f"baseline_rmse_{horizon_min}": float(np.sqrt(((truth - base) ** 2).mean())) if len(truth) else 0.0,
        f"baseline_wape_{horizon_min}": float(np.abs(truth - base).sum()) / total,
    }


@dataclass(frozen=True, slots=True)
class _Columns:
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
    def __init__(self, horizons: int) -> None:
        self.pieces: dict[int, _Piece] = {}
        self.n = 0
        self._horizons = horizons

    def add(self, piece: _Piece) -> None:
        self.pieces[piece.slot] = piece
        self.n += len(piece.cells)

    def keep(self, wanted: Callable[[int], bool]) -> None:
        self.pieces = {slot: piece for slot, piece in self.pieces.items() if wanted(slot)}
        self.n = sum(len(piece.cells) for piece in self.pieces.values())

    def columns(self) -> _Columns:
        pieces = list(self.pieces.values())
        h = self._horizons
        empty = _Piece(0, NO_CELLS, np.empty((0, h)), np.empty((0, len(FEATURES)), np.float32), np.empty((0, h)), np.empty((0, 3, h)))
        self.pieces = {}
        return _Columns(
            slots=np.concatenate([NO_INTS, *(np.full(len(p.cells), p.slot, np.int64) for p in pieces)]),
            **{
                name: np.concatenate([getattr(empty, name), *(getattr(piece, name) for piece in pieces)])
                for name in ("truth", "features", "baseline", "parts")
            },
        )


class _Sampler:
    """Replays history and keeps rows of some slots; halves the share of slots whenever there are too many rows."""

    def __init__(self, region: Region, first_slot: int, until_slot: int, seed: int, most_rows: int) -> None:
        self.region, self.seed, self.most_rows = region, seed, most_rows
        self.calendar = Calendar(region)
        self.history = CountHistory(region)
        self.busy, self.quiet = _Rows(len(region.horizons)), _Rows(len(region.horizons))
        span = until_slot - first_slot
        self.start = first_slot + min(WARM_DAYS * self.calendar.day_slots, int(MOST_WARM_SHARE * span))
        self.until = until_slot
        self.share = 0.0  # of slots; set at the first sampled slot

    def take(self, known: KnownSlot) -> None:
        """Fold one slot: fill in the truth of earlier rows, then add rows of this slot if it is sampled."""
        history, slot = self.history, known.slot
        if len(known.late_slots):
            history.correct(known.late_slots, known.late_cells, known.late_counts)
        history.close(slot, known.cells, known.counts, observed=known.observed, whole=known.whole)
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
            self.share = min(1.0, self.most_rows / max(len(own) * (self.until - slot), 1))
        h = len(self.region.horizons)
        features = build(history, self.calendar, slot, own)
        base = profile(history, self.calendar, slot, own, self.region.horizons)
        unknown, none = np.full((len(own), h), np.nan), np.empty((0, len(FEATURES)), np.float32)
        self.busy.add(_Piece(slot, history.cells[own], unknown, features, base, np.empty((0, 3, h))))
        if _chance(slot, self.seed + 1) < QUIET_SHARE and len(others):
            parts = quiet_parts(history, self.calendar, slot, others, self.region.horizons).transpose(2, 0, 1)
            self.quiet.add(_Piece(slot, history.cells[others], np.full((len(others), h), np.nan), none, np.empty((0, h)), parts))
        while self.busy.n > SLACK * self.most_rows:
            self.share /= 2
            self.busy.keep(lambda kept: _chance(kept, self.seed) < self.share)
            self.quiet.keep(lambda kept: _chance(kept, self.seed) < self.share)


def _chance(slot: int, seed: int) -> float:
    """A number in [0, 1) that depends on slot and seed only (the finaliser of splitmix64)."""
    x = (slot * 0x9E3779B97F4A7C15 + seed * 0xD1B54A32D192ED03) % 2**64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    return (x ^ x >> 31) / 2**64
