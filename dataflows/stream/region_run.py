"""The run of one region: its open slots, its fold, and the log that it writes."""

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import zip_longest

from dataflows.connectors.source_identity import SourceIdentity
from dataflows.stream.failed_arms import one_line, stop_failed
from dataflows.stream.kept_features import KeptFeatures
from dataflows.stream.record import closed_of, history_by_slot, payloads_of
from dataflows.stream.resume import UNKNOWN, ResumePlan, plan_resume
from dataflows.stream.routing import Router
from dataflows.stream.snapshots import load_snapshot, save_snapshot
from ledger.store.blobs import Blobs
from ledger.store.log import Ledger
from ledger.store.recording import Recorder
from ledger.views.append import append_shared
from ledger.views.closes import Close, closes
from ledger.views.control import Control, ControlView
from schemas.errors import AccessRefused, DamagedError, DivergenceError, Fault, NotFound, SourceMoved, StoreUnavailable, fault_of
from schemas.records.kinds import ROWS
from schemas.records.record_codec import encode
from schemas.records.records import CONTROL_LOG, EnvironmentChanged, RegionHeld, SlotStatus, region_log
from schemas.regions import Region
from state.counting.evidence import recorded_evidence
from state.counting.partials import Partial
from state.counting.slots import Agreement, ClosedSlot, OpenSlots
from state.forecast.arms import ArmFailed
from state.forecast.region import RegionFold, SlotOutcome, champions_of

log = logging.getLogger(__name__)

# Floating-point results may differ in another environment; counts must be equal in every environment.
FLOATING = frozenset(row.name for row in ROWS if row.floating)
NONE_OURS = 1 << 62  # an index beyond the end of any log: no entry was written in this environment


@dataclass(frozen=True, slots=True)
class SlotReport:
    """Summary of one close, for progress output."""

    region: str
    slot: int
    rides: int
    corrections: int
    status: SlotStatus
    outcome: SlotOutcome


