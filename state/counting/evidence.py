"""How far event time has come in one partition, by evidence that is not one event's: the evidenced time.

The evidenced time is the running maximum of the k-th largest event time among the last W accepted events. One event
with a wrong clock, or fewer than k of them close together, cannot move it. An event whose log time is the broker's was
checked against that clock, so it is evidence by itself. Which slots are cut follows from the evidenced time
(`state.counting.intake`); which rides are too far ahead of it to be counted is decided in `state.counting.slots`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from schemas.errors import ContractError
from schemas.events.rides import Bools, Int64s
from schemas.records.records import RegionBootstrapped
from schemas.regions import US_PER_S

NO_TIMES = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class EvidenceRules:
    """Recorded rules of one region; the defaults are those of regions that were bootstrapped before the rules existed.

    Attributes:
        events: So many events of a window must have reached a time before it is evidenced; 1: the largest event time is.
        window_events: Accepted events of a partition in a window.
        hold_s: A ride that is further ahead of the first open slot is not counted; 0: no bound. See `hold_limit`.
    """

    events: int = 1
    window_events: int = 1
    hold_s: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.events <= self.window_events:
            raise ContractError(f"evidence: expected 1 <= events <= window_events, got {self.events} of {self.window_events}")

    def hold_slots(self, slot_us: int) -> int:
        """The bound on how far ahead a ride may be in slots, 0 for none."""
        return -(-self.hold_s * US_PER_S // slot_us)


def recorded_evidence(boot: RegionBootstrapped) -> EvidenceRules:
    """The rules that a region's bootstrap recorded."""
    return EvidenceRules(boot.evidence_events, boot.evidence_window_events, boot.hold_s)


class Evidence:
    """The evidenced time of one partition, and the last events that it may still depend on.

    Args:
        rules: Recorded rules.
        us: Evidenced time below the first offset that is not counted yet, -1 for none.
    """

    def __init__(self, rules: EvidenceRules, us: int) -> None:
        self.us = us
        self._rules = rules
        # Events older than the first that is absorbed do not exceed the evidenced time, so -1 stands for each of them.
        self._times = np.full(rules.window_events - 1, -1, np.int64)
        self._offsets = np.full(rules.window_events - 1, -1, np.int64)

    def absorb(self, times: Int64s, offsets: Int64s, by_broker: Bools | None, known: int) -> "Reached":
        """Take in accepted events.

        Args:
            times: int64[n], event times.
            offsets: int64[n], ascending.
            by_broker: bool[n], events whose log time is the broker's; None for none.
            known: The first so many events are read again; the evidenced time already includes them.
        """
        if self._rules.events == 1:
            reached = np.maximum.accumulate(np.concatenate([[self.us], times]))
            self.us = int(reached[-1])
            return Reached(reached, NO_TIMES, NO_TIMES)
        times, offsets = np.concatenate([self._times, times]), np.concatenate([self._offsets, offsets])
        window = self._rules.window_events
        reached = np.empty(len(times) - window + 2, np.int64)
        reached[0] = self.us
        if len(times) >= window:
            own = times[window - 1 :]
            kth = kth_largest(times, self._rules.events, window)
            reached[1:] = kth if by_broker is None else np.where(by_broker, np.maximum(kth, own), kth)
            reached[1 : known + 1] = self.us
            reached = np.maximum.accumulate(reached)
        self.us = int(reached[-1])
        self._times, self._offsets = times[len(times) - window + 1 :], offsets[len(offsets) - window + 1 :]
        return Reached(reached, times, offsets)


