"""A simulated region that is watched live, in memory: events, intake, closes, forecasts and detectors as in a run, without a ledger.

It can be copied between two days, so that many faults share the days before them. Partitions are read once a slot, when the
slot can close; one whose last event is older than the idle time says then that it is idle, as a live run's would.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from time import process_time

import numpy as np

from dataflows.connectors.delivery import Delivery, DeliveryRules
from ledger.views.watched import forecast_of, watched_slot
from schemas.events.cells import cell_texts
from schemas.events.codec import Decoder
from schemas.events.rides import Float64s, Int64s, RawBatch, UInt64s, no_rides
from schemas.forecasts.watched import WatchedSlot
from schemas.regions import US_PER_S, Region
from state.counting.evidence import EvidenceRules
from state.counting.intake import IntakeRules, PartitionIntake
from state.counting.partials import Partial, ResumePoint, Standing
from state.counting.slots import NO_COUNTS, Agreement, ClosedSlot, CountColumns, OpenSlots, merge_counts
from state.forecast.region import RegionFold, SlotOutcome
from state.simulation.city import build_city
from state.simulation.faults.kinds import Reports, Scene
from state.simulation.faults.run import FaultRun
from state.simulation.faults.syntax import parse_faults
from state.simulation.simulate import DAY_US, CityDays

PARTITIONS = 4
IDLE_AFTER_S, READ_AFTER_S = 5, 15  # idle as in a run; how long after the lateness of a slot its events are read
RULES = IntakeRules(skew_s=300, dedup_horizon_events=1_000_000, others_ok=True)  # as by default with four partitions
EVIDENCE = EvidenceRules(10, 16, 259_200)

Forecast = tuple[int, UInt64s, Float64s, Float64s]


@dataclass(frozen=True, slots=True)
class City:
    """Which city: its region, its seed, its size and how much of it comes before the first live slot."""

    region: Region
    seed: int
    start_us: int
    rides_per_day: int
    history_days: int


class LiveCity:
    """A region that is counted, forecast and watched live.

    Args:
        city: Its history is counted as a bootstrap counts it: without late events, of which there are none.
        end_us: No fault begins later.
    """

    def __init__(self, city: City, end_us: int) -> None:
        region = city.region
        self.city, self._end_us = city, end_us
        self._days = CityDays(region, city.start_us, city.seed, city.rides_per_day)
        self._delivery = Delivery(PARTITIONS, DeliveryRules())
        self._faults: FaultRun | None = None
        self._day_us = city.start_us
        self.first_slot = city.start_us // region.slot_us + city.history_days * (DAY_US // region.slot_us)
        point = ResumePoint(0, 0, self.first_slot - 1, -1, self.first_slot)
        first = ResumePoint(0, 0, city.start_us // region.slot_us - 1, -1, city.start_us // region.slot_us)
        counted = _Reader(region, first)
        parts: list[tuple[Int64s, UInt64s, Int64s]] = []
        for _ in range(city.history_days):
            for entries in self._next_day():
                for partial in counted.read(*entries):
                    parts.append((partial.rows.slot, partial.rows.cell, partial.rows.count))
        self._reader = _Reader(region, point, counted.positions)
        points = {number: replace(point, open_from=at, counted_until=at) for number, at in enumerate(counted.positions)}
        self._slots = OpenSlots(region.id, 1, self.first_slot, points, Agreement.of(region, EVIDENCE))
        self._fold = RegionFold(region, self.first_slot)
        self._fold.remember(_by_slot(merge_counts(parts), self.first_slot))
        self._forecast: Forecast | None = None
        self.run_s = 0.0

    @property
    def scene(self) -> Scene:
        """Where faults happen."""
        city = self.city
        return Scene(
            city.region, build_city(city.region, city.seed), city.seed, city.start_us, self._end_us, city.rides_per_day, PARTITIONS
        )

    def branch(self, text: str) -> "LiveCity":
        """A copy that goes on with a fault, which begins at the next day or later; `{busiest}` in it is the busiest cell."""
        other = copy.deepcopy(self)
        scene = self.scene
        [busiest] = cell_texts(scene.city.cells[:1], scene.region.precision)
        other._faults = FaultRun(scene, parse_faults((text.format(busiest=busiest),), self.city.region, scene.start_us, scene.end_us))
        other._days.faults = other._faults
        other._delivery.change = other._faults.delivered
        return other

    @property
    def faults(self) -> FaultRun | None:
        """Those of a branch."""
        return self._faults

    def _next_day(self) -> Iterator[tuple[int, Int64s, list[bytes], list[bytes]]]:
        events, sent_at_us, until_us = self._days.next_day(), None, self._day_us + DAY_US
        if self._faults is not None:
            reports = self._faults.reported(Reports(events, events.occurred_at_us, self._day_us, until_us))
            events, sent_at_us = reports.columns, reports.sent_at_us
        self._day_us = until_us
        yield from self._delivery.push(events, until_us, sent_at_us)

    def day(self) -> Iterator[WatchedSlot]:
        """The slots that close on the next day."""
        region, from_us = self.city.region, self._day_us
        entries = list(self._next_day())
        after_us = (region.issue_lateness_s + READ_AFTER_S) * US_PER_S
        reads = from_us + np.arange(1, DAY_US // region.slot_us + 1) * region.slot_us
        for at_us in (reads - region.slot_us + after_us).tolist():
            yield from self._read(entries, at_us)
        yield from self._read(entries, from_us + DAY_US)

    def _read(self, entries: Sequence[tuple[int, Int64s, list[bytes], list[bytes]]], at_us: int) -> list[WatchedSlot]:
        started_s = process_time()
        for number, times, _, values in entries:
            low, high = self._reader.taken(number, times, at_us)
            if high > low:
                self._absorb(self._reader.read(number, times[low:high], [], values[low:high]))
        for number in self._reader.idle(at_us - IDLE_AFTER_S * US_PER_S):
            self._absorb(self._reader.nothing(number))
        found = list[WatchedSlot]()
        while self._slots.next_slot < self._slots.closable_until:
            found.append(self._closed(self._slots.close()))
        self.run_s += process_time() - started_s
        return found

    def _absorb(self, partials: Sequence[Partial]) -> None:
        for partial in partials:
            self._slots.absorb(partial)

    def _closed(self, closed: ClosedSlot) -> WatchedSlot:
        outcome = self._fold.apply(closed)
        watched = seen_of(outcome, self._forecast)
        self._forecast = forecast_of(closed.slot, outcome.issues[0].draft.columns, self.city.region)
        return watched


def seen_of(outcome: SlotOutcome, forecast: Forecast | None) -> WatchedSlot:
    """What detectors see of a slot before it is recorded; the same as what they see of its records."""
    closed = outcome.closed
    own, late = closed.counts[0], closed.corrections[0]
    return watched_slot(closed.slot, closed.slot, outcome.status, closed.cuts, own.cells, own.counts, int(late.counts.sum()), forecast)


def _by_slot(counts: CountColumns, until: int) -> Iterator[tuple[int, tuple[CountColumns, ...]]]:
    """The counts of every slot from the first with a ride on."""
    if not len(counts):
        return
    slots = np.arange(int(counts.slots[0]), until + 1)
    edges = np.searchsorted(counts.slots, slots).tolist()
    for slot, low, high in zip(slots[:-1].tolist(), edges, edges[1:], strict=False):
        at = slice(low, high)
        yield slot, (CountColumns(counts.slots[at], counts.cells[at], counts.counts[at]) if high > low else NO_COUNTS,)


class _Reader:
    """The intake of all partitions, and how far each is read."""

    def __init__(self, region: Region, point: ResumePoint, positions: Sequence[int] = (0,) * PARTITIONS) -> None:
        self.positions = list(positions)
        self._decoder = Decoder((region.id,))
        self._newest_us = [-1] * PARTITIONS
        self._read_until_us = [-1] * PARTITIONS
        self._intakes = []
        for number, position in enumerate(positions):
            resumed = replace(point, open_from=position, counted_until=position)
            self._intakes.append(PartitionIntake(number, (region,), RULES, (resumed,), position, (EVIDENCE,)))

    def taken(self, partition: int, times_us: Int64s, at_us: int) -> tuple[int, int]:
        """Rows of some entries that are not read yet and were logged before a time."""
        low = int(np.searchsorted(times_us, self._read_until_us[partition]))
        self._read_until_us[partition] = max(at_us, self._read_until_us[partition])
        return low, max(low, int(np.searchsorted(times_us, at_us)))

    def read(self, partition: int, times_us: Int64s, keys: list[bytes], values: list[bytes]) -> list[Partial]:
        """The partials of the next entries of a partition."""
        first = self.positions[partition]
        self.positions[partition] = first + len(values)
        self._newest_us[partition] = int(times_us[-1])
        raw = RawBatch(partition, np.arange(first, first + len(values)), times_us, values)
        batch, undecodable = self._decoder.decode(raw)
        partials, _ = self._intakes[partition].absorb(batch, undecodable, first + len(values))
        return partials

    def idle(self, since_us: int) -> list[int]:
        """Partitions without an event since a time."""
        return [number for number, newest_us in enumerate(self._newest_us) if newest_us < since_us]

    def nothing(self, partition: int) -> list[Partial]:
        """The partials of a partition that is at its end."""
        partials, _ = self._intakes[partition].absorb(no_rides(partition), [], self.positions[partition], Standing.IDLE)
        return partials
