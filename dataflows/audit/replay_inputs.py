"""The inputs of a replay: the models that were in force, and counts from the rides where the rides are available."""

from collections.abc import Callable, Iterator, Sequence

from dataflows.audit.differences import Arrow, Difference
from dataflows.audit.recount import RidesEnded, Stretch, plan_stretches, recount
from dataflows.connectors.source_identity import Relation, SourceIdentity
from dataflows.connectors.sources import RideSource
from dataflows.stream.routing import Router
from ledger.store.blobs import Blobs
from ledger.store.log import Ledger
from ledger.views.closes import Close, closes
from ledger.views.control import ControlView
from ledger.views.regions import region_of, regions_of
from schemas.errors import NotFound, UsageError
from schemas.records.records import CONTROL_LOG, CovariatesKnown, HorizonShort, RegionBootstrapped, SlotClosed, SourceChanged, region_log
from schemas.regions import Region
from state.counting.intake import IntakeRules
from state.counting.slots import ClosedSlot
from state.forecast.region import Champion

ELSEWHERE = "they were counted from another ride log"
NO_RIDES = "no rides were given"
GONE = "the source no longer has their rides, or the events in the deduplication horizon before them"


class ModelsInForce:
    """The models in force and the version of the fold, at the control log that each slot cites."""

    def __init__(self, ledger: Ledger, blobs: Blobs, boot: RegionBootstrapped) -> None:
        self._ledger, self._boot = ledger, boot
        self._view = ControlView(ledger)
        self._router = Router(ledger, blobs, boot)
        self._roots: dict[int, bytes] = {}

    def champions(self, close: Close) -> dict[str, Champion]:
        """Measure -> the model that served a slot, by the control log that it cites and by what the run recorded of its models.

        Raises:
            NotFound: an artefact is missing.
        """
        control = self._view.at(close.record.control_size, close.record.control_root)
        try:
            return self._router.recorded(control, close)
        except NotFound as cause:
            raise NotFound(f"{cause}, so no forecast since it was promoted can be replayed") from cause

    def fold_version(self, record: SlotClosed) -> int:
        """The version of the fold that closed a slot, from the control log that it cites."""
        return self._view.at(record.control_size, record.control_root).fold_version(self._boot, record.slot)

    def covariates(self, record: SlotClosed) -> tuple[CovariatesKnown, ...]:
        """What was known of the region from outside when a slot closed, from the control log that it cites."""
        return self._view.at(record.control_size, record.control_root).covariates_of(self._boot.region)

    def wrong_root(self, close: Close) -> Difference | None:
        """The difference if the root that a slot cites for the control log is wrong."""
        size, root = close.record.control_size, close.record.control_root
        if size not in self._roots:
            try:
                self._roots[size] = self._ledger.root_at(CONTROL_LOG, size)
            except NotFound:
                self._roots[size] = b""
        if self._roots[size] == root:
            return None
        actual = self._roots[size].hex() or "no such size"
        return Difference(Arrow.COUNTS, close.closed.index, f"citation of {CONTROL_LOG} at size {size}", root.hex(), actual)


