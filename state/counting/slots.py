"""Closes slots in order: merges partials, keeps cuts and excuses partitions that have no more input.

count(s) is every ride of s below the cut of s in its partition; a ride of s at or above that cut is a
correction and belongs to the slot whose range of offsets contains it. Nothing here reads a clock: an excuse
depends on input alone, evaluated when a partial reports that its partition has reached its end.
"""

from collections import defaultdict, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from schemas.errors import DiscontinuityError
from schemas.events.rides import Bools, Int64s, UInt8s, UInt64s, Uncounted
from schemas.records.records import PartitionCut, PartitionsChanged, SourceChanged
from schemas.regions import US_PER_S, Region
from state.counting.evidence import EvidenceRules, hold_limit
from state.counting.partials import NO_INTS, Partial, ResumePoint, Rows, Standing

NO_CELLS = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class CountColumns:
    """Sparse counts sorted by (slot, cell): int64[n], uint64[n], int64[n]."""

    slots: Int64s
    cells: UInt64s
    counts: Int64s

    def __len__(self) -> int:
        return len(self.slots)


NO_COUNTS = CountColumns(NO_INTS, NO_CELLS, NO_INTS)


@dataclass(frozen=True, slots=True)
class GapFound:
    """A partition's source no longer has offsets [from_offset, to_offset)."""

    partition: int
    from_offset: int
    to_offset: int


@dataclass(frozen=True, slots=True)
class HorizonFound:
    """Deduplication of a partition was warmed only from `found_offset`, not from `wanted_offset`."""

    partition: int
    wanted_offset: int
    found_offset: int


Finding = GapFound | HorizonFound | SourceChanged | PartitionsChanged


@dataclass(frozen=True, slots=True)
class ClosedSlot:
    """One slot, merged over all partitions.

    Attributes:
        slot: Its number.
        cuts: One per partition, ascending by partition.
        counts: Per measure of the region, rides of this slot.
        corrections: Per measure, rides of earlier slots that arrived since the last cut.
        findings: Gaps, short horizons and changes of the source found since the last close.
    """

    slot: int
    cuts: tuple[PartitionCut, ...]
    counts: tuple[CountColumns, ...]
    corrections: tuple[CountColumns, ...]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class _Cut:
    until: int  # slots below are cut
    offset: int
    largest_us: int
    needed_from: int
    excused: bool


@dataclass(slots=True)
class _Lane:
    """One partition's part of the open slots."""

    partition: int
    position: int
    first_uncut: int  # cut or excused below it
    own_uncut: int  # cut by its own log below it
    largest_us: int
    last_cut: int
    needed_from: int  # lowest offset on which its evidenced time may still depend
    recent_us: Int64s = field(default_factory=lambda: NO_INTS)  # of its last events, -1 for those within its evidenced time
    standing: Standing = Standing.FLOWING
    cuts: deque[_Cut] = field(default_factory=deque)
    totals: dict[int, dict[str, int]] = field(default_factory=dict)  # slot of the range -> name -> events
    lowest: dict[int, int] = field(default_factory=dict)  # open slot -> lowest offset of a ride