@dataclass(frozen=True, slots=True)
class Reached:
    """The evidenced time before and after each event of a batch.

    Attributes:
        us: int64[n + 1], non-decreasing.
        times, offsets: int64[n + W - 1], the last W - 1 events before the batch and those of the batch; empty if the
            evidence of one event is enough.
    """

    us: Int64s
    times: Int64s
    offsets: Int64s

    def needed_from(self, at: Int64s, otherwise: Int64s) -> Int64s:
        """Lowest offset on which the evidenced time may still depend, before each event with an index in `at`.

        Args:
            at: int64[m], indexes of events, n for the end of the batch.
            otherwise: int64[m], offsets to return where no earlier event is needed.
        """
        if not len(self.times):
            return otherwise
        rows = at[:, None] + np.arange(len(self.times) - len(self.us) + 1)
        ahead = self.times[rows] > self.us[at][:, None]
        first = rows[np.arange(len(at)), ahead.argmax(axis=1)]
        return np.where(ahead.any(axis=1), self.offsets[first], otherwise)

    def recent(self) -> Int64s:
        """Times of the last W - 1 events, oldest first; -1 for those that do not exceed the evidenced time."""
        last = self.times[len(self.us) - 1 :]
        return np.where(last > self.us[-1], last, -1)


def kth_largest(times: Int64s, k: int, window: int) -> Int64s:
    """The k-th largest of each `window` consecutive times.

    Args:
        times: int64[n].
    Returns:
        int64[n - window + 1].

    >>> kth_largest(np.array([1, 9, 2, 3, 8, 4]), 2, 3)
    array([2, 3, 3, 4])
    """
    made: dict[int, list[Int64s]] = {1: [times]}

    def largest(size: int) -> list[Int64s]:
        """The largest, second largest, ... of each `size` consecutive times, at most k of them."""
        if size not in made:
            made[size] = _merged(largest(size // 2), largest(size - size // 2), size // 2, range(1, min(k, size) + 1))
        return made[size]

    if window == 1:
        return times
    return _merged(largest(window // 2), largest(window - window // 2), window // 2, (k,))[0]


def _merged(first: list[Int64s], second: list[Int64s], shift: int, ranks: Sequence[int]) -> list[Int64s]:
    """The r-th largest of two neighbouring windows for each r in `ranks`, from the largest of each; the second starts `shift` later."""
    n = len(second[0]) - shift
    a, b = [column[:n] for column in first], [column[shift : shift + n] for column in second]
    out = []
    for rank in ranks:
        # The r-th largest of a union takes i from one side and r - i from the other; the best choice has the largest minimum.
        best: Int64s | None = None
        for i in range(max(0, rank - len(b)), min(rank, len(a)) + 1):
            j = rank - i
            least = a[i - 1] if not j else b[j - 1] if not i else np.minimum(a[i - 1], b[j - 1])
            best = least if best is None else np.maximum(best, least)
        assert best is not None
        out.append(best)
    return out


# --- rides far ahead ------------------------------------------------------------------------------


def hold_limit(uncut: Int64s, hold_slots: int) -> Int64s:
    """First slot whose rides are too far ahead to be counted, given the first slot that is not cut.

    The limit moves once in `hold_slots`, so that a resume needs only a few recorded cuts to know what it was at an
    offset. A ride less than `hold_slots` ahead is always counted, one more than twice as far never.

    >>> hold_limit(np.array([0, 99, 100]), 100)
    array([200, 200, 300])
    """
    return (uncut // hold_slots + 2) * hold_slots


def held_marks(
    closed_through: int, counted_until: int, hold_slots: int, cut_of: Callable[[int], int | None]
) -> tuple[tuple[int, int], ...]:
    """What a resume must know about rides that it reads again: (offset, slot) pairs.

    Below the offset, rides of that slot or a later one were too far ahead when they were counted first.

    Args:
        closed_through: Last closed slot.
        counted_until: Its cut.
        hold_slots: Slots in the bound on how far ahead a ride may be; 0 for no bound.
        cut_of: The recorded cut of an earlier slot, None if the slot is not recorded.

    >>> held_marks(1234, 900, 100, {1099: 70, 1199: 80}.get)
    ((70, 1200), (80, 1300), (900, 1400))
    """
    if not hold_slots:
        return ()
    start = closed_through // hold_slots * hold_slots  # The limit moved when the slot before this one was cut.
    cuts = [(cut_of(start - hold_slots - 1), start), (cut_of(start - 1), start + hold_slots)]
    return (*((cut, limit) for cut, limit in cuts if cut is not None), (counted_until, start + 2 * hold_slots))
