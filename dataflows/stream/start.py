"""Starts a run: intake rules, pumps, resumed regions, and the records of its start and stop."""

import logging
import math
import os
import platform
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from dataflows.connectors.rejects_at import open_rejects
from dataflows.connectors.sinks import RejectSink
from dataflows.connectors.source_watch import ASK_EVERY_S, PinnedRides, confirming, difference
from dataflows.connectors.sources import RideSource
from dataflows.stream.environment import describe_environment
from dataflows.stream.intake_watch import IntakeWatch
from dataflows.stream.pump import PartitionPump, PumpLimits
from dataflows.stream.region_run import RegionRun, SlotReport, open_region_run
from dataflows.stream.resume import ResumePlan, accepted_change, check_held, plan_resume, source_before
from dataflows.stream.stopping import StopEvent
from dataflows.stream.stores import Stores
from ledger.store.recording import Recorder
from ledger.views.append import append_shared
from ledger.views.follow import Stop
from ledger.views.regions import last_run
from schemas.configuration.settings import Settings
from schemas.errors import NotFound, SourceMoved, StoreUnavailable, UsageError
from schemas.events.codec import Decoder
from schemas.records.record_codec import encode
from schemas.records.records import RUNS_LOG, RegionBootstrapped, RegionHalted, RunStarted, RunStopped, region_log
from state.counting.intake import IntakeRules

log = logging.getLogger(__name__)


def plan_regions(stores: Stores, source: RideSource, regions: Sequence[str]) -> list[ResumePlan]:
    """Where each region resumes in this source.

    Raises:
        UsageError, NotFound: it is not the ride log that a region was written from, see `plan_resume` and `check_held`.
    """
    plans = [plan_resume(stores.ledger, region, source.partitions(), source.identity()) for region in regions]
    bounds = {partition: source.bounds(partition) for partition in source.partitions()}
    for plan in plans:
        check_held(plan, bounds)
    return plans


def was_read(stores: Stores, regions: Sequence[str], where: str) -> bool:
    """Whether the last run of one of these regions read a topic or directory of this name, so that a missing one may come back."""
    name = where.rpartition("/")[2] if "://" in where else Path(where).resolve().name
    befores = [source_before(stores.ledger, region) for region in regions]
    return any(before is not None and name in (before.topic, before.files) for before in befores)


def accept_source(stores: Stores, source: RideSource, region: str) -> None:
    """Record that an operator lets a region go on with a ride log that `plan_regions` refuses; nothing if it refuses none."""
    try:
        plan_regions(stores, source, [region])
    except (UsageError, NotFound):
        change = accepted_change(stores.ledger, region, source.identity())
        if change is None:
            raise
        name = region_log(region)
        Recorder(stores.ledger, name).append(stores.ledger.head(name).size, [encode(change)])


def rules_of(plan: ResumePlan) -> IntakeRules:
    """The intake rules of a region that is resumed."""
    return recorded_rules(plan.bootstrapped)


def recorded_rules(boot: RegionBootstrapped) -> IntakeRules:
    """The intake rules that a bootstrap recorded."""
    return IntakeRules(skew_s=boot.skew_s, dedup_horizon_events=boot.dedup_horizon_events, others_ok=boot.others_ok)


def check_rules(boots: Sequence[RegionBootstrapped]) -> None:
    """Check that one pump can serve all these regions.

    Raises:
        UsageError: they were bootstrapped with different intake rules.
    """
    first, *others = boots
    for boot in others:
        if recorded_rules(boot) != recorded_rules(first):
            raise UsageError(
                f"region {boot.region}: expected the same intake rules as {first.region} ({recorded_rules(first)}), "
                f"got {recorded_rules(boot)} from its bootstrap",
                remedy="run one of them from a home of its own",
            )


def limits_of(settings: Settings) -> PumpLimits:
    """Bounds on reading, from settings."""
    return PumpLimits(settings.batch_events, settings.idle_after_s, 1.0 / settings.progress_per_s)


def open_pumps(
    stores: Stores,
    source: RideSource,
    plans: Sequence[ResumePlan],
    partitions: Sequence[int],
    rejects: RejectSink,
    *,
    bounded: bool,
    tallies: bool = True,
) -> list[PartitionPump]:
    """One pump per partition.

    Args:
        tallies: Whether to write what is read into the home.
    Raises:
        UsageError: as `check_rules`.
    """
    check_rules([plan.bootstrapped for plan in plans])
    regions, rules = tuple(plan.region.id for plan in plans), rules_of(plans[0])
    limits, definitions = limits_of(stores.settings), [plan.region for plan in plans]
    return [
        PartitionPump(
            source,
            partition,
            plans,
            Decoder(regions),
            rules,
            rejects,
            limits,
            time.monotonic,
            bounded=bounded,
            watch=IntakeWatch(stores.settings.home if tallies else None, partition, definitions, rules.skew_s),
        )
        for partition in partitions
    ]


