"""Backtest on past rides: bootstrap and train on the data before a date, then run the live code on the rest."""

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from dataflows.connectors.covariate_files import CovariateRows
from dataflows.connectors.sources import RideSource
from dataflows.jobs.backtest_decisions import BacktestDecision, champions_at, decisions_of
from dataflows.jobs.bootstrap import bootstrap_region, count_rides, slot_of_midnight
from dataflows.jobs.covariates import expect_no_others, record_covariates
from dataflows.jobs.fairness import Period, measure_fairness
from dataflows.jobs.learn import train_region
from dataflows.jobs.learner import Learner
from dataflows.stream.region_run import SlotReport
from dataflows.stream.start import run_embedded
from dataflows.stream.stopping import StopEvent
from dataflows.stream.stores import Stores, open_stores
from schemas.configuration.areas import Areas
from schemas.configuration.settings import Settings
from schemas.errors import NotFound, UsageError
from schemas.records.records import CONTROL_LOG, SlotClosed, region_log
from schemas.regions import Region
from schemas.times import local_iso
from state.decide.promotion import PromotionRules
from state.decide.retraining import RetrainingRules
from state.detect.fairness import Fairness
from state.forecast.evaluation import CalibrationRow, Evaluation, EvaluationRow


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """The result of a backtest, per measure of the region.

    Attributes:
        test_slots: Number of tested slots; fewer than the dates span if the rides end earlier.
        calibration, noise_floor: Per measure, as in `Evaluation`.
        evaluations: Per measure, all that was accumulated, for a report.
        fairness: Per measure, the classes of the areas compared; empty without areas, or before a forecast has settled.
        start_slot: First tested slot.
        first_models: Per measure, first digits of the model that served first.
        decisions: What was trained, promoted, rejected and rolled back during the test, in order.
    """

    region: str
    train_until: str
    test_until: str
    train_slots: int
    test_slots: int
    rows: dict[str, list[EvaluationRow]]
    calibration: dict[str, list[CalibrationRow]] = field(default_factory=dict)
    noise_floor: dict[str, list[EvaluationRow]] = field(default_factory=dict)
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    fairness: dict[str, Fairness] = field(default_factory=dict)
    start_slot: int = 0
    first_models: dict[str, str] = field(default_factory=dict)
    decisions: tuple[BacktestDecision, ...] = ()


