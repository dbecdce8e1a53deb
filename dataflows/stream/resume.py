"""Where a region resumes: read from its log, so the same in every process of a run."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from ledger.store.log import Ledger
from ledger.views.regions import bootstrap_of, defined_by
from schemas.errors import NotFound, UsageError
from schemas.records.records import HorizonShort, RegionBootstrapped, SlotClosed, region_log
from schemas.regions import Region
from state.counting.evidence import held_marks, recorded_evidence
from state.counting.partials import ResumePoint

FROM_LOWEST = -1  # an offset that stands for the lowest that the source still has


@dataclass(frozen=True, slots=True)
class ResumePlan:
    """One region's bootstrap record and its resume point in every partition.

    Attributes:
        warmed_from: Per partition, the offset at which a record says that deduplication started short of its horizon.
    """

    region: Region
    bootstrapped: RegionBootstrapped
    next_slot: int
    points: Mapping[int, ResumePoint]
    warmed_from: Mapping[int, int] = field(default_factory=dict)


def plan_resume(ledger: Ledger, region: str, partitions: Iterable[int]) -> ResumePlan:
    """Resume points after the last closed slot, or at the start of live counting.

    Raises:
        UsageError: the source has other partitions than the one that the log was written from.
    """
    boot = bootstrap_of(ledger, region)
    definition = defined_by(boot)
    last = ledger.find(region_log(region), SlotClosed)
    if last is None:
        fresh = ResumePoint(FROM_LOWEST, 0, boot.start_slot - 1, -1, boot.start_slot)
        return ResumePlan(definition, boot, boot.start_slot, dict.fromkeys(partitions, fresh))
    wanted, known = sorted(partitions), sorted(cut.partition for cut in last.partitions)
    if wanted != known:
        raise UsageError(f"region {region}: expected a source with partitions {known}, as in the ledger, got {wanted}")
    too_far = too_far_ahead(boot, definition, last, lambda slot: ledger.find(region_log(region), SlotClosed, slot))
    points = {
        cut.partition: ResumePoint(cut.open_from, cut.cut, last.slot, cut.largest_us, boot.start_slot, too_far[cut.partition])
        for cut in last.partitions
    }
    shorts = ledger.records(region_log(region), HorizonShort)
    return ResumePlan(definition, boot, last.slot + 1, points, {short.partition: short.found_offset for short in shorts})


def too_far_ahead(
    boot: RegionBootstrapped, region: Region, last: SlotClosed, closed: Callable[[int], SlotClosed | None]
) -> dict[int, tuple[tuple[int, int], ...]]:
    """Per partition, which rides below the cut of a slot were too far ahead: `ResumePoint.too_far`.

    Args:
        closed: The record of an earlier slot, None if there is none.
    """
    hold_slots = recorded_evidence(boot).hold_slots(region.slot_us)
    known: dict[int, dict[int, int]] = {}  # slot -> partition -> cut

    def cut_of(slot: int, partition: int) -> int | None:
        if slot not in known:
            record = closed(slot)
            known[slot] = {} if record is None else {cut.partition: cut.cut for cut in record.partitions}
        return known[slot].get(partition)

    return {cut.partition: held_marks(last.slot, cut.cut, hold_slots, partial(cut_of, partition=cut.partition)) for cut in last.partitions}


def check_held(plan: ResumePlan, bounds: Mapping[int, tuple[int, int]]) -> None:
    """Check that a source reaches the offsets at which the region resumes; if not, it is another source or was recreated.

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
                remedy="use the ride log of the last run",
            )
