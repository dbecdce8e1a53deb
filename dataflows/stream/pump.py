"""Reads one partition and turns its events into partial counts; the same with and without Bytewax."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dataflows.connectors.sinks import RejectSink
from dataflows.connectors.source_watch import confirming
from dataflows.connectors.sources import PartitionReader, RideSource
from dataflows.stream.intake_watch import IntakeWatch
from dataflows.stream.resume import FROM_LOWEST, ResumePlan
from schemas.errors import DamagedError, NotFound, SourceMoved
from schemas.events.codec import Decoder
from schemas.events.rides import Rejected, no_rides
from state.counting.evidence import recorded_evidence
from state.counting.explain import explain
from state.counting.intake import IntakeRules, PartitionIntake
from state.counting.partials import Partial, ResumePoint, Standing


@dataclass(frozen=True, slots=True)
class PumpLimits:
    """Bounds on one partition's reading.

    Attributes:
        batch_events: Most events in one batch.
        idle_after_s: Time without events at the end of the log after which the partition is idle.
        progress_every_s: Shortest time between two progress reports without rides.
        poll_s: Longest wait for events.
    """

    batch_events: int = 5_000
    idle_after_s: float = 5.0
    progress_every_s: float = 0.25
    poll_s: float = 0.05


class PartitionPump:
    """Reads one partition and folds it into partials for every region.

    Args:
        source: Source of the rides.
        partition: Number of the partition.
        plans: One resume plan per region, in the decoder's order.
        decoder: Decodes bytes to columns.
        rules: Recorded intake rules.
        rejects: Sink for rejected events; they are durable before their partial is returned.
        bounded: Stop at the current end offset.
        clock: Monotonic seconds.
        watch: Reports what was read and rejected while the pump runs.
    """

    def __init__(
        self,
        source: RideSource,
        partition: int,
        plans: Sequence[ResumePlan],
        decoder: Decoder,
        rules: IntakeRules,
        rejects: RejectSink,
        limits: PumpLimits,
        clock: Callable[[], float],
        *,
        bounded: bool,
        watch: IntakeWatch | None = None,
    ) -> None:
        self.partition = partition
        self.ended = False
        self.idle = False
        self.received = 0
        self._limits, self._clock, self._decoder, self._rejects = limits, clock, decoder, rejects
        self._confirm = confirming(source)
        self._source = source.identity().incarnation().to_json()
        self._reader, self._intake, self._losses = _open(source, partition, plans, rules)
        self._end = self._reader.end() if bounded else None
        self._quiet_since: float | None = None
        self._told_at = -limits.progress_every_s
        self._watch = watch
        self._regions, self._skew_s = tuple(plan.region for plan in plans), rules.skew_s

    @property
    def largest_us(self) -> int:
        """Evidenced time so far, -1 for none."""
        return self._intake.largest_us

    @property
    def position(self) -> int:
        """First offset that is not folded yet."""
        return self._intake.position

    def step(self) -> list[Partial]:
        """Read at most one batch and return its partials; empty if there are no new events.

        Raises:
            SourceMoved: the source no longer has the position, because it deleted old events or is another log; a new start records it.
        """
        if self.ended:
            return []
        at_end = self._end is not None and self.position >= self._end
        try:
            raw = None if at_end else self._reader.read(self._limits.batch_events, self._limits.poll_s)
        except NotFound as cause:
            raise SourceMoved(f"{cause}") from cause
        except DamagedError:
            self._confirm()  # A directory that was replaced under its reader looks damaged.
            raise
        if raw is not None and self._end is not None and len(raw) and raw.offsets[-1] >= self._end:
            keep = int(np.searchsorted(raw.offsets, self._end))
            raw = raw.part(slice(0, keep))
        position = max(self._reader.position(), self.position)
        if self._end is not None:
            position = min(position, self._end)
        standing = self._standing(position, bool(raw is not None and len(raw)))
        if raw is None or not len(raw):
            if position == self.position and standing is Standing.FLOWING:
                if self._watch is not None:
                    self._watch.write()
                return []
            batch, undecodable = no_rides(self.partition), list[Rejected]()
        else:
            batch, undecodable = self._decoder.decode(raw)
            self.received += len(raw)
        partials, rejected = self._intake.absorb(batch, undecodable, position, standing)
        if rejected:
            assert raw is not None
            values = dict(zip(raw.offsets.tolist(), raw.values, strict=True))
            rejected = [_with_bytes(event, values) for event in rejected]
            self._rejects.write([self._explained(event) for event in rejected])
        if self._watch is not None:
            self._watch.add(partials, rejected, raw, batch)
        return [self._with_losses(partial) for partial in partials]

    def _explained(self, event: Rejected) -> Rejected:
        return replace(event, detail=explain(event, self._regions, self._skew_s), source=self._source)

    def _standing(self, position: int, got_some: bool) -> Standing:
        if self._end is not None:
            self.ended = position >= self._end
            return Standing.ENDED if self.ended else Standing.FLOWING
        now = self._clock()
        if got_some:
            self._quiet_since, self.idle = None, False
            return Standing.FLOWING
        if self._quiet_since is None:
            self._quiet_since = now
        if now - self._quiet_since < self._limits.idle_after_s or now - self._told_at < self._limits.progress_every_s:
            return Standing.FLOWING
        # A partition is idle only if a fresh read of the end offset confirms it: an unreachable broker raises here instead.
        if self._reader.end() > position:
            self._quiet_since = now
            return Standing.FLOWING
        self._told_at, self.idle = now, True
        return Standing.IDLE

    def _with_losses(self, partial: Partial) -> Partial:
        lost = self._losses.pop(partial.region, None)
        return replace(partial, gap_until=lost.gap_until, short_from=lost.short_from, wanted_from=lost.wanted_from) if lost else partial

    def close(self) -> None:
        """Close the reader."""
        if self._watch is not None:
            self._watch.write(now=True)
        self._reader.close()


@dataclass(frozen=True, slots=True)
class _Losses:
    """Events that a region would have read but the source no longer has; as in `Partial`, -1 for none."""

    gap_until: int
    short_from: int
    wanted_from: int


def _open(
    source: RideSource, partition: int, plans: Sequence[ResumePlan], rules: IntakeRules
) -> tuple[PartitionReader, PartitionIntake, dict[str, _Losses]]:
    """A reader at the start of the deduplication horizon, the intake that resumes there, and the losses by region."""
    lowest, _ = source.bounds(partition)
    points: list[ResumePoint] = []
    wanted: list[int] = []
    losses: dict[str, _Losses] = {}
    for plan in plans:
        point = plan.points[partition]
        gap_until = lowest if FROM_LOWEST != point.open_from < lowest else -1
        open_from = lowest if point.open_from == FROM_LOWEST else point.open_from
        points.append(replace(point, open_from=open_from, counted_until=max(point.counted_until, open_from)))
        wanted.append(max(0, open_from - rules.dedup_horizon_events))
        # A loss that is already recorded is not reported again, so an interrupted run records the same as any other run.
        short = lowest > max(wanted[-1], plan.warmed_from.get(partition, -1))
        losses[plan.region.id] = _Losses(gap_until, lowest if short else -1, wanted[-1] if short else -1)
    read_from = max(lowest, min(wanted))
    first = min([read_from, *(point.open_from for point in points)])
    evidence = [recorded_evidence(plan.bootstrapped) for plan in plans]
    intake = PartitionIntake(partition, [plan.region for plan in plans], rules, points, first, evidence)
    return source.open(partition, read_from), intake, losses


def _with_bytes(event: Rejected, values: dict[int, bytes]) -> Rejected:
    return event if event.value else replace(event, value=values[event.offset])
