"""The study of a search: Optuna's storage in the home, one file per region and measure, one study per data and search space.

Trial n of a study depends on its seed and on the trials before it only, so a search that was killed and continued finds what an
uninterrupted one finds. One process at a time works on a file.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ledger.store.files import Held, held_alone
from schemas.errors import StoreUnavailable, UsageError
from state.forecast.search import TrialResult
from state.models.fit_parameters import AS_SHIPPED, NAMES, FitParameters

if TYPE_CHECKING:
    import optuna

FOLDER = "studies"  # in the home
SPEC = "ridecast.spec"  # attribute of a study: what it depends on
FIT = "ridecast.fit"  # attribute of a trial: the parameters as they were fitted
ERRORS = "ridecast.errors"  # attribute of a trial: those of its folds
RANDOM_TRIALS = 8  # before the sampler models what it has seen
PRUNE_AFTER = 5  # complete trials
DIGITS = 3  # of a parameter that is tried: more say nothing
SAID_NEW = "a search then begins anew"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a parameter may be in a search: low to high, by equal ratios if `log`."""

    low: float
    high: float
    log: bool = False


SPACE: Mapping[str, Bounds] = {
    "max_depth": Bounds(2, 7),
    "eta": Bounds(0.06, 0.5, log=True),
    "subsample": Bounds(0.5, 1.0),
    "colsample_bytree": Bounds(0.1, 0.6),
    "leaf_rides": Bounds(50, 3_000, log=True),
    "tree_share": Bounds(0.2, 1.0),
    "tree_half_rides": Bounds(2, 256, log=True),
    "penalty_share": Bounds(0.002, 0.2, log=True),
    "half_life_days": Bounds(7, 112, log=True),
    "network_share": Bounds(0.0, 0.9),
    "network_decay": Bounds(0.03, 3.0, log=True),
}


class Study:
    """One study, open for this process alone.

    Attributes:
        name: Of the study in Optuna.
        news: What a person should know: whether it continues one, or how it differs from the last one.
    """

    def __init__(self, path: Path, spec: Mapping[str, str], seed: int) -> None:
        optuna = _optuna()
        text = json.dumps(dict(spec), sort_keys=True)
        self.path, self.seed = path, seed
        self.name = hashlib.sha256(text.encode()).hexdigest()[:12]
        storage = optuna.storages.RDBStorage(_address(path))
        before = {found.study_name: found for found in optuna.get_all_study_summaries(storage)}
        pruner = optuna.pruners.MedianPruner(n_startup_trials=PRUNE_AFTER)
        self._study = optuna.create_study(storage=storage, study_name=self.name, load_if_exists=True, pruner=pruner)
        if self.name not in before:
            self._study.set_user_attr(SPEC, text)
        for trial in self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):  # of a process that was killed
            self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        self.news = self._news(before, spec)

    def results(self) -> list[TrialResult]:
        """The trials that ended, in order."""
        return _results(self._study)

    def try_next(self, losses: Callable[[FitParameters], Iterator[float]]) -> TrialResult:
        """Make one more trial.

        Args:
            losses: The errors of the folds with these parameters, computed one after the other.
        """
        states = _optuna().trial.TrialState
        number = len(self.results())
        self._study.sampler = _optuna().samplers.TPESampler(seed=self.seed + number, n_startup_trials=RANDOM_TRIALS)
        if number == 0 and not self._study.get_trials(deepcopy=False, states=(states.WAITING,)):
            self._study.enqueue_trial({name: getattr(AS_SHIPPED, name) for name in NAMES})
        trial = self._study.ask()
        asked = _asked(trial)
        fit = asked if number else AS_SHIPPED
        trial.set_user_attr(FIT, json.dumps({name: getattr(fit, name) for name in NAMES}))
        found: list[float] = []
        pruned = False
        for step, loss in enumerate(losses(fit)):
            found.append(loss)
            trial.report(sum(found) / len(found), step)
            pruned = number > 0 and trial.should_prune()
            if pruned:
                break
        trial.set_user_attr(ERRORS, found)
        result = TrialResult(number, fit, tuple(found), pruned)
        if pruned:
            self._study.tell(trial, state=states.PRUNED)
        else:
            self._study.tell(trial, result.loss)
        return result

    def _news(self, before: Mapping[str, Any], spec: Mapping[str, str]) -> str:
        if self.name in before:
            return f"study {self.name}: continued, with {len(self.results())} trials"
        others = [found for found in before.values() if SPEC in found.user_attrs]
        if not others:
            return f"study {self.name}: new"
        old = json.loads(others[-1].user_attrs[SPEC])
        changed = [name for name in (*spec, *(name for name in old if name not in spec)) if spec.get(name) != old.get(name)]
        return f"study {self.name}: new; study {others[-1].study_name} in the same file differs in: {', '.join(changed)}"