def start_region(
    stores: Stores,
    region: str,
    source: RideSource,
    processes: int = 1,
    on_refold: Callable[[int, int], None] | None = None,
    *,
    bounded: bool = False,
) -> RegionRun:
    """Resume a region's run.

    Its start is recorded last, so that after a crash in between the last recorded environment is still the old one.
    """
    stores.hold(region_log(region))
    stores.ledger.admit_all()  # A region obeys `control`: if that log was rolled back, the champion would silently be lost.
    last = last_run(stores.ledger, region)
    run = open_region_run(
        stores.ledger,
        stores.blobs,
        region,
        source.partitions(),
        stores.environment,
        time.monotonic,
        same_environment=last is None or last.environment == stores.environment,
        snapshot_every_s=stores.settings.snapshot_every_s,
        explain_slots=stores.settings.explain_slots,
        on_refold=on_refold,
        identity=source.identity(),
        confirm=confirming(source),
        processor_s=time.thread_time,
        forecast_budget_s=math.inf if bounded else stores.settings.forecast_budget_s,
    )
    stores.runs.append(record_start(stores, f"run {region}", source.identity().to_json(), processes))
    return run


def run_embedded(
    stores: Stores,
    source: RideSource,
    regions: Sequence[str],
    *,
    bounded: bool,
    on_slot: Callable[[SlotReport], None] | None = None,
    on_turn: Callable[[str], None] | None = None,
    stop: Stop | None = None,
) -> None:
    """Run the whole pipeline in this process, without Bytewax; it starts again by itself when the source has changed.

    Args:
        on_slot: Called after each recorded slot; several may have been recorded by then.
        on_turn: Called with the region before each of its slots closes, when all before it are recorded.
    """
    stop = stop or StopEvent()
    while not _run_once(stores, source, regions, bounded=bounded, on_slot=on_slot, on_turn=on_turn, stop=stop):
        pass


def _run_once(
    stores: Stores,
    source: RideSource,
    regions: Sequence[str],
    *,
    bounded: bool,
    on_slot: Callable[[SlotReport], None] | None,
    on_turn: Callable[[str], None] | None,
    stop: Stop,
) -> bool:
    """Run until the end, a stop, or a change of the source; returns whether it was one of the first two."""
    from dataflows.stream.local import run_local

    pinned = PinnedRides(source)
    plans = plan_regions(stores, pinned, regions)
    with ExitStack() as opened:
        rejects = open_rejects(stores.settings)
        opened.callback(rejects.close)
        runs = [start_region(stores, region, pinned, bounded=bounded) for region in regions]
        if on_turn is not None:
            for run in runs:
                run.on_turn = partial(on_turn, run.region.id)
        pumps = open_pumps(stores, pinned, plans, pinned.partitions(), rejects, bounded=bounded)
        for pump in pumps:
            opened.callback(pump.close)
        try:
            run_local(pumps, runs, on_slot=on_slot, stop=stop if bounded else _UntilMoved(stop, pinned, source))
        except SourceMoved as moved:
            log.warning("%s; starting again to go on with it", moved)
            return False
        record_stops(stores)
    return True


class _UntilMoved:
    """A stop that also asks the source every few seconds whether it has changed, and raises SourceMoved if so."""

    def __init__(self, stop: Stop, pinned: RideSource, source: RideSource) -> None:
        self._stop, self._pinned, self._source = stop, pinned, source
        self._asked_s = time.monotonic()

    def is_set(self) -> bool:
        if time.monotonic() - self._asked_s >= ASK_EVERY_S:
            self._asked_s = time.monotonic()
            try:
                found = difference(self._pinned, self._source)
            except StoreUnavailable:
                found = None  # the readers find out
            if found is not None:
                raise SourceMoved(found)
        return self._stop.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        return self._stop.wait(timeout)


def record_start(stores: Stores, command: str, source: str, processes: int) -> str:
    """Append `RunStarted`; returns the run's id."""
    run = uuid.uuid4().hex
    started = RunStarted(
        run=run,
        command=command,
        started_at_us=time.time_ns() // 1000,
        host=platform.node(),
        environment=stores.environment,
        packages=describe_environment(),
        source=source,
        processes=processes,
    )
    append_shared(stores.ledger, RUNS_LOG, started)
    return run


def record_halt(stores: Stores, region: str, slot: int, reason: str) -> None:
    """Append `RegionHalted` for a region that stops while others of its run go on."""
    run = stores.runs[0] if stores.runs else ""
    append_shared(stores.ledger, RUNS_LOG, RegionHalted(run=run, region=region, slot=slot, reason=reason))


def record_stops(stores: Stores) -> None:
    """Append a `RunStopped` with the sizes of all logs for each started region; a run without one did not end cleanly."""
    while stores.runs:
        sizes = {log: stores.ledger.head(log).size for log in stores.ledger.logs()}
        append_shared(stores.ledger, RUNS_LOG, RunStopped(run=stores.runs.pop(0), stopped_at_us=time.time_ns() // 1000, sizes=sizes))


def quiet_threads() -> None:
    """Use one OpenMP thread per process: oversubscribed, XGBoost is twenty times slower. Call before importing it."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.setswitchinterval(0.005)
