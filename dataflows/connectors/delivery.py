"""Simulates delivery of events to the ride log: partition, log time, order and duplicates.

Without jitter an event is logged when it occurred. With jitter each event has its own delay, so that a
partition's order is that of delivery, as in Kafka; some are delivered twice, as by a producer that retries.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from schemas.errors import UsageError
from schemas.events.codec import EventColumns, encode_events
from schemas.events.partitioner import partition_of
from schemas.events.rides import Int64s
from state.simulation.faults.kinds import Messages

US_PER_MS = 1_000
REPEAT_WITHIN_MS = 30_000  # a producer without an answer retries within its request timeout (librdkafka: 30 s)


class RideSink(Protocol):
    """Where events go: `RideLogWriter`, or a topic."""

    def append(self, partition: int, logged_at_us: Int64s, keys: list[bytes], values: list[bytes]) -> None:
        """Add entries at a partition's end."""
        ...

    def flush(self) -> None:
        """Make them durable."""
        ...


@dataclass(frozen=True, slots=True)
class DeliveryRules:
    """Delays and duplicates of a delivery.

    Attributes:
        jitter_s: Largest delay; uniform from 0, in whole milliseconds.
        duplicates: Share of events that are delivered twice, the same bytes, up to 30 s later.
        seed: Determines which events are late and which are duplicated.
    """

    jitter_s: float = 0.0
    duplicates: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.jitter_s <= 86_400:
            raise UsageError(f"--jitter-s: expected 0 to 86400 seconds, got {self.jitter_s:g}")
        if not 0 <= self.duplicates <= 1:
            raise UsageError(f"--duplicates: expected a share from 0 to 1, got {self.duplicates:g}")
        if self.seed < 0:
            raise UsageError(f"--seed: expected 0 or more, got {self.seed}")


Entries = tuple[int, Int64s, list[bytes], list[bytes]]  # partition, logged_at_us, keys, values


class Delivery:
    """Sorts events into the order of the log.

    Args:
        partitions: Number of partitions.
        rules: Delays and duplicates.
        change: What else happens to messages on their way; it must not make any earlier.

    Attributes:
        change: May be replaced between two pushes.

    Events are pushed in ascending order of time, in batches; the same events give the same log for any
    batches, since each event has its own random delay.
    """

    def __init__(self, partitions: int, rules: DeliveryRules, change: Callable[[Messages], Messages] | None = None) -> None:
        self._partitions, self._rules, self.change = partitions, rules, change
        # One random stream per purpose, so that more draws from one do not shift the others.
        self._delays, self._repeats, self._waits = (np.random.default_rng([rules.seed, stream]) for stream in range(3))
        self._times: Int64s = np.empty(0, np.int64)
        self._turns: Int64s = np.empty(0, np.int64)  # order of equal times: an event before its duplicate and before later events
        self._given = 0
        self._entries: list[tuple[bytes, bytes]] = []
        self.delivered = 0
        self.repeated = 0

    def push(self, columns: EventColumns, until_us: int, sent_at_us: Int64s | None = None) -> Iterator[Entries]:
        """Add events, and yield those that no later event can precede.

        Args:
            columns: Events, none earlier than those pushed before.
            until_us: Every later push has only events at or after this time.
            sent_at_us: int64[n], when each really occurred, if that is not what it says.
        """
        times = _up_to_ms(columns.occurred_at_us if sent_at_us is None else sent_at_us)
        turns = 2 * np.arange(self._given, self._given + len(times))
        self._given += len(times)
        if self._rules.jitter_s:
            times = times + US_PER_MS * self._delays.integers(0, int(self._rules.jitter_s * 1_000), len(times), endpoint=True)
        entries = list(zip([ride.encode() for ride in columns.ride_id], encode_events(columns), strict=True))
        if self._rules.duplicates:
            again = np.flatnonzero(self._repeats.random(len(times)) < self._rules.duplicates)
            waits = US_PER_MS * self._waits.integers(1, REPEAT_WITHIN_MS, len(again), endpoint=True)
            times, turns = np.concatenate([times, times[again] + waits]), np.concatenate([turns, turns[again] + 1])
            entries += [entries[row] for row in again.tolist()]
            self.repeated += len(again)
        if self.change is not None:
            ids = columns.event_id + ([columns.event_id[row] for row in again.tolist()] if self._rules.duplicates else [])
            times, turns, entries = self._changed(times, turns, ids, entries)
        self._times, self._turns = np.concatenate([self._times, times]), np.concatenate([self._turns, turns])
        self._entries += entries
        yield from self._release(until_us)

    def _changed(
        self, times: Int64s, turns: Int64s, ids: list[str], entries: list[tuple[bytes, bytes]]
    ) -> tuple[Int64s, Int64s, list[tuple[bytes, bytes]]]:
        assert self.change is not None
        keys = [key for key, _ in entries]
        places, intact = partition_of(keys, self._partitions), np.zeros(len(keys), np.bool_)
        messages = self.change(Messages(times, turns, ids, keys, [value for _, value in entries], places, intact))
        return messages.logged_at_us, messages.turns, list(zip(messages.keys, messages.values, strict=True))

    def finish(self) -> Iterator[Entries]:
        """Yield all remaining events."""
        yield from self._release(np.iinfo(np.int64).max)

    def _release(self, until_us: int) -> Iterator[Entries]:
        order = np.lexsort((self._turns, self._times))
        ready = order[: np.searchsorted(self._times, until_us, sorter=order)]
        if not len(ready):
            return
        entries = [self._entries[row] for row in ready.tolist()]
        times = self._times[ready]
        rest = np.setdiff1d(np.arange(len(self._times)), ready)
        self._times, self._turns, self._entries = self._times[rest], self._turns[rest], [self._entries[row] for row in rest.tolist()]
        self.delivered += len(entries)
        places = partition_of([key for key, _ in entries], self._partitions)
        for partition in range(self._partitions):
            rows = np.flatnonzero(places == partition)
            if len(rows):
                mine = [entries[row] for row in rows.tolist()]
                yield partition, times[rows], [key for key, _ in mine], [value for _, value in mine]


def _up_to_ms(times_us: Int64s) -> Int64s:
    """Round up to Kafka's milliseconds, so that no event is logged before it occurred."""
    return -(-times_us // US_PER_MS) * US_PER_MS
