"""Where a region goes on: read from its log, the same in every process of a run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ledger.log import Ledger
from schemas.errors import NotFound, UsageError
from schemas.record_codec import decode
from schemas.records import HorizonShort, RegionBootstrapped, SlotClosed, region_log
from schemas.regions import Region, region_from_json
from state.partials import ResumePoint

FROM_LOWEST = -1  # an offset that stands for "the lowest that the source still holds"


@dataclass(frozen=True, slots=True)
class ResumePlan:
    """One region's bootstrap record and its resume point in every partition.

    Attributes:
        warmed_from: Per partition, where deduplication is on record as having begun short of its horizon.
    """

    region: Region
    bootstrapped: RegionBootstrapped
    next_slot: int
    points: Mapping[int, ResumePoint]
    warmed_from: Mapping[int, int] = field(default_factory=dict)


def bootstrap_of(ledger: Ledger, region: str) -> RegionBootstrapped:
    """The region's first record.

    Raises:
        NotFound: the region was never bootstrapped here.
    """
    stored = ledger.find(region_log(region), RegionBootstrapped.__name__)
    if stored is None:
        raise NotFound(f"region {region}: not bootstrapped in this home; run `ridecast bootstrap --region {region} --until DATE` first")
    record: RegionBootstrapped = decode(stored.payload)
    return record


def plan_resume(ledger: Ledger, region: str, partitions: Iterable[int]) -> ResumePlan:
    """Resume points after the last closed slot, or the very beginning.

    Raises:
        UsageError: the source has other partitions than the log was written with.
    """
    boot = bootstrap_of(ledger, region)
    definition = region_from_json(boot.definition, where=f"{region_log(region)}, RegionBootstrapped")
    stored = ledger.find(region_log(region), SlotClosed.__name__)
    if stored is None:
        fresh = ResumePoint(FROM_LOWEST, 0, boot.start_slot - 1, -1, boot.start_slot)
        return ResumePlan(definition, boot, boot.start_slot, dict.fromkeys(partitions, fresh))
    last: SlotClosed = decode(stored.payload)
    wanted, known = sorted(partitions), sorted(cut.partition for cut in last.partitions)
    if wanted != known:
        raise UsageError(f"region {region}: expected a source with partitions {known}, as in the ledger, got {wanted}")
    points = {cut.partition: ResumePoint(cut.open_from, cut.cut, last.slot, cut.largest_us, boot.start_slot) for cut in last.partitions}
    shorts: Iterable[HorizonShort] = (decode(found.payload) for found in ledger.scan(region_log(region), kind=HorizonShort.__name__))
    return ResumePlan(definition, boot, last.slot + 1, points, {short.partition: short.found_offset for short in shorts})