class CountsFromRides:
    """Counts from the rides, slot by slot, where the rides are available.

    Args:
        source: The rides; None if there are none.
        from_slot, until_slot: Slots [from, until), all closed.
        stop: Size of the region's log after the last of them.
    Raises:
        UsageError: the source has other partitions than the ledger.

    Attributes:
        notes: Which counts are taken as recorded, and why.
    """

    def __init__(
        self,
        ledger: Ledger,
        boot: RegionBootstrapped,
        region: Region,
        source: RideSource | None,
        from_slot: int,
        until_slot: int,
        stop: int,
    ) -> None:
        self._region, self._source = region, source
        self.notes: list[str] = []
        self._others: tuple[Region, ...] = ()
        self._stretches: list[Stretch] = []
        self._slots: Iterator[ClosedSlot] | None = None
        self._rules = IntakeRules(skew_s=boot.skew_s, dedup_horizon_events=boot.dedup_horizon_events, others_ok=boot.others_ok)
        if source is None:
            self.notes.append(f"counts are taken as recorded: {NO_RIDES}")
            return
        log = region_log(region.id)
        at = ledger.entry(log, SlotClosed, from_slot - 1)
        recorded = [close for close in closes(ledger, log, at.index if at is not None else 0, stop) if close.record.slot < until_slot]
        before = recorded.pop(0).record if at is not None else None
        moves = list(ledger.scan(log, kind=SourceChanged))
        mine = counted_from([stored.record for stored in moves], source.identity())
        ours = [close for close in recorded if mine(close.record.slot)]
        given, known = set(source.partitions()), {cut.partition for close in ours for cut in close.record.partitions}
        if known - given:
            raise UsageError(
                f"--rides: expected a source with partitions {sorted(known)}, as in the ledger, got {sorted(given)}",
                remedy="use the ride log that the slots were counted from",
            )
        start = recorded[0].entries[0].index
        # Earlier offsets are those of another log.
        since, since_slot = max(((stored.index, stored.record.slot) for stored in moves if stored.index < start), default=(0, 0))
        shorts = list(ledger.records(log, HorizonShort, since, start))

        def closed(slot: int) -> SlotClosed | None:
            return ledger.find(log, SlotClosed, slot)

        self._stretches = plan_stretches(boot, before, shorts, recorded, source, closed, mine, since_slot)
        if elsewhere := len(recorded) - len(ours):
            self.notes.append(f"counts of {elsewhere:,} slots are taken as recorded: {ELSEWHERE}")
        gone = sum(stretch.until_slot - stretch.first_slot for stretch in self._stretches if not stretch.held) - elsewhere
        if gone:
            self.notes.append(f"counts of {gone:,} slots are taken as recorded: {GONE}")
        # By the older rules, rides of another region move cuts if the run knew that region, and are rejected otherwise; the totals
        # show which. By the newer ones a region counts the same alone and with others.
        if not boot.others_ok and any(cut.uncounted.get("other_region") for close in recorded for cut in close.record.partitions):
            self._others = _other_regions(ledger, region.id)

    def next(self, close: Close) -> tuple[ClosedSlot | None, Difference | None]:
        """The slot of a close counted from the rides, or None if it is taken as recorded; and a difference if the rides ended early."""
        slot = close.record.slot
        while self._stretches and self._stretches[0].until_slot <= slot:
            self._stretches.pop(0)
            self._slots = None
        if not self._stretches or not self._stretches[0].held:
            return None, None
        if self._slots is None:
            assert self._source is not None
            self._slots = recount(self._source, self._region, self._others, self._rules, self._stretches[0])
        try:
            return next(self._slots), None
        except RidesEnded as ended:
            self._stretches = []
            self.notes.append(f"counts from slot {slot} on are taken as recorded: {ended}")
            cuts = ", ".join(f"{cut.partition}: {cut.cut}" for cut in close.record.partitions)
            return None, Difference(Arrow.COUNTS, close.closed.index, "cuts", f"at offsets {cuts}", str(ended))


def counted_from(changes: Sequence[SourceChanged], given: SourceIdentity) -> Callable[[int], bool]:
    """Whether a slot was counted from the given source, by the recorded changes of the source, in order.

    Without any change the given source is not questioned: rides may be replayed from a copy under another name.

    >>> changed = SourceChanged(region="nyc", slot=9, before='{"topic_id":"a"}', after='{"topic_id":"b"}')
    >>> [counted_from([changed], SourceIdentity(topic_id=given))(slot) for given in "ab" for slot in (8, 9)]
    [True, False, False, True]
    """
    if not changes:
        return lambda slot: True
    logs = [SourceIdentity.from_text(text) for text in (changes[0].before, *(change.after for change in changes))]
    # If a log was replaced by one of the same identity, only the last of them can still be read.
    fits = [number for number, log in enumerate(logs) if log.relation(given) is Relation.SAME][-1:]
    return lambda slot: sum(change.slot <= slot for change in changes) in fits


def _other_regions(ledger: Ledger, region: str) -> tuple[Region, ...]:
    return tuple(region_of(ledger, name) for name in regions_of(ledger) if name != region)
