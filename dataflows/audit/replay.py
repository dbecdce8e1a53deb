"""Recomputes past slots and compares them with the recorded ones: does the record follow from its inputs?

Three steps are recomputed for the requested slots: counts from the rides and their cuts, features from the counts,
forecasts from the features and the models that the issues name by digest. Snapshots are never read. The recorded counts
of these slots are read only after the counts from the rides.

Trusted inputs: the bootstrap (definition, rules, history); the counts of slots before the first requested one, and the
last cuts among them, where reading starts; which partitions were excused at which offset, and what the source had lost
by then; the models' artefacts, identified by digest; and the control records that a slot cites by size and root, which
is checked. If the rides are no longer available, counts are taken as recorded, and the result notes it. `ledger verify`
checks that all of these still match the checkpoints.

The state of the fold (histories, the online learner, issues that are not yet scored) is folded from the bootstrap.
Slots before the first requested one are fast-forwarded: folded without the numbers that are not compared.
"""

import hashlib
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from dataflows.audit.differences import ONE_UNIT, Arrow, Difference, differences
from dataflows.audit.replay_inputs import CountsFromRides, ModelsInForce
from dataflows.audit.replay_report import Replay, SlotReplay, Verdict
from dataflows.connectors.sources import RideSource
from dataflows.stream.record import closed_of, findings_of, history_by_slot, payloads_of
from ledger.store.blobs import Blobs, Retention
from ledger.store.log import Ledger
from ledger.views.closes import Close, closes
from ledger.views.control import Control
from ledger.views.regions import bootstrap_of, defined_by
from ledger.views.writers import environments_at, writers_of
from schemas.errors import DamagedError, NotFound, UsageError
from schemas.records.kinds import ClosePart, names_in
from schemas.records.record_codec import decode
from schemas.records.records import ForecastIssued, RegionBootstrapped, SlotClosed, UniverseChanged, region_log
from schemas.regions import Region
from state.forecast.region import RegionFold, SlotOutcome

# Compared in every slot, including those that are fast-forwarded.
ALWAYS = (*names_in(ClosePart.BEFORE, ClosePart.SLOT), UniverseChanged.__name__)
SAMPLED = (*ALWAYS, ForecastIssued.__name__)


def replay_region(
    ledger: Ledger,
    blobs: Blobs,
    environment: bytes,
    region: str,
    source: RideSource | None,
    from_slot: int | None = None,
    until_slot: int | None = None,
    *,
    share: float = 1.0,
    seed: int = 0,
    clock: Callable[[], float] = time.monotonic,
    on_slot: Callable[[int, int, SlotReplay | None], None] = lambda done, total, slot: None,
) -> Replay:
    """Recompute slots and compare them with the recorded ones.

    Args:
        environment: Digest of this environment.
        source: The rides; None takes counts as recorded.
        from_slot, until_slot: Slots [from, until); by default all closed slots.
        share: Share of the slots whose features and forecasts are compared; counts are compared in all.
        seed: Seed of the sample of these slots.
        on_slot: Called with (slots folded, slots to fold, the slot if it was requested).
    Raises:
        NotFound: the region, or the artefact of a named model, is missing.
        UsageError: some of these slots are not closed, or the source has other partitions.
        DamagedError: the log skips a slot, or stored bytes were altered.
    """
    boot = bootstrap_of(ledger, region)
    first, until, stop = _bounds(ledger, boot, from_slot, until_slot)
    found = Replay(region, first, until, environment)
    started_s = clock()
    run = _Run(ledger, blobs, boot, found, source, (share, seed), stop)
    for slot in run.slots(lambda: setattr(found, "fold_s", clock() - started_s)):
        if slot is not None:
            found.slots.append(slot)
        on_slot(run.fold.next_slot - boot.start_slot, until - boot.start_slot, slot)
    found.notes = run.counts.notes
    found.replay_s = clock() - started_s - found.fold_s
    return found


def _bounds(ledger: Ledger, boot: RegionBootstrapped, from_slot: int | None, until_slot: int | None) -> tuple[int, int, int]:
    """(first slot, slot after the last, size of the log after the last slot's entries)."""
    log = region_log(boot.region)
    newest = ledger.entry(log, SlotClosed)
    if newest is None:
        raise NotFound(f"region {boot.region}: no slot has closed yet, so there is nothing to replay")
    last = newest.record
    first = boot.start_slot if from_slot is None else from_slot
    until = last.slot + 1 if until_slot is None else until_slot
    if not boot.start_slot <= first < until <= last.slot + 1:
        raise UsageError(
            f"--from, --to: expected slots within [{boot.start_slot}, {last.slot + 1}), which are closed, got [{first}, {until})"
        )
    after = ledger.entry(log, SlotClosed, until) if until <= last.slot else None
    return first, until, after.index if after is not None else ledger.head(log).size