def backtest(
    settings: Settings,
    region: Region,
    source: RideSource,
    train_until: str,
    test_until: str,
    *,
    home: Path | None = None,
    retraining: RetrainingRules | None = None,
    promotion: PromotionRules | None = None,
    areas: Areas | None = None,
    covariates: CovariateRows | None = None,
    on_step: Callable[[str], None] = lambda step: None,
    on_slot: Callable[[int, int], None] = lambda done, total: None,
    on_part: Callable[[float], None] = lambda share: None,
) -> BacktestResult:
    """Run the live code over the test period and compare its forecasts with settled truth.

    Args:
        home: Where to keep the stores; a temporary directory if None.
        retraining: When to train again during the test, on what was known by then; None for never. A challenger is shadowed, and
            serves when it passes the gates.
        promotion: Bounds of the gates, the default ones if None.
        areas: Whose classes to compare.
        covariates: Of the region, recorded before the training; a slot, also of the training, sees what was known at its end.
        on_step: Called with the name of each step as it starts.
        on_slot: Called with (slots closed, slots in total) in the last step.
        on_part: Called with the share of a step that is done, 0 to 1, in the steps before it.
    Raises:
        UsageError: the test period is empty, the training period has no rides, or the home has closed slots or other covariates.
    """

    def on_rides(done: int, total: int) -> None:
        on_part(done / max(total, 1))

    start, end = slot_of_midnight(region, train_until), slot_of_midnight(region, test_until)
    if end <= start:
        raise UsageError(f"--test-until: expected a date after {train_until}, got {test_until}")
    with tempfile.TemporaryDirectory(prefix="ridecast-") if home is None else nullcontext(str(home)) as folder:
        # Embedded stores, whatever the environment sets: a backtest writes to no server.
        stores = open_stores(
            replace(
                settings,
                home=Path(folder),
                database="",
                signing_key="",
                rejects_key="",
                archive="",
                kafka="",
                redis="",
                snapshot_every_s=86_400.0,
            )
        )
        try:
            _expect_unused(stores, region, covariates)
            on_step("counting the truth")
            truth = count_rides(stores, region, source, end, on_rides).counts
            on_step(f"bootstrapping until {train_until}")
            record, _ = bootstrap_region(stores, region, source, train_until, on_rides=on_rides)
            if covariates is not None:
                record_covariates(stores, region.id, covariates)

            def on_stage(stage: str, share: float) -> None:
                on_step(f"training: {stage}")
                on_part(share)

            train_region(stores, region, promote=True, reason="backtest", on_progress=on_stage)
            evaluations = [Evaluation(region, counts, (record.first_slot, start), end) for counts in truth]
            done, stop = 0, StopEvent()

            def evaluate(report: SlotReport) -> None:
                nonlocal done
                if report.slot >= end:  # one batch may close slots after the test period before the run is told to stop
                    return
                done += 1
                if done >= end - start:
                    stop.set()
                for evaluation, issue in zip(evaluations, report.outcome.issues, strict=True):
                    evaluation.add(report.slot, issue.draft.columns, issue.draft.spread)
                on_slot(done, end - start)

            on_step("running the live code")

            def on_training(reason: str) -> None:
                on_step(f"training again after slot {done:,} of {end - start:,}")

            learner = None
            if retraining is not None:
                learner = Learner(stores, region.id, retraining=retraining, promotion=promotion, on_training=on_training, on_part=on_part)
            begun = stores.ledger.head(CONTROL_LOG).size

            def learn(name: str) -> None:
                if learner is not None:
                    learner.take_turn()

            run_embedded(stores, source, [region.id], bounded=True, on_slot=evaluate, on_turn=learn, stop=stop)
            decisions, first = decisions_of(stores, region, begun, end), champions_at(stores, region, begun)
            fair = _fairness(stores, region, areas, Period(start, end, region.horizons[0]), on_step, on_part) if areas else {}
        finally:
            stores.close()
    judged = dict(zip(region.measures, evaluations, strict=True))
    return BacktestResult(
        region.id,
        train_until,
        test_until,
        start - record.first_slot,
        done,
        rows={measure: evaluation.rows() for measure, evaluation in judged.items()},
        calibration={measure: evaluation.calibration() for measure, evaluation in judged.items()},
        noise_floor={measure: evaluation.floor_rows() for measure, evaluation in judged.items()},
        evaluations=judged,
        fairness=fair,
        start_slot=start,
        first_models=first,
        decisions=decisions,
    )


def _expect_unused(stores: Stores, region: Region, covariates: CovariateRows | None) -> None:
    """Check that every slot of the test will be closed now, by the model of now: a closed slot keeps its forecasts."""
    closed = stores.ledger.find(region_log(region.id), SlotClosed)
    if closed is not None:
        until = local_iso((closed.slot + 1) * region.slot_us, region)
        raise UsageError(
            f"--home: expected one in which region {region.id} has closed no slot, got slots until {until}", remedy="use another --home"
        )
    expect_no_others(stores.ledger, region.id, covariates)


def _fairness(
    stores: Stores,
    region: Region,
    areas: Areas,
    period: Period,
    on_step: Callable[[str], None],
    on_part: Callable[[float], None],
) -> dict[str, Fairness]:
    on_step("comparing the classes of the areas")
    found: dict[str, Fairness] = {}
    for measure in region.measures:
        try:
            measured = measure_fairness(stores, region, measure, areas, period, on_issue=lambda done, total: on_part(done / total))
        except NotFound:
            continue  # the test is too short for any forecast to settle
        found[measure] = measured.found
    return found
