"""The Bytewax flow: sources that count, and one keyed step per region that closes, forecasts and records.

Bytewax provides execution, routing and workers; recovery uses the ledger. Only partial counts are sent from a
source to the worker of the region. Run it with `ridecast run`, or for one process by hand with
`python -m bytewax.run 'dataflows.stream.forecast:flow_from_environment()'`.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.run import cli_main

from dataflows.connectors.rejects_at import open_rejects
from dataflows.connectors.sinks import RejectSink
from dataflows.connectors.source_watch import PinnedRides, SourceWatch, wait_for_source
from dataflows.connectors.sources import RideSource, open_rides
from dataflows.stream.failed_arms import one_line
from dataflows.stream.pump import PartitionPump
from dataflows.stream.region_run import RegionRun, SlotReport, is_local
from dataflows.stream.resume import ResumePlan
from dataflows.stream.start import open_pumps, plan_regions, quiet_threads, record_halt, record_stops, start_region, was_read
from dataflows.stream.stopping import StopEvent, nothing, stop_on_signals
from dataflows.stream.stores import Stores, open_stores
from ledger.views.follow import Stop
from ledger.views.regions import halt_of
from schemas.configuration.settings import Settings
from schemas.errors import ConfigError, PeerEnded, RegionsHalted, SourceMoved
from schemas.records.records import RUNS_LOG
from state.counting.partials import Partial

log = logging.getLogger(__name__)

AWAIT_S = 0.02  # until a partition without new events is read again
IDLE_LOOK_S = 0.5  # how often a process that has nothing to do shows that it works
LATEST_START_S = 30.0  # a process whose region does not start by then has none
EPOCH = timedelta(seconds=1)

Keyed = tuple[str, Partial]


@dataclass(frozen=True, slots=True)
class Tick:
    """Output of the flow: one closed slot, small enough to send to any worker."""

    region: str
    slot: int
    rides: int
    corrections: int
    status: str
    events: int


def reraise(error: Exception) -> None:
    """Let Bytewax handle an error."""
    raise error


@dataclass(frozen=True, slots=True)
class Ending:
    """How the flow ends early.

    Attributes:
        stop: When set, sources end and regions save, but no slot closes. Without it a signal kills Bytewax at once.
        on_error: Handles an error inside the flow. Bytewax would wrap it in a panic with its own stack.
        duties: What this process has to do: partitions to read, regions in the middle of a step. While there are any, only
            their own looks at `stop` show that it works; see `looking_while_idle`.
        halted: Regions that stopped because of an error of their own, while others go on.
        at_work: Called after each step of a region, of which the first restores its state and may take long.
    """

    stop: Stop
    on_error: Callable[[Exception], None] = reraise
    duties: set[object] = field(default_factory=set)
    at_work: Callable[[], None] = nothing
    halted: dict[str, Exception] = field(default_factory=dict)

    def look(self) -> None:
        """Show that the process works."""
        self.stop.is_set()


@contextmanager
def looking_while_idle(ending: Ending) -> Iterator[None]:
    """Look at the stop event for a process that has nothing to do: its partitions have ended, or others have them all."""
    ended = threading.Event()

    def look() -> None:
        begun_s = time.monotonic()
        while not ended.wait(IDLE_LOOK_S):
            if time.monotonic() - begun_s > LATEST_START_S and not any(isinstance(duty, RegionLogic) for duty in ending.duties):
                ending.at_work()
            if not ending.duties:
                ending.look()

    thread = threading.Thread(target=look, name="idle", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class RideInput(FixedPartitionedSource[Keyed, None]):
    """One Bytewax input partition per partition of the ride log."""

    def __init__(self, stores: Stores, source: RideSource, regions: Sequence[str], ending: Ending, *, bounded: bool, tallies: bool) -> None:
        self._stores, self._source, self._ending, self._bounded, self._tallies = stores, source, ending, bounded, tallies
        self._partitions = source.partitions()
        # Read before any worker closes a slot: none can close before every partition of this process has advanced.
        self._plans: list[ResumePlan] = plan_regions(stores, source, regions)
        self._rejects: RejectSink = open_rejects(stores.settings)
        self._pumps: list[PartitionPump] = []

    def list_parts(self) -> list[str]:
        return [str(partition) for partition in self._partitions]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> "RidePartition":
        [pump] = open_pumps(
            self._stores, self._source, self._plans, [int(for_part)], self._rejects, bounded=self._bounded, tallies=self._tallies
        )
        self._pumps.append(pump)
        slot_us = max(plan.region.slot_us for plan in self._plans)
        return RidePartition(pump, self._pumps, self._stores.settings.align_slots * slot_us, self._ending)


class RidePartition(StatefulSourcePartition[Keyed, None]):
    """Emits the partials of one pump, aligned with the other pumps of this process."""

    def __init__(self, pump: PartitionPump, pumps: Sequence[PartitionPump], align_us: int, ending: Ending) -> None:
        self._pump, self._pumps, self._align_us, self._ending = pump, pumps, align_us, ending
        self._next: datetime | None = None
        ending.duties.add(self)

    def next_batch(self) -> Iterable[Keyed]:
        if self._ending.stop.is_set() or self._pump.ended:
            self._ending.duties.discard(self)
            raise StopIteration
        others = [pump.largest_us for pump in self._pumps if not (pump.ended or pump.idle or pump is self._pump)]
        if others and self._pump.largest_us > min(others) + self._align_us:
            self._wait(AWAIT_S / 10)
            return []
        self._next = None
        try:
            partials = self._pump.step()
        except Exception as error:
            self._ending.on_error(error)
            return []
        if not partials:
            self._wait(AWAIT_S)
        return [(partial.region, partial) for partial in partials]

    def _wait(self, seconds: float) -> None:
        self._next = datetime.now(UTC) + timedelta(seconds=seconds)

    def next_awake(self) -> datetime | None:
        return self._next

    def snapshot(self) -> None:
        return None

    def close(self) -> None:
        self._ending.duties.discard(self)
        self._pump.close()


class RegionLogic(StatefulBatchLogic[Partial, Tick, None]):
    """The keyed step: created at a region's first partial, which comes even without rides."""

    def __init__(
        self, start: Callable[[str], RegionRun], ending: Ending, halt: Callable[[str, int, Exception], RegionsHalted | None]
    ) -> None:
        self._start, self._ending, self._halt = start, ending, halt
        self._region = ""
        self._run: RegionRun | None = None
        self._failed = False

    def on_batch(self, values: list[Partial]) -> tuple[Iterable[Tick], bool]:
        return self._try(lambda: self._absorb(values)), StatefulBatchLogic.RETAIN

    def _absorb(self, values: list[Partial]) -> list[Tick]:
        self._region = values[0].region
        if self._run is None:
            self._run = self._start(self._region)
            self._run.on_turn = self._ending.look
        return [tick_of(report) for partial in values for report in self._run.absorb(partial)]

    def on_eof(self) -> tuple[Iterable[Tick], bool]:
        # The sources may have ended because of a stop request: save, but close nothing.
        return self._try(self._save), StatefulBatchLogic.RETAIN

    def _save(self) -> list[Tick]:
        if self._run is not None:
            self._run.save()
        return []

    def _try(self, step: Callable[[], list[Tick]]) -> list[Tick]:
        """The result of a step; after the first error no further step is run."""
        if not self._failed:
            self._ending.duties.add(self)
            self._ending.look()
            try:
                done = step()
                self._ending.at_work()
                return done
            except Exception as error:
                self._failed = True
                slot = self._run.fold.next_slot if self._run is not None else -1
                self._end(error, slot)
            finally:
                self._ending.duties.discard(self)
        return []

    def _end(self, error: Exception, slot: int) -> None:
        """Halt the region; end the process if the error concerns all regions, or if none is left."""
        if not is_local(error):
            self._ending.on_error(error)
            return
        try:
            last = self._halt(self._region, slot, error)
        except Exception as cause:  # the record cannot be written
            self._ending.on_error(cause)
            return
        if last is not None:
            last.__cause__ = error
            self._ending.on_error(last)

    def snapshot(self) -> None:
        return None