class _Run:
    """The state of one replay."""

    def __init__(
        self,
        ledger: Ledger,
        blobs: Blobs,
        boot: RegionBootstrapped,
        found: Replay,
        source: RideSource | None,
        sample: tuple[float, int],
        stop: int,
    ) -> None:
        self._ledger, self._blobs, self._boot, self._found, self._stop = ledger, blobs, boot, found, stop
        self.region: Region = defined_by(boot)
        self.fold = RegionFold(self.region, boot.start_slot, boot.fold_version)
        self._log = region_log(boot.region)
        self._control = ModelsInForce(ledger, blobs, boot)
        self._writers = writers_of(ledger, boot.region)
        self._remade = ReplayedBlobs()
        self._chosen = _sampled(found.from_slot, found.until_slot, *sample)
        self._sample = None if self._chosen is None else SAMPLED
        self.counts = CountsFromRides(ledger, boot, self.region, source, found.from_slot, found.until_slot, stop)

    def slots(self, on_start: Callable[[], None]) -> Iterator[SlotReplay | None]:
        """Each requested slot, and None for each slot before them."""
        self.fold.remember(history_by_slot(self.region, self._boot, self._blobs))
        started = False
        # If every slot is compared, so are scores and digests, which need the complete issues of earlier slots.
        full_from = self._found.from_slot - (self.fold.memory_slots if self._sample is None else 0)
        for close in closes(self._ledger, self._log, 0, self._stop):
            slot = close.record.slot
            if slot != self.fold.next_slot or slot >= self._found.until_slot:
                if slot >= self._found.until_slot:
                    return
                raise DamagedError(f"{self._log} entry {close.closed.index}: expected slot {self.fold.next_slot}, got {slot}")
            self.fold.follow(self._control.fold_version(close.record))  # before the models, as in a run
            self.fold.know(self._control.covariates(close.record))
            self.fold.use(self._control.champions(close))
            if slot < self._found.from_slot:
                closed = closed_of(self.region, close.record, close.before, self._blobs)
                (self.fold.apply if slot >= full_from else self.fold.fast_forward)(closed)
                self._found.folded_slots += 1
                yield None
                continue
            if not started:
                started = True
                on_start()
            yield self._replay(close)

    def _replay(self, close: Close) -> SlotReplay:
        counted, problem = self.counts.next(close)
        from_rides = counted is not None
        if counted is None:
            closed = closed_of(self.region, close.record, close.before, self._blobs)
        else:  # What the source had lost does not follow from the rides, so it is taken from the log.
            closed = replace(counted, findings=findings_of(close.before))
        whole = self._chosen is None or close.record.slot in self._chosen
        outcome: SlotOutcome = (self.fold.apply if whole else self.fold.fast_forward)(closed)
        self._remade.clear()
        control = Control(close.record.control_size, close.record.control_root)
        kinds = None if whole and self._sample is None else SAMPLED if whole else ALWAYS
        again = [payload for payload in payloads_of(self.region, outcome, control, self._remade) if _of(payload, kinds)]
        entries = [(stored.index, stored.payload) for stored in close.entries if _of(stored.payload, kinds)]
        environments = environments_at(self._writers, close.closed.index)
        self._found.recorded_in |= environments
        ours = environments <= {self._found.environment}
        found = [problem] if problem is not None else []
        wrong_root = self._control.wrong_root(close)
        found += [wrong_root] if wrong_root is not None else []
        if [payload for _, payload in entries] != again:
            found += differences(self.region, entries, again, self._blobs, self._remade.get) or [
                _misplaced(close, len(entries), len(again))
            ]
        verdict = _verdict(found, ours=ours)
        return SlotReplay(close.record.slot, close.closed.index, verdict, from_rides, whole, ours, tuple(found))


def _of(payload: bytes, kinds: Sequence[str] | None) -> bool:
    return kinds is None or type(decode(payload)).__name__ in kinds


def _misplaced(close: Close, recorded: int, recomputed: int) -> Difference:
    """The difference between entries that are equal except for their order or number."""
    counts = (f"{recorded} entries", f"{recomputed} entries")
    return Difference(Arrow.FORECAST, close.entries[0].index, "entries of the close, their order and number", *counts)


def _verdict(found: Sequence[Difference], *, ours: bool) -> Verdict:
    if not found:
        return Verdict.IDENTICAL
    if not all(difference.floating for difference in found):
        return Verdict.DIFFERENT
    # In the same environment, floating-point rounding cannot explain a digest that differs.
    served = all(0 <= difference.units <= ONE_UNIT for difference in found)
    return Verdict.WITHIN if served or not ours else Verdict.DIFFERENT


def _sampled(first: int, until: int, share: float, seed: int) -> frozenset[int] | None:
    """The slots to compare in full, at least one; None for all.

    >>> len(_sampled(0, 288, 0.05, seed=1))
    15
    """
    if share >= 1.0:
        return None
    return frozenset(random.Random(seed).sample(range(first, until), max(1, math.ceil(share * (until - first)))))


class ReplayedBlobs:
    """Holds in memory the blobs that the recomputed entries of one close name; nothing is stored."""

    def __init__(self) -> None:
        self._blobs: dict[bytes, bytes] = {}

    def put(self, data: bytes, retention: Retention) -> bytes:
        """Keep a blob, and return its digest as a blob store would."""
        digest = hashlib.sha256(data).digest()
        self._blobs[digest] = data
        return digest

    def get(self, digest: bytes) -> bytes | None:
        """A blob put since the last `clear`; None if there is none."""
        return self._blobs.get(digest)

    def clear(self) -> None:
        """Remove all blobs."""
        self._blobs.clear()
