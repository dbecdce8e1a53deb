"""The composition root of the dataflows: from settings to open stores, sources and sinks."""

import os
import platform
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from dataflows.environment import describe_environment, environment_digest
from dataflows.pump import PartitionPump, PumpLimits
from dataflows.region_run import RegionRun, SlotReport, open_region_run
from dataflows.resume import ResumePlan, last_run, plan_resume
from dataflows.sealing import seals_of
from dataflows.signing import reading_key, writing_key
from dataflows.sinks import FileRejects, KafkaRejects, RejectSink
from dataflows.snapshots import append_shared
from dataflows.sources import RideSource, open_rides, said_source
from ledger.archive import Archive, blobs_at
from ledger.blobs import Blobs
from ledger.keys import Verifier
from ledger.log import Ledger, open_database, open_embedded
from schemas.codec import Decoder
from schemas.errors import StoreUnavailable, UsageError
from schemas.records import RUNS_LOG, RunStarted, RunStopped
from schemas.settings import Settings
from state.intake import IntakeRules


@dataclass(slots=True)
class House:
    """Open stores of one process."""

    settings: Settings
    ledger: Ledger
    blobs: Blobs
    environment: bytes
    runs: list[str] = field(default_factory=list)  # ids of what `start_region` recorded, for `record_stops`

    def close(self) -> None:
        """Write what is pending and let go."""
        try:
            self.ledger.close()
        finally:
            self.blobs.close()


def open_house(settings: Settings, *, reading: bool = False, verifier: Verifier | None = None) -> House:
    """Open the ledger and the blobs that the settings name.

    Args:
        settings: Where they are.
        reading: Nothing will be appended: the private key is not looked at, and none is made.
        verifier: Checks the checkpoints instead of the home's public key; for reading only.
    Raises:
        ConfigError: the private key cannot be used, see `dataflows.signing`.
        StoreUnavailable: the home or the database does not open.
    """
    if not reading:  # Who only looks leaves no folder behind, however the home was spelled.
        try:
            settings.home.mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            raise StoreUnavailable(f"home {settings.home}: expected a directory: {cause.strerror}") from cause
    key = writing_key(settings) if not reading else reading_key(settings) if verifier is None else lambda: verifier
    if settings.database:
        folder = settings.home / "checkpoints"
        ledger = open_database(settings.database, folder, instance=settings.instance, clock=time.monotonic, signer=key)
    else:
        ledger = open_embedded(settings.home, instance=settings.instance, clock=time.monotonic, signer=key)
    ledger.archive = Archive(Path(settings.archive)) if settings.archive else None
    return House(settings, ledger, blobs_at(settings.home, settings.database, settings.archive), environment_digest())


def open_rejects(settings: Settings) -> RejectSink:
    """Where rejected events go: a topic when outputs go to Kafka, else a file in home."""
    if settings.kafka:
        return KafkaRejects(settings.kafka, seals_of(settings), settings.instance)
    return FileRejects(settings.home / "rejects.sqlite", seals_of(settings))


def rules_of(plan: ResumePlan) -> IntakeRules:
    """The rules of intake that the region's bootstrap recorded."""
    return IntakeRules(skew_s=plan.bootstrapped.skew_s, dedup_horizon_events=plan.bootstrapped.dedup_horizon_events)


def limits_of(settings: Settings) -> PumpLimits:
    """Bounds on reading, from settings."""
    return PumpLimits(settings.batch_events, settings.idle_after_s, 1.0 / settings.progress_per_s)


def open_pumps(
    house: House, source: RideSource, plans: Sequence[ResumePlan], partitions: Sequence[int], rejects: RejectSink, *, bounded: bool
) -> list[PartitionPump]:
    """One pump per partition.

    Raises:
        UsageError: the regions were bootstrapped with different rules: one reading cannot keep both.
    """
    regions, rules = tuple(plan.region.id for plan in plans), rules_of(plans[0])
    for plan in plans:
        if rules_of(plan) != rules:
            raise UsageError(
                f"region {plan.region.id}: expected rides to be taken in by the rules of {regions[0]} ({rules}), "
                f"its bootstrap recorded {rules_of(plan)}; run each of them by itself"
            )
    return [
        PartitionPump(source, p, plans, Decoder(regions), rules, rejects, limits_of(house.settings), time.monotonic, bounded=bounded)
        for p in partitions
    ]


def start_region(
    house: House, region: str, source: RideSource, processes: int = 1, on_refold: Callable[[int, int], None] | None = None
) -> RegionRun:
    """A region's run, resumed.

    Only then is its start recorded, so that a crash in between leaves the old environment on record.
    """
    house.ledger.admit_all()  # A region acts on what `control` says: one that went back would silently take its champion away.
    last = last_run(house.ledger, region)
    run = open_region_run(
        house.ledger,
        house.blobs,
        region,
        source.partitions(),
        house.environment,
        time.monotonic,
        same_environment=last is None or last.environment == house.environment,
        snapshot_every_s=house.settings.snapshot_every_s,
        on_refold=on_refold,
    )
    house.runs.append(record_start(house, f"run {region}", said_source(source.identity()), processes))
    return run


def run_embedded(
    house: House,
    source: RideSource,
    regions: Sequence[str],
    *,
    bounded: bool,
    on_slot: Callable[[SlotReport], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Run the whole pipeline in this process, without Bytewax."""
    from dataflows.local import run_local

    partitions = source.partitions()
    plans = [plan_resume(house.ledger, region, partitions) for region in regions]
    with ExitStack() as opened:
        rejects = open_rejects(house.settings)
        opened.callback(rejects.close)
        runs = [start_region(house, region, source) for region in regions]
        pumps = open_pumps(house, source, plans, partitions, rejects, bounded=bounded)
        for pump in pumps:
            opened.callback(pump.close)
        run_local(pumps, runs, on_slot=on_slot, stopped=stopped)
        record_stops(house)


def record_start(house: House, command: str, source: str, processes: int) -> str:
    """Append `RunStarted`; returns the run's id."""
    run = uuid.uuid4().hex
    started = RunStarted(
        run, command, time.time_ns() // 1000, platform.node(), house.environment, describe_environment(), source, processes
    )
    append_shared(house.ledger, RUNS_LOG, started)
    return run


def record_stops(house: House) -> None:
    """Append a `RunStopped` with the sizes of all logs for each region that was started; a run without one did not end in order."""
    while house.runs:
        sizes = {log: house.ledger.head(log).size for log in house.ledger.logs()}
        append_shared(house.ledger, RUNS_LOG, RunStopped(house.runs.pop(0), time.time_ns() // 1000, sizes))


def quiet_threads() -> None:
    """One OpenMP thread per process: oversubscribed, XGBoost takes twenty times as long. Call before importing it."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.setswitchinterval(0.005)


__all__ = ["House", "open_house", "open_rides"]