def tick_of(report: SlotReport) -> Tick:
    """The tick of a report."""
    events = sum(cut.received for cut in report.outcome.closed.cuts)
    return Tick(report.region, report.slot, report.rides, report.corrections, report.status, events)


class TickSink(DynamicSink[Tick]):
    """Passes every tick to a function; the slot is in the ledger already."""

    def __init__(self, on_tick: Callable[[Tick], None]) -> None:
        self._on_tick = on_tick

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "TickPartition":
        return TickPartition(self._on_tick)


class TickPartition(StatelessSinkPartition[Tick]):
    """The partition of `TickSink` in one worker."""

    def __init__(self, on_tick: Callable[[Tick], None]) -> None:
        self._on_tick = on_tick

    def write_batch(self, items: list[Tick]) -> None:
        for item in items:
            self._on_tick(item)


def build_flow(
    stores: Stores,
    source: RideSource,
    regions: Sequence[str],
    ending: Ending,
    on_tick: Callable[[Tick], None],
    *,
    bounded: bool,
    processes: int = 1,
    tallies: bool = True,
) -> Dataflow:
    """Sources -> regions -> ticks."""
    flow = Dataflow("ridecast")
    partials = op.input("rides", flow, RideInput(stores, source, regions, ending, bounded=bounded, tallies=tallies))

    def start(region: str) -> RegionRun:
        return start_region(stores, region, source, processes, on_refold=lambda _done, _all: ending.look(), bounded=bounded)

    begun = stores.ledger.head(RUNS_LOG).size

    def halt(region: str, slot: int, error: Exception) -> RegionsHalted | None:
        ending.halted[region] = error
        record_halt(stores, region, slot, one_line(error))
        # The others may be in other processes: the last of them to halt finds all records.
        halted = {name: found.reason for name in regions if (found := halt_of(stores.ledger, name, since=begun)) is not None}
        left = [name for name in regions if name not in halted]
        rest = f"{', '.join(left)} go on" if left else "no region of this run is left"
        log.error("region %s: halted, because its fold fails without models too: %s; %s", region, one_line(error), rest)
        return None if left else _halted(halted)

    ticks = op.stateful_batch("region", partials, lambda _: RegionLogic(start, ending, halt))
    op.output("ticks", op.map("tick", ticks, lambda keyed: keyed[1]), TickSink(on_tick))
    return flow