END_REACH_US = 3_600 * US_PER_S  # a bounded run's last events may be so far apart; one with a wrong clock closes at most so much


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the partitions of a region evidence together, where one alone has too few events for it.

    A partition has cut a slot only if its own events say so. Only where partitions have reached the end of their input,
    so that no event will come, are the last events of all partitions a window like the one of a single partition.

    Attributes:
        slot_us, lateness_us: Of the region.
        rules: Recorded rules.
    """

    slot_us: int
    lateness_us: int
    rules: EvidenceRules

    @classmethod
    def of(cls, region: Region, rules: EvidenceRules) -> "Agreement":
        """The agreement of a region's partitions."""
        return cls(region.slot_us, region.issue_lateness_s * US_PER_S, rules)

    def uncut(self, us: int) -> int:
        """First slot that is not cut at an evidenced time."""
        return (us - self.lateness_us) // self.slot_us

    def limit(self, uncut: Int64s) -> Int64s | None:
        """First slot that is too far ahead, given the first slot that is not cut; None for no bound."""
        return hold_limit(uncut, self.rules.hold_slots(self.slot_us)) if self.rules.hold_s else None

    def reached(self, lanes: Collection[_Lane]) -> int:
        """The k-th largest of the last W events, the same number from each partition; at least what one has reached alone.

        Of more than W partitions each gives one event, so that there are more than W: then the same share must agree.
        """
        alone = max(lane.largest_us for lane in lanes)
        most = -(-self.rules.window_events // len(lanes))
        needed = max(self.rules.events, -(-self.rules.events * len(lanes) // self.rules.window_events))
        times = sorted((us for lane in lanes for us in lane.recent_us[-most:].tolist() if us > alone), reverse=True)
        return times[needed - 1] if len(times) >= needed else alone

    def last(self, lanes: Collection[_Lane]) -> int:
        """Through which time a bounded run closes at its end, -1 for none.

        No later event will confirm the last ones, so they count as evidence if they are near. A ride that is held since long ago
        does not.
        """
        recent: list[int] = sorted((us for lane in lanes for us in lane.recent_us.tolist() if us >= 0), reverse=True)
        reached = self.reached(lanes)
        if reached < 0 and recent:  # Fewer events than the evidence takes: the run has no others, so the earliest must do.
            reached = recent[min(self.rules.events, len(recent)) - 1]
        return max([reached, *(us for us in recent if 0 <= us - reached <= END_REACH_US)])


class OpenSlots:
    """Slots of one region that are not closed yet.

    Args:
        region: Its id, for messages.
        measures: How many measures it has.
        next_slot: First slot to close.
        resume: partition -> where it resumes; with `open_from` -1, at the first partial's start.
        agreement: What the partitions evidence together; by default nothing, and no ride is too far ahead.
        findings: Found before the first partial; they belong to the next slot.
    """

    def __init__(
        self,
        region: str,
        measures: int,
        next_slot: int,
        resume: Mapping[int, ResumePoint],
        agreement: Agreement | None = None,
        findings: Sequence[Finding] = (),
    ) -> None:
        self.region = region
        self._agreement = agreement
        self.measures = measures
        self.next_slot = next_slot
        self._lanes = {
            partition: _Lane(partition, point.open_from, next_slot, next_slot, point.largest_us, point.counted_until, point.open_from)
            for partition, point in sorted(resume.items())
        }
        self._counts: dict[int, list[tuple[int, UInt64s, Int64s]]] = defaultdict(list)  # slot -> (measure, cells, counts)
        self._corrections: dict[int, list[tuple[int, Int64s, UInt64s, Int64s]]] = defaultdict(list)
        self._findings: list[Finding] = list(findings)

    @property
    def partitions(self) -> tuple[int, ...]:
        """Numbers of the partitions, ascending."""
        return tuple(self._lanes)

    def absorb(self, partial: Partial) -> None:
        """Merge one partial.

        Raises:
            DiscontinuityError: it does not continue its partition's offsets, or the partition is unknown.
        """
        lane = self._lanes.get(partial.partition)
        if lane is None:
            raise DiscontinuityError(f"region {self.region}: expected partitions {list(self._lanes)}, got {partial.partition}")
        if lane.position < 0:  # New to the region: the partition starts where its source starts.
            lane.position = partial.from_offset
        if partial.from_offset != lane.position:
            raise DiscontinuityError(
                f"region {self.region}, partition {partial.partition}: expected offset {lane.position}, got {partial.from_offset}"
            )
        if partial.gap_until > partial.from_offset:
            self._findings.append(GapFound(partial.partition, partial.from_offset, partial.gap_until))
        if partial.short_from >= 0:
            self._findings.append(HorizonFound(partial.partition, partial.wanted_from, partial.short_from))
        self._merge(lane, partial)
        lane.standing = partial.standing
        lane.position = partial.to_offset
        self._excuse(lane)

    def _merge(self, lane: _Lane, partial: Partial) -> None:
        # An excuse may be ahead of the partition's own cuts: rides of those slots are then late.
        uncut = np.maximum(partial.first_uncut, lane.first_uncut)
        for piece, offset in enumerate(partial.cuts.tolist()):
            until = int(partial.first_uncut[piece + 1])
            if until > max(lane.first_uncut, int(partial.first_uncut[0])):
                needed_from = int(partial.needed_from[piece]) if len(partial.needed_from) else offset
                lane.cuts.append(_Cut(until, offset, int(partial.largest_us[piece]), needed_from, False))
        rows, totals = partial.rows, partial.totals
        limit = self._agreement.limit(uncut) if self._agreement else None
        if limit is not None and len(rows) and (far := rows.slot >= limit[rows.piece]).any():
            rows, totals = _without(rows, far, totals)
        self._add_totals(lane, uncut, totals)
        if len(rows):
            late = rows.slot < uncut[rows.piece]
            if late.any():
                self._add_corrections(uncut[rows.piece[late]], rows.measure[late], rows.slot[late], rows.cell[late], rows.count[late])
                rest = ~late
                self._add_counts(rows.slot[rest], rows.measure[rest], rows.cell[rest], rows.count[rest])
            else:
                self._add_counts(rows.slot, rows.measure, rows.cell, rows.count)
            for piece, slot, offset in zip(*(column.tolist() for column in partial.lowest), strict=True):
                held = slot >= uncut[piece] and (limit is None or slot < limit[piece])
                if held and offset < lane.lowest.get(slot, offset + 1):
                    lane.lowest[slot] = offset
        lane.first_uncut = int(uncut[-1])
        lane.own_uncut = max(lane.own_uncut, int(partial.first_uncut[-1]))
        lane.largest_us = max(lane.largest_us, int(partial.largest_us[-1]))
        lane.needed_from = int(partial.needed_from[-1]) if len(partial.needed_from) else partial.to_offset
        lane.recent_us = partial.recent_us

    def _add_totals(self, lane: _Lane, uncut: Int64s, totals: Mapping[str, Int64s]) -> None:
        names = list(totals)
        table = np.array([totals[name] for name in names])
        for piece in np.flatnonzero(table.any(axis=0)).tolist():
            sums = lane.totals.setdefault(int(uncut[piece]), {})
            for name, number in zip(names, table[:, piece].tolist(), strict=True):
                if number:
                    sums[name] = sums.get(name, 0) + number

    def _add_counts(self, slots: Int64s, measures: UInt8s, cells: UInt64s, counts: Int64s) -> None:
        if not len(slots):
            return
        group = slots * self.measures + measures
        order = np.argsort(group, kind="stable")
        group = group[order]
        starts = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(group)], strict=True):
            at = order[start:stop]
            slot, measure = divmod(int(group[start]), self.measures)
            self._counts[slot].append((measure, cells[at], counts[at]))

    def _add_corrections(self, within: Int64s, measures: UInt8s, slots: Int64s, cells: UInt64s, counts: Int64s) -> None:
        for key in np.unique(within * self.measures + measures).tolist():
            slot, measure = divmod(key, self.measures)
            mine = (within == slot) & (measures == measure)
            self._corrections[slot].append((measure, slots[mine], cells[mine], counts[mine]))

    def _excuse(self, updated: _Lane) -> None:
        """Excuse partitions that have reached their end from slots that another partition has cut, or that all have together.

        An ended partition stays at its end; an idle one is excused only when its own partial has just reported it.
        """
        ahead = max(lane.own_uncut for lane in self._lanes.values())
        if self._agreement is not None and updated.standing is not Standing.FLOWING:
            ahead = max(ahead, self._agreement.uncut(self._agreement.reached(self._lanes.values())))
        for lane in self._lanes.values():
            at_end = lane.standing is Standing.ENDED or (lane is updated and lane.standing is Standing.IDLE)
            if at_end:
                self.excuse(lane.partition, ahead)

    def close_rest(self, through_slot: int) -> None:
        """Excuse every ended partition through that slot: the end of a bounded run."""
        for lane in self._lanes.values():
            if lane.standing is Standing.ENDED:
                self.excuse(lane.partition, through_slot + 1)

    def excuse(self, partition: int, until_slot: int) -> None:
        """Excuse a partition at its current position from slots below `until_slot`; a replay calls this where the record does."""
        lane = self._lanes[partition]
        if lane.first_uncut < until_slot:
            lane.cuts.append(_Cut(until_slot, lane.position, lane.largest_us, lane.needed_from, True))
            lane.first_uncut = until_slot

    @property
    def slowest(self) -> int:
        """The partition that keeps slots open the longest."""
        return min(self._lanes.values(), key=lambda lane: lane.first_uncut).partition

    @property
    def ended(self) -> bool:
        """Whether every partition has reached its pinned end."""
        return all(lane.standing is Standing.ENDED for lane in self._lanes.values())

    @property
    def largest_us(self) -> int:
        """Latest evidenced time over all partitions, -1 for none."""
        return max(lane.largest_us for lane in self._lanes.values())

    @property
    def last_us(self) -> int:
        """Through the slot of this time a bounded run closes at its end, -1 for none."""
        return self.largest_us if self._agreement is None else self._agreement.last(self._lanes.values())

    @property
    def closable_until(self) -> int:
        """Slots below it can be closed now."""
        return min(lane.first_uncut for lane in self._lanes.values())

    def close(self) -> ClosedSlot:
        """Close the next slot; `closable_until` must be above it."""
        slot = self.next_slot
        cuts = tuple(self._cut(lane, slot) for lane in self._lanes.values())
        counts = self._gather([(m, np.full(len(cells), slot), cells, n) for m, cells, n in self._counts.pop(slot, [])])
        corrections = self._gather(self._corrections.pop(slot, []))
        findings, self._findings = tuple(self._findings), []
        self.next_slot = slot + 1
        return ClosedSlot(slot, cuts, counts, corrections, findings)

    def _cut(self, lane: _Lane, slot: int) -> PartitionCut:
        while lane.cuts[0].until <= slot:
            lane.cuts.popleft()
        cut = lane.cuts[0]
        lane.lowest.pop(slot, None)
        open_from = min(lane.lowest.values(), default=cut.offset)
        totals = lane.totals.pop(slot, {})
        lane.last_cut = cut.offset
        return PartitionCut(
            partition=lane.partition,
            cut=cut.offset,
            largest_us=cut.largest_us,
            open_from=min(open_from, cut.needed_from, cut.offset),
            excused=cut.excused,
            received=totals.get("received", 0),
            accepted=totals.get("accepted", 0),
            duplicate=totals.get("duplicate", 0),
            counted=totals.get("counted", 0),
            rejected={name.removeprefix("rejected."): n for name, n in sorted(totals.items()) if name.startswith("rejected.")},
            uncounted={name.removeprefix("uncounted."): n for name, n in sorted(totals.items()) if name.startswith("uncounted.")},
        )

    def _gather(self, parts: Sequence[tuple[int, Int64s, UInt64s, Int64s]]) -> tuple[CountColumns, ...]:
        return tuple(merge_counts([(s, c, n) for measure, s, c, n in parts if measure == number]) for number in range(self.measures))


def _without(rows: Rows, far: Bools, totals: Mapping[str, Int64s]) -> tuple[Rows, dict[str, Int64s]]:
    """Rows and totals with some rides not counted, because they are too far ahead."""
    piece, count = rows.piece[far], rows.count[far]
    number = np.zeros_like(totals["counted"])
    np.add.at(number, piece, count)
    kept = Rows(rows.piece[~far], rows.slot[~far], rows.measure[~far], rows.cell[~far], rows.count[~far])
    return kept, {**totals, "counted": totals["counted"] - number, f"uncounted.{Uncounted.TOO_FAR_AHEAD}": number}


def merge_counts(parts: Sequence[tuple[Int64s, UInt64s, Int64s]]) -> CountColumns:
    """Sum sparse counts that may repeat a (slot, cell); the result is sorted and has each pair once."""
    if not any(len(slots) for slots, _, _ in parts):
        return NO_COUNTS
    slots, cells, counts = (np.concatenate([part[i] for part in parts]) for i in range(3))
    order = np.lexsort((cells, slots))
    slots, cells, counts = slots[order], cells[order], counts[order]
    first = np.concatenate([[True], (slots[1:] != slots[:-1]) | (cells[1:] != cells[:-1])])
    starts = np.flatnonzero(first)
    return CountColumns(slots[starts], cells[starts], np.add.reduceat(counts, starts))
