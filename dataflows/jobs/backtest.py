"""Past rides as if they came now: bootstrap and train on what was before a date, then run the live code."""

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from dataflows.connectors.sources import RideSource
from dataflows.jobs.bootstrap import bootstrap_region, count_rides, slot_of_midnight
from dataflows.jobs.learn import train_region
from dataflows.stream.region_run import SlotReport
from dataflows.stream.start import run_embedded
from dataflows.stream.stopping import StopEvent
from dataflows.stream.stores import open_stores
from schemas.errors import UsageError
from schemas.regions import Region
from schemas.settings import Settings
from state.forecast.evaluation import Evaluation, EvaluationRow


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """What a backtest found, per measure of the region.

    Attributes:
        test_slots: How many slots were tested: fewer than the dates span where the rides end before them.
    """

    region: str
    train_until: str
    test_until: str
    train_slots: int
    test_slots: int
    rows: dict[str, list[EvaluationRow]]


def backtest(
    settings: Settings,
    region: Region,
    source: RideSource,
    train_until: str,
    test_until: str,
    *,
    home: Path | None = None,
    on_step: Callable[[str], None] = lambda step: None,
    on_slot: Callable[[int, int], None] = lambda done, total: None,
) -> BacktestResult:
    """Run the live code over the test period and hold what it served against settled truth.

    Args:
        home: Where to keep what is made; a temporary directory if None.
        on_step: Told what begins.
        on_slot: Told (slots closed, slots in all).
    Raises:
        UsageError: the test period is empty, or the training period holds no rides.
    """
    start, end = slot_of_midnight(region, train_until), slot_of_midnight(region, test_until)
    if end <= start:
        raise UsageError(f"--test-until: expected a date after {train_until}, got {test_until}")
    with tempfile.TemporaryDirectory(prefix="ridecast-") if home is None else nullcontext(str(home)) as folder:
        # The embedded stores, whatever the environment names: a backtest writes to no server.
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
            on_step("counting the truth")
            truth = count_rides(stores, region, source, end).counts
            on_step(f"bootstrapping until {train_until}")
            record, _ = bootstrap_region(stores, region, source, train_until)
            on_step("training")
            train_region(stores, region, promote=True, reason="backtest")
            evaluations = [Evaluation(region, counts, (record.first_slot, start), end) for counts in truth]
            done, stop = 0, StopEvent()

            def evaluate(report: SlotReport) -> None:
                nonlocal done
                if report.slot >= end:  # one batch may close slots beyond the test before the run is asked to stop
                    return
                done += 1
                if done >= end - start:
                    stop.set()
                for evaluation, issue in zip(evaluations, report.outcome.issues, strict=True):
                    evaluation.add(report.slot, issue.draft.columns)
                on_slot(done, end - start)

            on_step("running the live code")
            run_embedded(stores, source, [region.id], bounded=True, on_slot=evaluate, stop=stop)
        finally:
            stores.close()
    rows = {measure: evaluation.rows() for measure, evaluation in zip(region.measures, evaluations, strict=True)}
    return BacktestResult(region.id, train_until, test_until, start - record.first_slot, done, rows)