@contextmanager
def open_study(home: Path, region: str, measure: str, spec: Mapping[str, str], seed: int) -> Iterator[Study]:
    """Open the study of these data and this search space, or begin it.

    Args:
        spec: What the errors depend on, by name.
    Raises:
        UsageError: Optuna is not installed.
        StoreUnavailable: the file cannot be read or written, or another process works on it.
    """
    _optuna()
    path = study_file(home, region, measure)
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held_alone(path.with_suffix(".lock"), str(os.getpid())))
        except Held as held:
            raise StoreUnavailable(
                f"study {path}: another search works on it (pid {held})", remedy="wait until it ends, or stop it"
            ) from None
        except OSError as cause:
            raise StoreUnavailable(f"study {path}: {cause.strerror}") from cause
        stack.enter_context(_answering(path))
        yield Study(path, spec, seed)


def study_file(home: Path, region: str, measure: str) -> Path:
    """Where the studies of a region and measure are."""
    return home / FOLDER / f"{region}-{measure}.db"


def recorded_results(home: Path, region: str, measure: str, name: str) -> list[TrialResult]:
    """The trials of a study that a model's record names; none if its file is gone.

    Raises:
        UsageError, StoreUnavailable: as `open_study`.
    """
    path = study_file(home, region, measure)
    if not path.exists():
        return []
    optuna = _optuna()
    with _answering(path):
        storage = optuna.storages.RDBStorage(_address(path))
        if name not in optuna.get_all_study_names(storage):
            return []
        return _results(optuna.load_study(study_name=name, storage=storage))


def _results(study: "optuna.Study") -> list[TrialResult]:
    states = _optuna().trial.TrialState
    ended = study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))
    out = []
    for number, trial in enumerate(ended):
        fit = FitParameters(**json.loads(trial.user_attrs[FIT]))
        out.append(TrialResult(number, fit, tuple(trial.user_attrs[ERRORS]), trial.state == states.PRUNED))
    return out


def _asked(trial: "optuna.Trial") -> FitParameters:
    found: dict[str, Any] = {}
    for name, bounds in SPACE.items():
        if name == "max_depth":
            found[name] = trial.suggest_int(name, int(bounds.low), int(bounds.high))
        else:
            found[name] = float(f"{trial.suggest_float(name, bounds.low, bounds.high, log=bounds.log):.{DIGITS}g}")
    return FitParameters(**found)


def _address(path: Path) -> str:
    """Address of a file of studies; Optuna takes it as a template, in which braces are special."""
    return sa.URL.create("sqlite+pysqlite", database=str(path)).render_as_string().replace("{", "{{").replace("}", "}}")


def _optuna() -> Any:
    """The package, without its log lines.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import optuna
    except ImportError as cause:
        raise UsageError(
            f"--search: expected the package optuna, {cause}", remedy="install it with `pip install optuna`, or train without --search"
        ) from cause
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


@contextmanager
def _answering(path: Path) -> Iterator[None]:
    """Raises the failures of a study's file as StoreUnavailable."""
    optuna = _optuna()
    from alembic.util import CommandError

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="optuna")  # of features that it calls experimental, or of bounds
        try:
            yield
        except (optuna.exceptions.OptunaError, sa.exc.SQLAlchemyError, CommandError) as cause:
            root = cause
            while (under := root.__cause__ or root.__context__) is not None:
                root = under  # the database's own words
            said = str(root).splitlines()[0] if str(root) else type(root).__name__
            remedy = "free some space; the same command continues" if "full" in said else f"make it readable, or move it away: {SAID_NEW}"
            raise StoreUnavailable(f"study {path}: {said}", remedy=remedy) from cause
