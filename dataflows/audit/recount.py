"""Recomputes cuts, counts and corrections of past slots from the rides, with the same intake code as a live run.

The ledger provides only the start (the cuts of the slot before, as for a resume), the excused partitions and their offsets,
and the offsets that could not be read. Everything else follows from the rides. A stretch cannot be counted again if the
source no longer has the events that were read then, including those in the deduplication horizon.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dataflows.connectors.sources import RideSource
from dataflows.stream.resume import too_far_ahead
from ledger.views.closes import Close
from ledger.views.regions import defined_by
from schemas.errors import NotFound
from schemas.events.codec import Decoder
from schemas.events.rides import RawBatch, no_rides
from schemas.records.record_codec import decode
from schemas.records.records import HorizonShort, RegionBootstrapped, SlotClosed
from schemas.regions import Region
from state.counting.evidence import EvidenceRules, recorded_evidence
from state.counting.intake import IntakeRules, PartitionIntake
from state.counting.partials import Partial, ResumePoint
from state.counting.slots import Agreement, ClosedSlot, OpenSlots

BATCH_EVENTS = 20_000
POLL_S = 0.5


class RidesEnded(NotFound):
    """The rides end before the offsets that were read according to the ledger."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Slots [first_slot, until_slot) that are counted in one pass over the rides.

    Attributes:
        points: Partition -> where counting starts, as after a resume.
        read_from: Partition -> first offset that deduplication saw.
        excuses: Partition -> (offset, slots below it are excused), ascending.
        held: Whether the source still has all of these events.
        evidence: The region's recorded rules for cuts.
    """

    first_slot: int
    until_slot: int
    points: Mapping[int, ResumePoint]
    read_from: Mapping[int, int]
    excuses: Mapping[int, tuple[tuple[int, int], ...]]
    held: bool
    evidence: EvidenceRules


# --- what to read ---------------------------------------------------------------------------------


def plan_stretches(
    boot: RegionBootstrapped,
    before: SlotClosed | None,
    shorts: Sequence[HorizonShort],
    found: Sequence[Close],
    source: RideSource,
    closed: Callable[[int], SlotClosed | None] = lambda _: None,
) -> list[Stretch]:
    """Divide the slots of recorded closes into stretches.

    Args:
        boot: The region's bootstrap.
        before: The slot before the first close; None if that is the region's first slot.
        shorts: Short horizons recorded before the closes, in order.
        found: The closes of consecutive slots, at least one.
        source: The rides.
        closed: The record of any earlier slot, None if there is none.
    """
    lowest = {partition: source.bounds(partition)[0] for partition in source.partitions()}
    warmed = {short.partition: short.found_offset for short in shorts}
    out: list[Stretch] = []
    for close in found:
        news = [decode(stored.payload) for stored in close.before]
        warmed |= {short.partition: short.found_offset for short in news if isinstance(short, HorizonShort)}
        # A gap or a short horizon is recorded when a run has just restarted its reads, so a new stretch starts here too.
        if not out or news or not out[-1].held:
            started = _begin(boot, before, warmed, close.record, lowest, closed)
            if not out or news or started.held:
                out.append(started)
        out[-1] = replace(out[-1], until_slot=close.record.slot + 1, excuses=_excused(out[-1], close.record))
        before = close.record
    return out


def _begin(
    boot: RegionBootstrapped,
    before: SlotClosed | None,
    warmed: Mapping[int, int],
    record: SlotClosed,
    lowest: Mapping[int, int],
    closed: Callable[[int], SlotClosed | None],
) -> Stretch:
    """A new stretch that starts with this slot; its end is set later."""
    points: dict[int, ResumePoint] = {}
    if before is None:
        for partition in lowest:
            first = warmed.get(partition, 0)
            points[partition] = ResumePoint(first, first, boot.start_slot - 1, -1, boot.start_slot)
    else:
        too_far = too_far_ahead(boot, defined_by(boot), before, closed)
        for cut in before.partitions:
            counted_until = max(cut.cut, cut.open_from)
            points[cut.partition] = ResumePoint(
                cut.open_from, counted_until, before.slot, cut.largest_us, boot.start_slot, too_far[cut.partition]
            )
    read_from = {p: max(0, point.open_from - boot.dedup_horizon_events, warmed.get(p, 0)) for p, point in points.items()}
    held = all(lowest[partition] <= offset for partition, offset in read_from.items())
    return Stretch(record.slot, record.slot, points, read_from, {}, held, recorded_evidence(boot))


def _excused(stretch: Stretch, record: SlotClosed) -> dict[int, tuple[tuple[int, int], ...]]:
    excuses = dict(stretch.excuses)
    for cut in record.partitions:
        if cut.excused:
            kept = tuple(excuse for excuse in excuses.get(cut.partition, ()) if excuse[0] != cut.cut)
            excuses[cut.partition] = (*kept, (cut.cut, record.slot + 1))
    return excuses


# --- reading and counting -------------------------------------------------------------------------


def recount(
    source: RideSource, region: Region, others: Sequence[Region], rules: IntakeRules, stretch: Stretch, batch_events: int = BATCH_EVENTS
) -> Iterator[ClosedSlot]:
    """The slots of a stretch, in order, counted from the rides; without findings, which do not follow from rides.

    Args:
        others: Other regions whose rides the run accepted: they move cuts too.
    Raises:
        RidesEnded: a slot needs more rides than the source has.
    """
    slots = OpenSlots(region.id, len(region.measures), stretch.first_slot, stretch.points, Agreement.of(region, stretch.evidence))
    readers = {p: _Reading(source, p, (region, *others), rules, stretch, batch_events) for p in stretch.points}
    try:
        for slot in range(stretch.first_slot, stretch.until_slot):
            while slots.closable_until <= slot:
                readers[slots.slowest].step(slots)
            yield slots.close()
    finally:
        for reading in readers.values():
            reading.close()


class _Reading:
    """Reads one partition from excuse to excuse."""

    def __init__(
        self, source: RideSource, partition: int, regions: Sequence[Region], rules: IntakeRules, stretch: Stretch, batch_events: int
    ) -> None:
        point = stretch.points[partition]
        read_from = stretch.read_from[partition]
        self._partition, self._region, self._batch_events = partition, regions[0].id, batch_events
        self._reader = source.open(partition, read_from)
        self._decoder = Decoder(tuple(region.id for region in regions))
        self._intake = PartitionIntake(
            partition, regions, rules, [point] * len(regions), min(read_from, point.open_from), [stretch.evidence] * len(regions)
        )
        self._excuses = sorted(stretch.excuses.get(partition, ()))
        self._left: RawBatch | None = None  # already read, but after the next excuse

    def step(self, slots: OpenSlots) -> None:
        """Apply the excuse at this offset, or read a batch up to the next excuse at most."""
        while self._excuses and self._excuses[0][0] < self._intake.position:
            self._excuses.pop(0)  # The excuse is at an offset already passed: the counts will differ.
        if self._excuses and self._excuses[0][0] == self._intake.position:
            slots.excuse(self._partition, self._excuses.pop(0)[1])
            return
        for partial in self._read(self._excuses[0][0] if self._excuses else None):
            slots.absorb(partial)

    def _read(self, until: int | None) -> list[Partial]:
        raw, self._left = self._left if self._left is not None else self._reader.read(self._batch_events, POLL_S), None
        if raw is None:
            return self._without_rides(until)
        position = self._reader.position()
        if until is not None and position > until:
            keep = int(np.searchsorted(raw.offsets, until))
            self._left, raw = (raw.part(slice(keep, None)) if keep < len(raw) else None), raw.part(slice(0, keep))
            position = until
        batch, undecodable = self._decoder.decode(raw) if len(raw) else (no_rides(self._partition), [])
        partials, _ = self._intake.absorb(batch, undecodable, position)
        return [partial for partial in partials if partial.region == self._region]

    def _without_rides(self, until: int | None) -> list[Partial]:
        """Advance to the reader's position without a ride; raise RidesEnded if it is at the end of the rides."""
        position = self._reader.position() if until is None else min(self._reader.position(), until)
        if position <= self._intake.position and self._reader.position() >= self._reader.end():
            raise RidesEnded(f"partition {self._partition}: the rides end at offset {self._reader.position()}")
        partials, _ = self._intake.absorb(no_rides(self._partition), [], max(position, self._intake.position))
        return [partial for partial in partials if partial.region == self._region]

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()
