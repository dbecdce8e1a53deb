"""Where a region resumes: read from its log and compared with the source, so the same in every process of a run."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from dataflows.connectors.source_identity import Relation, SourceIdentity
from ledger.store.log import Ledger, holds
from ledger.views.regions import bootstrap_of, defined_by, last_run
from schemas.errors import NotFound, UsageError
from schemas.records.records import HorizonShort, PartitionsChanged, RegionBootstrapped, SlotClosed, SourceChanged, region_log
from schemas.regions import Region
from state.counting.evidence import held_marks, recorded_evidence
from state.counting.partials import ResumePoint

FROM_LOWEST = -1  # an offset that stands for the lowest that the source still has
UNKNOWN = SourceIdentity()
ACCEPT = "--accept-source"  # the option that lets a run go on with another log

SourceRecord = SourceChanged | PartitionsChanged
HeldMarks = tuple[tuple[int, int], ...]  # `ResumePoint.too_far`


@dataclass(frozen=True, slots=True)
class ResumePlan:
    """One region's bootstrap record and its resume point in every partition.

    Attributes:
        warmed_from: Per partition, the offset at which a record says that deduplication started short of its horizon.
        recorded: Changes of the source that the log has after the last closed slot.
        changes: Changes of the source that are found now, to be recorded before any slot closes.
    """

    region: Region
    bootstrapped: RegionBootstrapped
    next_slot: int
    points: Mapping[int, ResumePoint]
    warmed_from: Mapping[int, int] = field(default_factory=dict)
    recorded: tuple[SourceRecord, ...] = ()
    changes: tuple[SourceRecord, ...] = ()


def plan_resume(ledger: Ledger, region: str, partitions: Iterable[int], identity: SourceIdentity = UNKNOWN) -> ResumePlan:
    """Resume points after the last closed slot, or at the start of live counting.

    A log that was created again under the same name is read from its lowest offset, an added partition from offset 0.

    Args:
        partitions: Partitions of the source.
        identity: Identity of the source; without one, it counts as the log of the last run.
    Raises:
        UsageError: the source is another one than that of the last run, or has lost partitions.
    """
    boot = bootstrap_of(ledger, region)
    definition = defined_by(boot)
    closed = ledger.entry(region_log(region), SlotClosed)
    if closed is None:
        fresh = ResumePoint(FROM_LOWEST, 0, boot.start_slot - 1, -1, boot.start_slot)
        return ResumePlan(definition, boot, boot.start_slot, dict.fromkeys(partitions, fresh))
    last = closed.record
    recorded = _recorded_since(ledger, region, closed.index + 1)
    changed = _source_change(ledger, region, last.slot + 1, identity)
    resumed = _Resumed(last, tuple(sorted(partitions)), recorded, changed)
    added, removed = resumed.added, resumed.removed
    if removed and not resumed.replaced:
        raise UsageError(
            f"region {region}: expected a source with partitions {list(resumed.known)}, as in the ledger, got {list(resumed.wanted)}",
            remedy=f"restore the missing partitions, or use the ride log of the last run; with {ACCEPT}, a run reads this one from its "
            "lowest offsets",
        )
    changes: list[SourceRecord] = [changed] if changed is not None else []
    if added or removed:
        changes.append(PartitionsChanged(region=region, slot=last.slot + 1, added=added, removed=removed))
    moved = ledger.entry(region_log(region), SourceChanged)  # offsets recorded before it are those of another log
    shorts = [] if changed else ledger.records(region_log(region), HorizonShort, moved.index + 1 if moved is not None else 0)
    warmed = {short.partition: short.found_offset for short in shorts}
    since_slot = moved.record.slot if moved is not None else 0
    too_far = too_far_ahead(boot, definition, last, lambda slot: ledger.find(region_log(region), SlotClosed, slot), since_slot)
    return ResumePlan(definition, boot, last.slot + 1, resumed.points(boot.start_slot, too_far), warmed, recorded, tuple(changes))


@dataclass(frozen=True, slots=True)
class _Resumed:
    """The last closed slot, beside the source that a run goes on with."""

    last: SlotClosed
    wanted: tuple[int, ...]
    recorded: Sequence[SourceRecord]
    changed: SourceChanged | None

    @property
    def known(self) -> tuple[int, ...]:
        """The partitions of the ledger: those of the last slot, and what is recorded since."""
        found = {cut.partition for cut in self.last.partitions}
        for record in self.recorded:
            if isinstance(record, PartitionsChanged):
                found = (found | set(record.added)) - set(record.removed)
        return tuple(sorted(found))

    @property
    def added(self) -> tuple[int, ...]:
        return tuple(sorted(set(self.wanted) - set(self.known)))

    @property
    def removed(self) -> tuple[int, ...]:
        return tuple(sorted(set(self.known) - set(self.wanted)))

    @property
    def replaced(self) -> bool:
        """Whether offsets of the last slot are those of another log."""
        return self.changed is not None or any(isinstance(record, SourceChanged) for record in self.recorded)

    def points(self, start_slot: int, too_far: Mapping[int, HeldMarks]) -> dict[int, ResumePoint]:
        first = FROM_LOWEST if self.replaced else 0  # An added partition was empty at first: what it has lost since is a gap.
        found = dict.fromkeys(self.wanted, ResumePoint(first, 0, self.last.slot, -1, start_slot))
        if not self.replaced:
            for cut in self.last.partitions:
                found[cut.partition] = ResumePoint(
                    cut.open_from, cut.cut, self.last.slot, cut.largest_us, start_slot, too_far[cut.partition]
                )
        return found


def _recorded_since(ledger: Ledger, region: str, index: int) -> tuple[SourceRecord, ...]:
    found: list[SourceRecord] = []
    for stored in ledger.scan(region_log(region), index):
        if holds(stored, SourceChanged) or holds(stored, PartitionsChanged):
            found.append(stored.record)
    return tuple(found)


def source_before(ledger: Ledger, region: str) -> SourceIdentity | None:
    """The source that the region's log was last written from; None if no run has recorded one."""
    run = last_run(ledger, region)
    started = SourceIdentity.from_text(run.source) if run is not None and run.source else None
    changed = ledger.find(region_log(region), SourceChanged)
    if changed is None:
        return started
    after = SourceIdentity.from_text(changed.after)
    # A change is recorded before the start of its run: after a crash in between, the last start names the source before it.
    return started if started is not None and started.may_be(after) else after


