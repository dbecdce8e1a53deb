"""How good parameters of a fit are: errors over later blocks of a history, each forecast by a fit of the rows before it.

The folds are expanding windows: a fit sees only rows whose rides had all been counted before the block began. What is fitted
is the trial of a training (`try_link` and `try_network`), which also chooses its rounds, and whether there is a network, on
the block; so the errors are slightly too small, for all parameters alike. Which parameters are tried is decided elsewhere.
"""

from dataclasses import dataclass

import numpy as np

from schemas.errors import UsageError
from schemas.events.rides import Bools
from state.forecast.training import TRIAL_SHARE, SampledHistory, is_chained, network_columns, ranks, row_weights
from state.models.chain import margin, nearest_ahead, tree_columns
from state.models.chain_fitting import Lesson, try_link
from state.models.chain_network import loss_of, some_of, try_network
from state.models.fit_parameters import FitParameters

FOLDS = 4
FIRST_BLOCKS = 2  # the first fold is fitted on at least as many slots as this many blocks have
MOST_BLOCK_DAYS = 7
LEAST_BLOCK_ROWS = 200
MANY_ROWS = 60_000  # above, a fit sees every third of the earlier slots, as a trial in training does


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What a trial of parameters found.

    Attributes:
        number: From 0, in the order in which they ended; 0 is the default.
        losses: Of its folds; fewer than all if it was pruned.
    """

    number: int
    fit: FitParameters
    losses: tuple[float, ...]
    pruned: bool

    @property
    def loss(self) -> float:
        """Mean over its folds."""
        return sum(self.losses) / len(self.losses)


@dataclass(frozen=True, slots=True)
class Fold:
    """A block of slots [begin, end); rows before it are fitted."""

    begin_slot: int
    end_slot: int


def folds_of(start_slot: int, until_slot: int, day_slots: int) -> tuple[Fold, ...]:
    """Equal consecutive blocks at the end of slots [start, until): whole days where there are enough, a week at most.

    >>> folds_of(0, 30 * 24, 24)[0], folds_of(0, 30 * 24, 24)[-1]
    (Fold(begin_slot=240, end_slot=360), Fold(begin_slot=600, end_slot=720))
    >>> folds_of(0, 48, 24)[0]
    Fold(begin_slot=16, end_slot=24)
    """
    block = (until_slot - start_slot) // (FOLDS + FIRST_BLOCKS)
    if block > day_slots:
        block = min(block // day_slots, MOST_BLOCK_DAYS) * day_slots
    return tuple(Fold(until_slot - (FOLDS - i) * block, until_slot - (FOLDS - 1 - i) * block) for i in range(FOLDS))


def check_folds(sampled: SampledHistory) -> tuple[Fold, ...]:
    """The folds of a sampled history.

    Raises:
        UsageError: it is not a chain that is trained, or there is too little history for the folds.
    """
    if not is_chained(sampled.table):
        raise UsageError(
            f"search: expected a region whose models are chains, got feature table {sampled.table.version}",
            remedy="move the region to the newest version of the fold with `ridecast ledger upgrade`",
        )
    folds = folds_of(sampled.start_slot, sampled.until_slot, sampled.day_slots)
    slots, longest = sampled.rows.slots, sampled.region.horizons[-1]
    fewest = min(min(int((slots + longest < f.begin_slot).sum()), int(_in(f, sampled).sum())) for f in folds)
    if fewest < LEAST_BLOCK_ROWS:
        raise UsageError(
            f"search: expected at least {LEAST_BLOCK_ROWS} rows before and in each of {FOLDS} blocks of history, got {fewest} from "
            f"{sampled.until_slot - sampled.first_slot} slots; give it more history, or train without --search"
        )
    return folds


def fold_loss(sampled: SampledHistory, fold: Fold, fit: FitParameters, threads: int) -> float:
    """Poisson deviance of the forecasts of a block as a share of that of the profile, averaged over the horizons."""
    rows, table, region = sampled.rows, sampled.table, sampled.region
    every = TRIAL_SHARE if len(rows.slots) > MANY_ROWS else 1
    early = (rows.slots + region.horizons[-1] < fold.begin_slot) & (ranks(rows.slots) % every == 0)
    late = _in(fold, sampled)
    weights = np.zeros(len(rows.slots))
    weights[early] = row_weights(rows.slots[early], fit.half_life_days * sampled.day_slots)
    lessons, late_lessons, trials = [], [], []
    whole = early & ~np.isnan(rows.truth).any(axis=1)
    for i in range(len(region.horizons)):
        place, _ = nearest_ahead(region.horizons, i)
        linear, columns = table.columns(place, linear=True), tree_columns(table, place)
        start = margin(rows.features, table, region.horizons, i)
        lesson = Lesson(rows.features, rows.truth[:, i], start, weights)
        known = ~np.isnan(lesson.rides)
        then = Lesson(rows.features, lesson.rides, start, np.ones(len(weights))).where(known & late)
        trials.append(try_link(lesson.where(known & early), then, linear, columns, threads, fit))
        lessons.append(lesson)
        late_lessons.append(then)
    trials = try_network(some_of(lessons, whole), late_lessons, trials, network_columns(rows.features, table, region.horizons), fit)
    return loss_of(late_lessons, [trial.means for trial in trials])


def _in(fold: Fold, sampled: SampledHistory) -> Bools:
    return np.asarray((sampled.rows.slots >= fold.begin_slot) & (sampled.rows.slots < fold.end_slot))
