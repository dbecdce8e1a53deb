"""Searches parameters for the fit of a region and measure: which are tried, by Optuna; how good they are, over folds of its history."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dataflows.jobs.study import SPACE, Bounds, Study, open_study
from ledger.store.log import Ledger
from ledger.views.regions import defined_by
from schemas.records.records import RegionBootstrapped, SlotClosed, region_log
from state.demand.calendar import Calendar
from state.forecast.fit_steps import OnProgress
from state.forecast.search import Fold, TrialResult, check_folds, fold_loss
from state.forecast.training import SampledHistory
from state.models import chain, network_fitting
from state.models.fit_parameters import AS_SHIPPED, FitParameters

S_PER_MIN = 60.0
# Constants of the chain that no parameter changes, but on which errors depend.
OF_THE_CHAIN = ("PARAMETERS", "MOST_ROUNDS", "LEAST_ROUNDS", "TRIAL_PATIENCE", "NOT_FOR_TREES")
OF_THE_NETWORK = ("HIDDEN", "EPOCHS", "BATCH_ROWS", "RATE")


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """How long is searched.

    Attributes:
        trials: In all, with those that the study has already.
        minutes: After which no further trial begins; None for no limit.
        seed: Of what is tried.
        on_study: Called with one line about the study.
        on_trial: Called after each trial with its result, the best so far, and the seconds that it took.
        clock: Monotonic seconds.
    """

    trials: int
    minutes: float | None = None
    seed: int = 0
    on_study: Callable[[str], None] = lambda news: None
    on_trial: Callable[[TrialResult, TrialResult, float], None] = lambda result, best, seconds: None
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        study: Its name.
        trials: All of its trials that ended, in order.
        parameters: For the model's record.
    """

    study: str
    trials: tuple[TrialResult, ...]
    parameters: dict[str, str]

    @property
    def best(self) -> TrialResult:
        """The trial with the smallest error; the first of equals."""
        return best_of(self.trials)


def search(
    home: Path, measure: str, sampled: SampledHistory, root: bytes, plan: SearchPlan, *, threads: int, on_progress: OnProgress
) -> SearchResult:
    """Try parameters on the folds of a sampled history until the plan is fulfilled.

    Args:
        root: Of the region's log from which it was sampled.
    Raises:
        UsageError: too little history for the folds; Optuna is not installed.
        StoreUnavailable: as `open_study`.
    """
    folds = check_folds(sampled)
    with open_study(home, sampled.region.id, measure, spec_of(sampled, folds, root, plan.seed), plan.seed) as study:
        plan.on_study(study.news)
        _fulfil(study, plan, sampled, folds, threads, on_progress)
        trials = tuple(study.results())
    best = best_of(trials)
    parameters = {
        "search_study": study.name,
        "search_trials": str(len(trials)),
        "search_pruned": str(sum(trial.pruned for trial in trials)),
        "search_seed": str(plan.seed),
        "search_folds": str(len(folds)),
        "search_best": str(best.number),
        "search_error": f"{best.loss:.6g}",
        "search_error_of_default": f"{trials[0].loss:.6g}",
    }
    return SearchResult(study.name, trials, parameters)


def _fulfil(
    study: Study, plan: SearchPlan, sampled: SampledHistory, folds: tuple[Fold, ...], threads: int, on_progress: OnProgress
) -> None:
    began_s = plan.clock()
    number = len(study.results())
    while number < plan.trials and (number == 0 or plan.minutes is None or plan.clock() - began_s < S_PER_MIN * plan.minutes):
        what, share, since_s = f"trial {number + 1} of {plan.trials}", number / plan.trials, plan.clock()

        def errors(fit: FitParameters, what: str = what, share: float = share) -> Iterator[float]:
            for i, fold in enumerate(folds):
                on_progress(f"{what}, fold {i + 1} of {len(folds)}", share + i / len(folds) / plan.trials)
                yield fold_loss(sampled, fold, fit, threads)

        result = study.try_next(errors)
        number += 1
        plan.on_trial(result, best_of(study.results()), plan.clock() - since_s)


def best_of(trials: "tuple[TrialResult, ...] | list[TrialResult]") -> TrialResult:
    """The trial with the smallest error of those that saw all folds; the first of equals."""
    return min((trial for trial in trials if not trial.pruned), key=lambda trial: (trial.loss, trial.number))


def spec_of(sampled: SampledHistory, folds: tuple[Fold, ...], root: bytes, seed: int) -> dict[str, str]:
    """What the errors of a study depend on, by names that a person reads: with another value of any, it is another study."""
    space: dict[str, Bounds] = dict(SPACE)
    models = {name: getattr(chain, name) for name in OF_THE_CHAIN}
    models |= {f"NETWORK_{name}": getattr(network_fitting, name) for name in OF_THE_NETWORK}
    return {
        "history": f"slots {sampled.first_slot} to {sampled.until_slot}, root {root.hex()}",
        "feature table": str(sampled.table.version),
        "rows": f"{sampled.most_rows} at most, seed {sampled.seed}, {len(sampled.rows.slots)} found",
        "search space": json.dumps({name: [b.low, b.high, b.log] for name, b in space.items()}),
        "default parameters": json.dumps(AS_SHIPPED.texts() | {name: str(value) for name, value in models.items()}),
        "folds": json.dumps([[fold.begin_slot, fold.end_slot] for fold in folds]),
        "seed": str(seed),
    }


def whole_days(ledger: Ledger, boot: RegionBootstrapped, until_slot: int, size: int) -> tuple[int, int]:
    """The last local midnight up to a slot, and the size of the region's log when the slot before it was closed.

    A search reads whole days, so that the same command continues its study although the region runs.
    """
    calendar, found = Calendar(defined_by(boot)), until_slot
    while part := calendar.local(found).slot_of_day:  # more than once where the clock changed that day
        found -= part
    last = ledger.entry(region_log(boot.region), SlotClosed, found - 1) if found < until_slot else None
    if last is None:
        return until_slot, size
    return found, last.index + 1
