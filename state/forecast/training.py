"""Training: fits the models of a region and measure to rows sampled from its history.

The last part of the period is held out to measure dispersion and errors; then the models are fitted on all rows. The
version of the feature table decides what is trained: trees alone with the first, a chain with a later one.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from schemas.errors import UsageError
from schemas.events.rides import Bools, Float32s, Float64s, Int64s
from schemas.regions import Region
from state.demand.covariates import NONE_KNOWN, Covariates
from state.demand.feature_table import FeatureTable
from state.demand.features import FIRST_TABLE
from state.forecast.fit_steps import FitSteps, OnProgress, all_of
from state.forecast.sampling import KnownSlot, SampledRows, SamplePlan, Sampler
from state.models import boosted, chain
from state.models.chain_fitting import Lesson, Trial, fit_link, try_link
from state.models.chain_network import add_network, some_of, try_network
from state.models.fit_parameters import AS_SHIPPED, FitParameters
from state.models.intervals import MEDIAN_MILLI, dispersion_of, quantiles
from state.models.quiet import QUIET_PER_15_MIN, QuietMix, fit_mix, quiet_means

HOLDOUT_SHARE = 0.2
MOST_HOLDOUT_DAYS = 7
LEAST_ROWS = 2_000
MOST_ROWS = 460_000  # New York, April and May 2014: half as many took away what training every week gained
# The first models: four days of history are too few for a profile; more rows of April 2014 gained nothing measurable.
BOOSTED_PLAN = SamplePlan(most_rows=250_000, warm_days=4, most_days=36_500, slots_per_hour=60)
CHAIN_PLAN = SamplePlan(most_rows=MOST_ROWS, warm_days=7, most_days=56, slots_per_hour=4)
CHAIN_THREADS = 1  # of one fit of a chain: with more, the last bit of the trees would depend on their number
TRIAL_SHARE = 3  # a trial sees every third of the earlier rows


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """Result of training.

    Attributes:
        artefact: For `Forecaster.use`.
        algorithm: Its name.
        table: The feature table that it needs.
        metrics: Errors in the holdout period, per horizon: rmse_<h>, wape_<h>, baseline_..., as numbers.
        rows: How many rows of cells with their own model were fitted.
        first_slot, until_slot: The data, slots [first, until).
        parameters: Everything that the result depends on besides the data.
    """

    artefact: bytes
    algorithm: str
    table: FeatureTable
    metrics: dict[str, float]
    rows: int
    first_slot: int
    until_slot: int
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True)
class SampledHistory:
    """The rows that are fitted, of slots [first, until); what is fitted to them is decided later.

    Attributes:
        rows, quiet: Of cells with their own model, and of quiet cells.
        start_slot: Of the first slot whose rows may be sampled.
        seed, most_rows: As for `sample_history`.
        weights: float64[n], of the rows of a chain, besides that of their age; None for equal ones.
    """

    region: Region
    table: FeatureTable
    rows: SampledRows
    quiet: SampledRows
    first_slot: int
    start_slot: int
    until_slot: int
    day_slots: int
    seed: int
    most_rows: int
    weights: Float64s | None = None


@dataclass(frozen=True, slots=True)
class _Task:
    """What is fitted, and on which rows: those before the holdout, those in it, or all."""

    region: Region
    table: FeatureTable
    rows: SampledRows
    early: Bools
    late: Bools
    threads: int
    fit: FitParameters
    on_progress: OnProgress
    weights: Float64s | None


@dataclass(slots=True)
class _Spreads:
    """Dispersions and weights that go with the means, one more per horizon as they are found."""

    dispersion_milli: list[int]
    quiet_dispersion_milli: list[int]
    quiet_mix: list[tuple[float, float, float]]


def train_model(
    region: Region,
    counts: Iterable[KnownSlot],
    first_slot: int,
    until_slot: int,
    *,
    threads: int,
    table: FeatureTable = FIRST_TABLE,
    seed: int = 0,
    most_rows: int = MOST_ROWS,
    fit: FitParameters = AS_SHIPPED,
    covariates: Covariates = NONE_KNOWN,
    on_progress: OnProgress = lambda stage, share: None,
) -> TrainedModel:
    """Train on slots [first_slot, until_slot).

    Args:
        counts: Each slot once, ascending, without holes.
        threads: For fitting: as many horizons of a chain at the same time. The last bit of the first table's trees depends on it.
        table: The features; see `state.demand.tables`.
        seed: Selects the sample.
        most_rows: Size of the sample, which determines time and memory; up to `SLACK` times as many rows are fitted.
        fit: Parameters of a chain; the first table's trees have their own.
        covariates: Of the region; each row has what was known at its cut.
        on_progress: Called by this thread with (stage, share done 0..1); again with the same while a fit takes long. What it
            raises ends the training.
    Raises:
        UsageError: too little history to train on.
    """
    sampled = sample_history(
        region,
        counts,
        first_slot,
        until_slot,
        table=table,
        seed=seed,
        most_rows=most_rows,
        covariates=covariates,
        on_progress=on_progress,
    )
    return fit_sampled(sampled, threads=threads, fit=fit, on_progress=on_progress)


def sample_history(
    region: Region,
    counts: Iterable[KnownSlot],
    first_slot: int,
    until_slot: int,
    *,
    table: FeatureTable,
    seed: int = 0,
    most_rows: int = MOST_ROWS,
    covariates: Covariates = NONE_KNOWN,
    on_progress: OnProgress = lambda stage, share: None,
) -> SampledHistory:
    """The rows to fit; arguments and errors as for `train_model`."""
    plan = CHAIN_PLAN if is_chained(table) else BOOSTED_PLAN
    plan = SamplePlan(min(most_rows, plan.most_rows), plan.warm_days, plan.most_days, plan.slots_per_hour)
    sample = Sampler(region, first_slot, until_slot, table, plan, seed, covariates)
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
    day_slots = sample.calendar.day_slots
    return SampledHistory(region, table, rows, quiet, first_slot, sample.start, until_slot, day_slots, seed, most_rows)


def is_chained(table: FeatureTable) -> bool:
    """Whether a chain is trained with a table, and not trees alone."""
    return table.version != FIRST_TABLE.version


def fit_sampled(
    sampled: SampledHistory,
    *,
    threads: int,
    fit: FitParameters = AS_SHIPPED,
    on_progress: OnProgress = lambda stage, share: None,
) -> TrainedModel:
    """Fit the models of every horizon to sampled rows; arguments as for `train_model`."""
    region, table, rows, day_slots = sampled.region, sampled.table, sampled.rows, sampled.day_slots
    first_slot, until_slot = sampled.first_slot, sampled.until_slot
    chained = is_chained(table)
    holdout = until_slot - int(min(MOST_HOLDOUT_DAYS, HOLDOUT_SHARE * (until_slot - first_slot) / day_slots) * day_slots)
    early, late = rows.slots + region.horizons[-1] < holdout, rows.slots >= holdout
    task = _Task(region, table, rows, early, late, threads, fit, on_progress, sampled.weights)
    metrics: dict[str, float] = {}
    spreads = _fit_quiet(region, sampled.quiet)
    artefact, parameters = (_fit_chain if chained else _fit_boosted)(task, day_slots, spreads, metrics)
    parameters |= {
        "threads": str(CHAIN_THREADS if chained else threads),
        "sample_seed": str(sampled.seed),
        "most_rows": str(sampled.most_rows),
        "feature_table": str(table.version),
    }
    algorithm = chain.ALGORITHM if chained else boosted.ALGORITHM
    return TrainedModel(artefact, algorithm, table, metrics, len(rows.slots), first_slot, until_slot, parameters)


def _fit_quiet(region: Region, quiet: SampledRows) -> _Spreads:
    spreads = _Spreads([], [], [])
    for i in range(len(region.horizons)):
        known = ~np.isnan(quiet.truth[:, i])
        parts = np.ascontiguousarray(quiet.parts[known, :, i].T)
        spreads.quiet_mix.append(fit_mix(parts, quiet.truth[known, i]))
        means = quiet_means(parts[:, None, :], QuietMix(np.array([spreads.quiet_mix[-1]])))[:, 0]
        spreads.quiet_dispersion_milli.append(dispersion_of(quiet.truth[known, i], means))
    return spreads


def _fit_boosted(task: _Task, day_slots: int, spreads: _Spreads, metrics: dict[str, float]) -> tuple[bytes, dict[str, str]]:
    """Trees alone, from the smooth profile: on the earlier rows to measure their errors, then on all."""
    region, rows, threads = task.region, task.rows, task.threads
    trees = []
    for i, horizon_min in enumerate(region.horizons_min):
        margin = boosted.offset(rows.features, region.horizons, i)
        truth = rows.truth[:, i]
        known = ~np.isnan(truth)
        first, then = known & task.early, known & task.late
        task.on_progress(f"fitting {horizon_min} min, to measure its error", 2 * i / (2 * len(region.horizons)))
        trial = boosted.fit(rows.features[first], truth[first], margin[first], threads=threads)
        means = boosted.predict(trial, rows.features[then], margin[then])
        spreads.dispersion_milli.append(dispersion_of(truth[then], means))
        metrics |= _errors(horizon_min, truth[then], means, rows.baseline[then, i], spreads.dispersion_milli[-1])
        task.on_progress(f"fitting {horizon_min} min", (2 * i + 1) / (2 * len(region.horizons)))
        trees.append(boosted.fit(rows.features[known], truth[known], margin[known], threads=threads))
    parameters = {name: str(value) for name, value in boosted.PARAMETERS.items()}
    return boosted.pack(_about(task, spreads), trees), parameters | {"rounds": str(boosted.ROUNDS)}


def _fit_chain(task: _Task, day_slots: int, spreads: _Spreads, metrics: dict[str, float]) -> tuple[bytes, dict[str, str]]:
    """A chain: a trial on some of the earlier rows to measure its errors and to choose the rounds, then one fit on all.

    Horizons are fitted at the same time, each on one thread, so that the bytes do not depend on how many threads there are.
    """
    region, rows = task.region, task.rows
    weights = row_weights(rows.slots, task.fit.half_life_days * day_slots)
    if task.weights is not None:
        weights = weights * task.weights
    lessons = [
        Lesson(rows.features, rows.truth[:, i], chain.margin(rows.features, task.table, region.horizons, i), weights)
        for i in range(len(region.horizons))
    ]
    steps = FitSteps(task.on_progress, 2 * len(region.horizons) + 2)
    with ThreadPoolExecutor(max_workers=min(task.threads, len(region.horizons))) as pool:
        fitted = all_of([pool.submit(_fit_horizon, task, lesson, i, steps) for i, lesson in enumerate(lessons)], steps)
        if task.fit.network_share:
            (fitted,) = all_of([pool.submit(_fit_network, task, lessons, fitted, steps)], steps)
    for i, (of, lesson) in enumerate(zip(fitted, lessons, strict=True)):
        then = ~np.isnan(lesson.rides) & task.late
        spreads.dispersion_milli.append(dispersion_of(lesson.rides[then], of.trial.means))
        base = rows.baseline[then, i]
        metrics |= _errors(region.horizons_min[i], lesson.rides[then], of.trial.means, base, spreads.dispersion_milli[-1])
    rounds = ",".join(str(of.trial.rounds) for of in fitted)
    network = fitted[0].link.network
    inputs = len(network.columns) if network is not None else 0
    parameters = task.fit.texts() | {"rounds": rounds, "network_inputs": str(inputs), "most_days": str(CHAIN_PLAN.most_days)}
    return chain.pack(_about(task, spreads), task.table, [of.link for of in fitted]), parameters


@dataclass(frozen=True, slots=True)
class _Fitted:
    """The models of one horizon, and what the trial said of them."""

    link: chain.Link
    trial: Trial


def _fit_horizon(task: _Task, lesson: Lesson, i: int, steps: FitSteps) -> _Fitted:
    region, table, horizon_min = task.region, task.table, task.region.horizons_min[i]
    place, _ = chain.nearest_ahead(region.horizons, i)
    linear = _known_columns(lesson.features, table.columns(place, linear=True))
    columns = _known_columns(lesson.features, chain.tree_columns(table, place))
    known = ~np.isnan(lesson.rides)
    steps.take(f"fitting {horizon_min} min, to measure its error")
    trial = try_link(lesson.where(known & _thinned(task)), lesson.where(known & task.late), linear, columns, CHAIN_THREADS, task.fit)
    steps.take(f"fitting {horizon_min} min, {trial.rounds} rounds")
    return _Fitted(fit_link(lesson.where(known), linear, columns, trial.rounds, CHAIN_THREADS, task.fit), trial)


def _fit_network(task: _Task, lessons: list[Lesson], fitted: list[_Fitted], steps: FitSteps) -> list[_Fitted]:
    """The models of all horizons with a network, if the trial was better with it."""
    known = ~np.isnan(task.rows.truth)
    columns = network_columns(task.rows.features, task.table, task.region.horizons)
    whole = np.asarray(known.all(axis=1))
    if not (known & task.late[:, None]).any(axis=0).all():
        return fitted  # nothing to measure it by
    steps.take("fitting a network of all horizons, to measure its error")
    early = some_of(lessons, np.asarray(whole & _thinned(task)))
    late = [lesson.where(known[:, i] & task.late) for i, lesson in enumerate(lessons)]
    trials = try_network(early, late, [of.trial for of in fitted], columns, task.fit)
    if trials[0].link.network is None:
        return fitted
    del early, late  # hundreds of megabytes
    steps.take(f"fitting a network of all horizons, {len(columns)} inputs")
    links = add_network(some_of(lessons, whole), [of.link for of in fitted], columns, task.fit)
    return [_Fitted(link, trial) for link, trial in zip(links, trials, strict=True)]


def _thinned(task: _Task) -> Bools:
    """The rows that a trial is fitted to: bool[n]."""
    return np.asarray(task.early & (ranks(task.rows.slots) % TRIAL_SHARE == 0))


def network_columns(features: Float32s, table: FeatureTable, horizons: tuple[int, ...]) -> tuple[int, ...]:
    """Indices of the inputs of a network: whatever the trees of any horizon see and this region has."""
    places = [chain.nearest_ahead(horizons, i)[0] for i in range(len(horizons))]
    return _known_columns(features, tuple(sorted({column for place in places for column in chain.tree_columns(table, place)})))


def _known_columns(features: Float32s, columns: tuple[int, ...]) -> tuple[int, ...]:
    """The columns with any value: the trees would waste draws on a feature that this region has no data for."""
    return tuple(column for column in columns if not np.isnan(features[:, column]).all())


def row_weights(slots: Int64s, half_life_slots: float) -> Float64s:
    """Weights of rows: half for every half-life of age, 1 on average."""
    weights = 0.5 ** ((slots.max() - slots) / half_life_slots)
    return np.asarray(weights / weights.mean(), np.float64)


def ranks(slots: Int64s) -> Int64s:
    """Place of each row's slot among the sampled slots."""
    return np.asarray(np.unique(slots, return_inverse=True)[1], np.int64)


def _about(task: _Task, spreads: _Spreads) -> boosted.Artefact:
    return boosted.Artefact(
        features=task.table.names,
        horizons=task.region.horizons,
        dispersion_milli=tuple(spreads.dispersion_milli),
        quiet_dispersion_milli=tuple(spreads.quiet_dispersion_milli),
        quiet_mix=tuple(spreads.quiet_mix),
    )


def _errors(horizon_min: int, truth: Float64s, means: Float64s, base: Float64s, dispersion_milli: int) -> dict[str, float]:
    total = max(float(truth.sum()), 1.0)
    median = quantiles(means, dispersion_milli, MEDIAN_MILLI)
    return {
        f"rmse_{horizon_min}": float(np.sqrt(((truth - means) ** 2).mean())) if len(truth) else 0.0,
        f"wape_{horizon_min}": float(np.abs(truth - median).sum()) / total,
        f"baseline_rmse_{horizon_min}": float(np.sqrt(((truth - base) ** 2).mean())) if len(truth) else 0.0,
        f"baseline_wape_{horizon_min}": float(np.abs(truth - base).sum()) / total,
    }