class RegionRun:
    """Folds partials of one region and appends the records of each close.

    Args:
        ledger, blobs: Open stores.
        plan: Where the region resumes.
        environment: Digest of this environment.
        same_environment: Whether the last entries of the log were written in it.
        clock: Monotonic seconds, used only to time snapshots.
        processor_s: Seconds of processor time of this thread, used only to find models that are too slow. The time on the wall
            would blame a model for a machine that is busy or asleep.
        forecast_budget_s: A slot that takes longer counts against the models that served it; infinite in bounded runs, which must
            not depend on the machine.
        explain_slots: How many closes keep the features that explain their forecasts.
        confirm: Raises SourceMoved if the rides do not come from the log of the start any more.
    """

    def __init__(
        self,
        ledger: Ledger,
        blobs: Blobs,
        plan: ResumePlan,
        environment: bytes,
        clock: Callable[[], float],
        *,
        same_environment: bool = True,
        snapshot_every_s: float = 30.0,
        explain_slots: int = 0,
        on_refold: Callable[[int, int], None] | None = None,
        confirm: Callable[[], None] = lambda: None,
        processor_s: Callable[[], float] = lambda: 0.0,
        forecast_budget_s: float = math.inf,
    ) -> None:
        self._confirm = confirm
        self.region: Region = plan.region
        self._ledger, self._blobs, self._clock = ledger, blobs, clock
        self._environment = environment
        self._log = region_log(self.region.id)
        self._recorder = Recorder(ledger, self._log)
        self.on_turn: Callable[[], None] = lambda: None  # called before each close, of which one partial may cause many
        self._folding = False  # the fold is between two slots
        self._changed = self._environment_changed()
        self._ours_from = self._changed if self._changed is not None else 0 if same_environment else NONE_OURS
        self._control = ControlView(ledger)
        self._router = Router(ledger, blobs, plan.bootstrapped)
        self._processor_s, self._budget_s = processor_s, forecast_budget_s
        self._snapshot_every_s = snapshot_every_s
        self._snapshot_at = clock()
        self._unsaved = 0
        self._boot = plan.bootstrapped
        self.fold = self._empty_fold()
        self.size = self._restore(on_refold)
        if plan.changes:
            self.size = self._recorder.append(self.size, [encode(change) for change in plan.changes]).size
        found = (*plan.recorded, *plan.changes)
        self._appended = len(found)  # findings of the next slot that the log has already
        self._features = KeptFeatures(ledger, blobs, self.region, explain_slots, self.fold.next_slot)
        agreement = Agreement.of(self.region, recorded_evidence(self._boot))
        self.slots = OpenSlots(self.region.id, len(self.region.measures), self.fold.next_slot, plan.points, agreement, found)

    # --- live ---

    def absorb(self, partial: Partial) -> list[SlotReport]:
        """Merge a partial; close, record and report every slot that can close then.

        Raises:
            SourceMoved: its partition was added after this run started.
        """
        if partial.partition not in self.slots.partitions:
            known = list(self.slots.partitions)
            raise SourceMoved(f"region {self.region.id}: expected rides of partitions {known}, got rides of partition {partial.partition}")
        self.slots.absorb(partial)
        if self.slots.ended:
            self.slots.close_rest(self.slots.last_us // self.region.slot_us)
        reports: list[SlotReport] = []
        if self.slots.next_slot >= self.slots.closable_until:
            return reports
        try:
            self._confirm()
        except StoreUnavailable as failed:
            if self.slots.ended or isinstance(failed, AccessRefused):
                raise
            return reports  # What cannot be confirmed closes with a later partial; while a source is away there is none.
        while self.slots.next_slot < self.slots.closable_until:
            self.on_turn()
            reports.append(self._close())
        return reports

    def _close(self) -> SlotReport:
        closed = self.slots.close()
        control = self._control.latest()
        while True:
            try:
                outcome, payloads = self._fold(closed, control)
                break
            except ArmFailed as failed:
                control = self._without_arm(closed.slot, failed, control)
            except Exception as error:
                if not is_local(error) or not any(control.champion(self.region.id, measure) for measure in self.region.measures):
                    raise
                control = self._hold(closed.slot, error)
        payloads = payloads[self._appended :]
        self._appended = 0
        self.size = self._recorder.append(self.size, payloads).size
        self._features.keep(outcome.issues)  # After the append, which nobody should wait longer for.
        self._unsaved += 1
        if self._clock() - self._snapshot_at >= self._snapshot_every_s:
            self.save()
        rides = sum(int(counts.counts.sum()) for counts in closed.counts)
        corrections = sum(int(counts.counts.sum()) for counts in closed.corrections)
        return SlotReport(self.region.id, closed.slot, rides, corrections, outcome.status, outcome)

    def _fold(self, closed: ClosedSlot, control: Control) -> tuple[SlotOutcome, list[bytes]]:
        self.fold.follow(control.fold_version(self._boot, closed.slot))
        self.fold.know(control.covariates_of(self.region.id))
        self.fold.use(self._router.live(control, closed.slot))
        self._folding = True
        started_s = self._processor_s()
        outcome = self.fold.apply(closed)
        spent_s = self._processor_s() - started_s
        if spent_s > self._budget_s:
            models = {issue.blamed for issue in outcome.issues if issue.blamed}
            self._router.too_slow(models, closed.slot, spent_s, self._budget_s)
        payloads = payloads_of(self.region, outcome, control, self._blobs)
        self._folding = False
        return outcome, payloads

    def _without_arm(self, slot: int, failed: ArmFailed, control: Control) -> Control:
        """End on record the experiment whose challenger failed, and bring the fold back to its state before the slot."""
        stop_failed(self._ledger, control, slot, failed)
        self._go_back()
        return self._control.latest()

    def _hold(self, slot: int, error: Exception) -> Control:
        """Record that the region goes on without models, and bring the fold back to its state before the slot."""
        reason = one_line(error)
        append_shared(self._ledger, CONTROL_LOG, RegionHeld(region=self.region.id, slot=slot, reason=reason))
        log.error(
            "region %s: held at slot %d, because its fold failed: %s; it is served by the baseline until `ridecast ledger release`",
            self.region.id,
            slot,
            reason,
        )
        self._go_back()
        return self._control.latest()

    def _go_back(self) -> None:
        """Bring the fold back to its state after the last recorded slot."""
        if self._folding:  # else the failure came before the fold changed
            self.fold, self._folding = self._empty_fold(), False
            self.size = self._restore(None)

    def save(self) -> None:
        """Take a snapshot, unless no slot closed since the last one."""
        if self._unsaved:
            self._router.mend()
            save_snapshot(self._ledger, self._blobs, self.region.id, self.fold.next_slot - 1, self.fold.to_arrays(), self._environment)
            self._unsaved = 0
        self._snapshot_at = self._clock()

    # --- resume ---

    def _environment_changed(self) -> int | None:
        """Index of the last recorded change of environment if it changed to this one, else None."""
        stored = self._ledger.entry(self._log, EnvironmentChanged)
        if stored is None:
            return None
        record = stored.record
        return stored.index if record.environment == self._environment else None

    def _restore(self, on_refold: Callable[[int, int], None] | None) -> int:
        """Restore the state after the last recorded slot: the newest snapshot or the bootstrap, then the slots after it."""
        head = self._ledger.head(self._log)
        size = self._begin()
        changed_at = self._refold(size, head.size, on_refold)
        if changed_at is not None and self._changed is None:
            record = EnvironmentChanged(region=self.region.id, slot=changed_at, environment=self._environment)
            self._changed = self._ours_from = head.size
            return self._recorder.append(head.size, [encode(record)]).size
        return head.size

    def _empty_fold(self) -> RegionFold:
        return RegionFold(self.region, self._boot.start_slot, self._boot.fold_version)

    def _begin(self) -> int:
        """Load the newest snapshot, or else the bootstrapped history; returns how many entries are folded in."""
        found = load_snapshot(self._ledger, self._blobs, self.region.id, self._environment)
        if found is not None:
            taken, arrays = found
            try:
                named = champions_of(arrays, self.region.measures)
                self.fold.from_arrays(arrays, self._router.kept(named))
                return taken.size
            except (KeyError, ValueError, DamagedError) as cause:
                # Another version of this code may have saved other arrays; an unreadable cache is treated as missing.
                where = f"region {self.region.id}: cannot read the snapshot of slot {taken.slot}"
                log.warning("%s (%r); folding the log from the start", where, cause)
                self.fold = self._empty_fold()
        self.fold.remember(history_by_slot(self.region, self._boot, self._blobs))
        return 0

    def _refold(self, start: int, stop: int, on_refold: Callable[[int, int], None] | None) -> int | None:
        """Fold recorded slots again and compare the result with the recorded entries.

        Returns:
            The first slot whose floating-point part differs, or None.
        Raises:
            DivergenceError: counts differ, or an entry differs that was written in this environment.
        """
        differs_at: int | None = None
        for close in closes(self._ledger, self._log, start, stop):
            if (slot := self._repeat(close)) is not None and differs_at is None:
                differs_at = slot
            if on_refold is not None:
                on_refold(close.entries[-1].index + 1 - start, stop - start)
        return differs_at

    def _repeat(self, close: Close) -> int | None:
        record = close.record
        control = self._control.at(record.control_size, record.control_root)
        self.fold.follow(control.fold_version(self._boot, record.slot))
        self.fold.know(control.covariates_of(self.region.id))
        self.fold.use(self._router.recorded(control, close))
        outcome = self.fold.apply(closed_of(self.region, record, close.before, self._blobs))
        again = payloads_of(self.region, outcome, control, self._blobs)
        if again == [stored.payload for stored in close.entries]:
            return None
        for stored, payload in zip_longest(close.entries, again):
            if stored is None:  # The records of a close do not depend on floating point: an extra one is no rounding difference.
                last = close.entries[-1]
                raise DivergenceError(f"{self._log} entry {last.index + 1} (slot {record.slot}): folding it again gives one more record")
            if stored.payload != payload and (stored.index >= self._ours_from or stored.kind not in FLOATING):
                raise DivergenceError(
                    f"{self._log} entry {stored.index} ({stored.kind}, slot {record.slot}): folding it again gives other bytes"
                )
        return record.slot


def is_local(error: Exception) -> bool:
    """Whether an error concerns one region: what it was given or our code, and neither a store nor the settings."""
    return fault_of(error) is Fault.BUG or isinstance(error, NotFound | DamagedError)


def open_region_run(
    ledger: Ledger,
    blobs: Blobs,
    region: str,
    partitions: Iterable[int],
    environment: bytes,
    clock: Callable[[], float],
    *,
    same_environment: bool = True,
    snapshot_every_s: float = 30.0,
    explain_slots: int = 0,
    on_refold: Callable[[int, int], None] | None = None,
    identity: SourceIdentity = UNKNOWN,
    confirm: Callable[[], None] = lambda: None,
    processor_s: Callable[[], float] = lambda: 0.0,
    forecast_budget_s: float = math.inf,
) -> RegionRun:
    """A region's run, resumed from its log; changes of the source since the last run are recorded."""
    plan = plan_resume(ledger, region, partitions, identity)
    return RegionRun(
        ledger,
        blobs,
        plan,
        environment,
        clock,
        same_environment=same_environment,
        snapshot_every_s=snapshot_every_s,
        explain_slots=explain_slots,
        on_refold=on_refold,
        confirm=confirm,
        processor_s=processor_s,
        forecast_budget_s=forecast_budget_s,
    )
