"""Counts one partition's events: validate, deduplicate, find cells and cuts, count.

Decoding comes before (`schemas.events.codec`), merging partitions after (`state.counting.slots`). Everything here
depends only on the partition's log and the recorded rules, never on how the log was split into batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.errors import DiscontinuityError
from schemas.events.cells import encode, inside
from schemas.events.measures import KINDS, MEASURES
from schemas.events.rides import NO_REGION, OTHER_REGION, Bools, Float64s, Int64s, Reason, Rejected, RideBatch, Uncounted
from schemas.regions import US_PER_S, Region
from state.counting.evidence import Evidence, EvidenceRules
from state.counting.partials import NO_ROWS, Int32s, Partial, ResumePoint, Rows, Standing
from state.counting.seen import Seen

YEAR_2000_US = 946_684_800 * US_PER_S
YEAR_2100_US = 4_102_444_800 * US_PER_S
REASONS: tuple[Reason, ...] = tuple(Reason)
NO_EVENTS = np.empty(0, np.int64)
_OK = -1


@dataclass(frozen=True, slots=True)
class IntakeRules:
    """Recorded rules for accepting events; `EvidenceRules` has those for cuts.

    Attributes:
        skew_s: An event further ahead of its `logged_at` is rejected.
        dedup_horizon_events: Within so many offsets of one partition, an event that repeats an id is a duplicate.
        others_ok: Events of other regions are accepted and uncounted as `other_region`, whatever else is wrong with them.
            Without it, a log of the first release: those of regions that the run does not count are rejected.
    """

    skew_s: int = 300
    dedup_horizon_events: int = 1_000_000
    others_ok: bool = False


def validate(batch: RideBatch, regions: Sequence[Region], skew_s: int, *, others_ok: bool = False) -> Int64s:
    """The first rule that each event breaks, as an index into REASONS, or -1.

    Rules apply in this order: id, region, time bounds, skew, place, fare. With `others_ok`, none applies to an event of a
    region that is not among `regions`.
    """
    verdict = np.full(len(batch), _OK, np.int64)

    def reject(broken: Bools, reason: Reason) -> None:
        verdict[broken & (verdict == _OK)] = REASONS.index(reason)

    reject(batch.bad_id, Reason.BAD_ID)
    reject(batch.region == NO_REGION if others_ok else batch.region < 0, Reason.UNKNOWN_REGION)
    at = batch.occurred_at_us
    reject((at < YEAR_2000_US) | (at >= YEAR_2100_US), Reason.TIME_OUT_OF_BOUNDS)
    reject(_ahead(batch, skew_s), Reason.AHEAD_OF_LOG)
    for index, region in enumerate(regions):
        here = batch.region == index
        if here.all():
            reject(~inside(region.polygon, batch.lat, batch.lon), Reason.OUTSIDE_REGION)
        elif here.any():
            outside = np.zeros(len(batch), np.bool_)
            outside[here] = ~inside(region.polygon, batch.lat[here], batch.lon[here])
            reject(outside, Reason.OUTSIDE_REGION)
    reject(batch.bad_fare, Reason.BAD_FARE)
    if others_ok:
        verdict[batch.region == OTHER_REGION] = _OK
    return verdict


def _ahead(batch: RideBatch, skew_s: int) -> Bools:
    # Subtracting could overflow for absurd times; adding to a bounded one cannot.
    return batch.occurred_at_us > np.minimum(batch.logged_at_us, YEAR_2100_US) + skew_s * US_PER_S


class PartitionIntake:
    """The fold of one partition, for every configured region.

    Args:
        partition: Its number.
        regions: Configured regions, in the decoder's order.
        rules: Recorded rules.
        resume: One point per region, in the same order; `open_from` must be resolved (>= 0).
        read_from: First offset to absorb; events below every `open_from` only warm deduplication.
        evidence: Rules for the cuts, one per region; by default one event is enough to cut.
    """

    def __init__(
        self,
        partition: int,
        regions: Sequence[Region],
        rules: IntakeRules,
        resume: Sequence[ResumePoint],
        read_from: int,
        evidence: Sequence[EvidenceRules] = (),
    ) -> None:
        self.partition = partition
        self.position = read_from
        self.seen = Seen(rules.dedup_horizon_events)
        self.rules = rules
        self.regions = tuple(regions)
        evidence = evidence or [EvidenceRules()] * len(regions)
        self._folds = [
            _RegionIntake(partition, index, region, point, rules)
            for index, (region, point, rules) in enumerate(zip(regions, resume, evidence, strict=True))
        ]

    @property
    def largest_us(self) -> int:
        """Evidenced time so far, -1 for none."""
        return max(fold.largest_us for fold in self._folds)

    def absorb(
        self, batch: RideBatch, undecodable: Sequence[Rejected], to_offset: int, standing: Standing = Standing.FLOWING
    ) -> tuple[list[Partial], list[Rejected]]:
        """Fold the events of offsets [position, to_offset).

        Args:
            batch: Decoded events, ascending offsets within the range.
            undecodable: Events of the range that did not decode.
            to_offset: End of the range; after the last event if the last offsets have no event.
            standing: State of the input at `to_offset`.
        Returns:
            One partial per region that is past its resume point, and the rejected events that are not
            yet recorded (`value` of decoded events is empty: the caller has their bytes).
        Raises:
            DiscontinuityError: an event is outside the range.
        """
        if to_offset < self.position or (len(batch) and not (batch.offset[0] >= self.position and batch.offset[-1] < to_offset)):
            raise DiscontinuityError(
                f"partition {self.partition}: expected offsets in [{self.position}, {to_offset}), "
                f"got {to_offset} as their end and events at {[*batch.offset[:1].tolist(), *batch.offset[-1:].tolist()] or 'none'}"
            )
        verdict = validate(batch, self.regions, self.rules.skew_s, others_ok=self.rules.others_ok)
        valid = verdict == _OK
        apart = self.rules.others_ok and (len(self.regions) > 1 or bool((batch.region != 0).any()))
        if apart:
            valid &= batch.region >= 0
        every = bool(valid.all())
        offsets, hashes = (batch.offset, batch.event_hash) if every else (batch.offset[valid], batch.event_hash[valid])
        if apart:  # An id of one region never makes a duplicate in another, so a region counts the same alone and with others.
            hashes = hashes ^ (batch.region[valid].astype(np.uint64) << np.uint64(48))
        duplicate = np.zeros(len(batch), np.bool_)
        duplicate[valid] = self.seen.mark(hashes, offsets)
        accepted = valid & ~duplicate
        rejected_rows = verdict != _OK
        events = _Events(
            batch,
            accepted,
            batch.offset[duplicate],
            np.concatenate([batch.offset[rejected_rows], np.array([r.offset for r in undecodable], np.int64)]),
            np.concatenate([verdict[rejected_rows], np.array([REASONS.index(r.reason) for r in undecodable], np.int64)]),
            NO_EVENTS,
        )
        partials = [
            fold.absorb(_seen_by(fold.index, events, self.rules.skew_s) if apart else events, self.position, to_offset, standing)
            for fold in self._folds
        ]
        recorded_until = min(fold.counted_until for fold in self._folds)
        rejected = [r for r in undecodable if r.offset >= recorded_until]
        rejected += [
            Rejected(self.partition, int(batch.offset[row]), int(batch.logged_at_us[row]), REASONS[verdict[row]], b"")
            for row in np.flatnonzero(rejected_rows & (batch.offset >= recorded_until))
        ]
        self.position = to_offset
        return [partial for partial in partials if partial is not None], sorted(rejected, key=lambda r: r.offset)


@dataclass(frozen=True, slots=True)
class _Events:
    """A batch after validation and deduplication."""

    batch: RideBatch
    accepted: Bools  # bool[n] over the batch
    duplicate_offsets: Int64s
    rejected_offsets: Int64s
    rejected_reasons: Int64s
    untimely_offsets: Int64s  # of other regions: accepted, with a time that must not move a cut


def _seen_by(index: int, events: _Events, skew_s: int) -> _Events:
    """The events as one region sees them if others are none of its business: it accepts those of other regions unchecked.

    Their times move its cuts, like those of its own events, where the rules on time allow it.
    """
    batch = events.batch
    own = batch.region == index
    foreign = ~own & (batch.region != NO_REGION)
    at = batch.occurred_at_us
    timely = (at >= YEAR_2000_US) & (at < YEAR_2100_US) & ~_ahead(batch, skew_s)
    theirs = batch.offset[foreign]
    mine = ~np.isin(events.rejected_offsets, theirs)
    return _Events(
        batch,
        (events.accepted & own) | (foreign & timely),
        events.duplicate_offsets[~np.isin(events.duplicate_offsets, theirs)],
        events.rejected_offsets[mine],
        events.rejected_reasons[mine],
        batch.offset[foreign & ~timely],
    )


class _RegionIntake:
    """Counts one region in one partition: its evidenced time, its cuts, its mask after a resume."""

    def __init__(self, partition: int, index: int, region: Region, resume: ResumePoint, evidence: EvidenceRules) -> None:
        self.partition, self.index, self.region = partition, index, region
        self.position = resume.open_from
        self.counted_until = resume.counted_until
        self.closed_through = resume.closed_through
        self.start_slot = resume.start_slot
        self.too_far = resume.too_far
        self.evidence = Evidence(evidence, resume.largest_us)
        self.measure_of_kind = np.full(len(KINDS), -1, np.int64)
        for number, name in enumerate(region.measures):
            self.measure_of_kind[KINDS.index(MEASURES[name].kind)] = number
        self.at_end = np.array([MEASURES[name].at_end for name in region.measures])
        self.first_uncut = int(self._uncut(np.array([resume.largest_us]))[0])

    @property
    def largest_us(self) -> int:
        """Evidenced time so far, -1 for none."""
        return self.evidence.us

    def _uncut(self, largest_us: Int64s) -> Int64s:
        """First slot not yet cut, given the evidenced time."""
        uncut = (largest_us - self.region.issue_lateness_s * US_PER_S) // self.region.slot_us
        return np.maximum(uncut, self.closed_through + 1)

    def absorb(self, events: _Events, from_offset: int, to_offset: int, standing: Standing) -> Partial | None:
        if to_offset < self.position or (to_offset == self.position and standing is Standing.FLOWING):
            return None
        from_offset, self.position = self.position, to_offset
        accepted = events.accepted
        if len(events.batch) and events.batch.offset[0] < from_offset:
            accepted = accepted & (events.batch.offset >= from_offset)
        offset = events.batch.offset[accepted]
        occurred_at = events.batch.occurred_at_us[accepted]

        # The evidenced time decides the cuts; each cut starts a new piece at the event that made it.
        by_broker = None if events.batch.by_broker is None else events.batch.by_broker[accepted]
        # Evidence of this time cuts the first slot that is not cut yet.
        limit_us = (self.first_uncut + 1) * self.region.slot_us + self.region.issue_lateness_s * US_PER_S
        reached = self.evidence.absorb(occurred_at, offset, by_broker, limit_us)
        rises, first_uncut = self._cuts(reached.us)
        cuts = offset[rises]
        pieces = len(cuts) + 1
        ends = np.append(rises, len(offset))
        largest_us = reached.at(ends)
        needed_from = reached.needed_from(ends, np.append(cuts, to_offset))

        rows, lowest, counted, uncounted = self._count(events.batch, accepted, offset, occurred_at, cuts)
        new_from = max(self.counted_until, from_offset)

        def tally(offsets: Int64s) -> Int64s:
            """Number of these offsets in each piece, without those counted before."""
            fresh = offsets[offsets >= new_from] if len(offsets) and offsets.min() < new_from else offsets
            return np.bincount(np.searchsorted(cuts, fresh, side="right"), minlength=pieces).astype(np.int64)

        untimely = tally(events.untimely_offsets)
        totals = {"accepted": tally(offset) + untimely, "duplicate": tally(events.duplicate_offsets), "counted": tally(counted)}
        rejected_all = tally(events.rejected_offsets)
        totals["received"] = totals["accepted"] + totals["duplicate"] + rejected_all
        for reason in np.unique(events.rejected_reasons):
            totals[f"rejected.{REASONS[reason]}"] = tally(events.rejected_offsets[events.rejected_reasons == reason])
        for why, offsets in uncounted.items():
            if len(offsets):
                totals[f"uncounted.{why}"] = tally(offsets)
        if untimely.any():
            name = f"uncounted.{Uncounted.OTHER_REGION}"
            totals[name] = totals[name] + untimely if name in totals else untimely
        return Partial(
            self.region.id,
            self.partition,
            from_offset,
            to_offset,
            cuts,
            first_uncut,
            largest_us,
            rows,
            lowest,
            totals,
            standing,
            needed_from=needed_from,
            recent_us=reached.recent(),
        )

    def _cuts(self, reached_us: Int64s | None) -> tuple[Int64s, Int64s]:
        """Indexes of the events that make a cut, and the first slot not cut before the first, and after each of them."""
        before = self.first_uncut
        if reached_us is None:
            return NO_EVENTS, np.array([before])
        uncut = self._uncut(reached_us)
        rises = np.flatnonzero(uncut[1:] > uncut[:-1])
        self.first_uncut = int(uncut[-1])
        return rises, np.concatenate([[before], uncut[1:][rises]])

    def _count(
        self, batch: RideBatch, accepted: Bools, offset: Int64s, occurred_at: Int64s, cuts: Int64s
    ) -> tuple[Rows, tuple[Int32s, Int64s, Int64s], Int64s, dict[Uncounted, Int64s]]:
        """Rows, lowest offsets, offsets of counted rides, and offsets of uncounted rides by reason."""
        measure = self.measure_of_kind[batch.kind[accepted]]
        elsewhere = batch.region[accepted] != self.index
        slot = occurred_at // self.region.slot_us
        masked = (offset < self.counted_until) & (slot <= self.closed_through)
        for until, limit in self.too_far:
            if len(offset) and offset[0] < until:
                masked |= (offset < until) & (slot >= limit)
        other_kind = ~elsewhere & (measure < 0)
        lat, lon = batch.lat[accepted], batch.lon[accepted]
        no_end = np.zeros(len(measure), np.bool_)
        if self.at_end.any():
            ended = ~elsewhere & ~other_kind & self.at_end[measure]
            lat, lon = (_instead(values, ended, ends, accepted) for values, ends in ((lat, batch.end_lat), (lon, batch.end_lon)))
            no_end[ended] = ~inside(self.region.polygon, lat[ended], lon[ended])
        # History already has the slots before the bootstrap's end; rides of later closed slots are corrections.
        early = ~elsewhere & ~other_kind & ~no_end & (slot < self.start_slot)
        uncounted = {
            Uncounted.OTHER_REGION: offset[elsewhere],
            Uncounted.OTHER_KIND: offset[other_kind],
            Uncounted.NO_END: offset[no_end],
            Uncounted.BEFORE_START: offset[early],
        }
        keep = ~(elsewhere | other_kind | no_end | early)
        counted = offset[keep]
        keep &= ~masked
        if not keep.any():
            return NO_ROWS, (NO_ROWS.piece, NO_ROWS.slot, NO_ROWS.slot), counted, uncounted
        offset, slot, measure = offset[keep], slot[keep], measure[keep]
        cell = encode(lat[keep], lon[keep], self.region.cell_bits)
        piece = np.searchsorted(cuts, offset, side="right")
        # Slots of one batch span less than 2^40 and pieces are fewer than 2^20, so a pair fits in 64 bits.
        base = int(slot.min())
        pair, first, inverse = np.unique(piece << 40 | (slot - base), return_index=True, return_inverse=True)
        group = inverse.astype(np.uint64) * np.uint64(len(self.region.measures)) + measure.astype(np.uint64)
        keys, counts = np.unique(group << np.uint64(self.region.cell_bits) | cell, return_counts=True)
        groups = (keys >> np.uint64(self.region.cell_bits)).astype(np.int64)
        pairs = pair[groups // len(self.region.measures)]
        rows = Rows(
            (pairs >> 40).astype(np.int32),
            (pairs & (1 << 40) - 1) + base,
            (groups % len(self.region.measures)).astype(np.uint8),
            keys & np.uint64((1 << self.region.cell_bits) - 1),
            counts.astype(np.int64),
        )
        # Offsets ascend, so the first row of a pair has its lowest offset.
        return rows, ((pair >> 40).astype(np.int32), (pair & (1 << 40) - 1) + base, offset[first]), counted, uncounted


def _instead(values: Float64s, rows: Bools, others: Float64s | None, accepted: Bools) -> Float64s:
    """The values, in some rows those of another column, NaN where there is none."""
    return np.where(rows, np.nan if others is None else others[accepted], values)