def _source_change(ledger: Ledger, region: str, slot: int, now: SourceIdentity) -> SourceChanged | None:
    """The record of a source that was created again under the same name, or None for the source of the last run.

    Raises:
        UsageError: it is another source.
    """
    before = source_before(ledger, region)
    if before is None or now == UNKNOWN:
        return None
    match before.relation(now):
        case Relation.SAME | Relation.UNSURE:
            return None
        case Relation.RECREATED:
            return SourceChanged(region=region, slot=slot, before=before.to_json(), after=now.to_json())
        case Relation.OTHER:
            raise UsageError(
                f"region {region}: expected the ride log of its last run, {before.line()}, got {now.line()}",
                remedy=f"use the address of that log; with {ACCEPT}, a run reads this one from its lowest offsets",
            )


def accepted_change(ledger: Ledger, region: str, now: SourceIdentity) -> SourceChanged | None:
    """The record with which a region goes on with a source that `plan_resume` refuses; None if no slot has closed yet."""
    last = ledger.find(region_log(region), SlotClosed)
    if last is None:
        return None
    before = source_before(ledger, region) or UNKNOWN
    return SourceChanged(region=region, slot=last.slot + 1, before=before.to_json(), after=now.to_json())


def too_far_ahead(
    boot: RegionBootstrapped, region: Region, last: SlotClosed, closed: Callable[[int], SlotClosed | None], since_slot: int = 0
) -> dict[int, HeldMarks]:
    """Per partition, which rides below the cut of a slot were too far ahead: `ResumePoint.too_far`.

    Args:
        closed: The record of an earlier slot, None if there is none.
        since_slot: First slot that was counted from this ride log; cuts of earlier ones are offsets of another log.
    """
    hold_slots = recorded_evidence(boot).hold_slots(region.slot_us)
    known: dict[int, dict[int, int]] = {}  # slot -> partition -> cut

    def cut_of(slot: int, partition: int) -> int | None:
        if slot not in known:
            record = closed(slot) if slot >= since_slot else None
            known[slot] = {} if record is None else {cut.partition: cut.cut for cut in record.partitions}
        return known[slot].get(partition)

    return {cut.partition: held_marks(last.slot, cut.cut, hold_slots, partial(cut_of, partition=cut.partition)) for cut in last.partitions}


def check_held(plan: ResumePlan, bounds: Mapping[int, tuple[int, int]]) -> None:
    """Check that a source reaches the offsets at which the region resumes; if not, it is another source or has lost its end.

    Args:
        bounds: partition -> (start, end) of the source.
    Raises:
        NotFound: a partition ends below the offset up to which its rides are counted.
    """
    for partition, (start, end) in sorted(bounds.items()):
        if (expected := plan.points[partition].counted_until) > end:
            raise NotFound(
                f"region {plan.region.id}: expected offset {expected} in partition {partition} to resume at, "
                f"found offsets {start} to {end}",
                remedy=f"use the ride log of the last run; with {ACCEPT}, a run reads this one from its lowest offsets",
            )