def run_process(
    settings: Settings,
    regions: Sequence[str],
    processes: int,
    process: int | None,
    addresses: str,
    stop: StopEvent,
    *,
    bounded: bool,
    leave: Callable[[Exception], None] = reraise,
    tallies: bool = True,
) -> None:
    """Run one process of the cluster until its sources end or `stop` is set.

    Args:
        process: Its number, from 0, when there are several.
        addresses: All processes' host:port, separated by semicolons.
        stop: Set by the caller to end the run, and by an error in the flow.
        leave: Reports an error and exits at once. In a cluster an orderly end is impossible: Bytewax would wait for
            the other processes.
        tallies: Whether to write what is read into the home; at most one cluster of a home does.
    """
    quiet_threads()
    failed: list[Exception] = []

    def keep(error: Exception) -> None:
        failed.append(error)
        stop.set()

    def at_work() -> None:
        stop.starting = False

    stop.starting = True
    ending = Ending(stop, leave if addresses else keep, at_work=at_work)
    stores = open_stores(settings)
    source = open_rides(settings.rides, settings.rides_client)
    try:
        # What the last run read and is missing now is perhaps being created again; anything else is a wrong address.
        waits = not bounded and was_read(stores, regions, settings.rides)
        if waits and not wait_for_source(source, stop, lambda text: log.warning("%s", text)):
            return
        pinned = PinnedRides(source)
        flow = build_flow(stores, pinned, regions, ending, log_tick, bounded=bounded, processes=processes, tallies=tallies)
        watch = SourceWatch(pinned, lambda: open_rides(settings.rides, settings.rides_client), ending.on_error, bounded=bounded)
        with watch, looking_while_idle(ending):
            cli_main(  # type: ignore[no-untyped-call]  # Bytewax ships no stub for its runner
                flow, process_id=process, addresses=addresses.split(";") if addresses else None, epoch_interval=EPOCH
            )
        if not failed or isinstance(failed[0], SourceMoved):
            record_stops(stores)
        if failed:
            raise failed[0]
        if bounded and ending.halted:
            raise _halted({region: one_line(error) for region, error in ending.halted.items()})
    except BaseException as panic:
        if addresses and type(panic).__name__ == "PanicException":  # raised for a lost connection; the type cannot be imported
            raise PeerEnded("another process of this run has ended") from panic
        raise
    finally:
        stores.close()
        source.close()


def _halted(reasons: Mapping[str, str]) -> RegionsHalted:
    return RegionsHalted(f"halted: {'; '.join(f'region {region}: {reason}' for region, reason in reasons.items())}")


def log_tick(tick: Tick) -> None:
    """One line of the structured log per closed slot."""
    fields = {"region": tick.region, "slot": tick.slot, "status": tick.status, "rides": tick.rides, "corrections": tick.corrections}
    log.debug("closed a slot", extra={"fields": fields})


def flow_from_environment() -> Dataflow:
    """The flow that the environment variables configure, for Bytewax's own runner.

    RIDECAST_REGIONS names the regions, comma-separated; `ridecast settings` lists all other variables.
    """
    quiet_threads()
    settings = Settings.from_env(os.environ)
    regions = [name for name in os.environ.get("RIDECAST_REGIONS", "").split(",") if name]
    if not regions:
        raise ConfigError("RIDECAST_REGIONS: expected names of regions, comma-separated, got nothing")
    stop = stop_on_signals()
    pinned = PinnedRides(open_rides(settings.rides, settings.rides_client))

    def end(moved: SourceMoved) -> None:
        log.warning("%s", moved)
        stop.set()

    SourceWatch(pinned, lambda: open_rides(settings.rides, settings.rides_client), end, bounded=False).start()
    return build_flow(open_stores(settings), pinned, regions, Ending(stop), log_tick, bounded=False)
