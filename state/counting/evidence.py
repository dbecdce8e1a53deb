"""How far event time has come in one partition, by evidence that is not one event's: the evidenced time.

The evidenced time is the running maximum of the k-th largest event time among the last W accepted events. One event
with a wrong clock, or fewer than k of them close together, cannot move it. An event whose log time is the broker's was
checked against that clock, so it is evidence by itself. Which slots are cut follows from the evidenced time
(`state.counting.intake`); which rides are too far ahead of it to be counted is decided in `state.counting.slots`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from schemas.errors import ContractError
from schemas.events.rides import Bools, Int64s
from schemas.records.records import RegionBootstrapped
from schemas.regions import US_PER_S

LAST_EVENTS = 256  # the largest times of a batch are among so many at its end, unless it is in great disorder


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
        self._before = rules.window_events - 1 if rules.events > 1 else 0
        # Events older than the first that is absorbed do not exceed the evidenced time, so -1 stands for each of them.
        self._times = np.full(self._before, -1, np.int64)
        self._offsets = np.full(self._before, -1, np.int64)
        self._scratch = Scratch()

    def absorb(self, times: Int64s, offsets: Int64s, by_broker: Bools | None, limit_us: int) -> "Reached":
        """Take in accepted events. Those that are read again after a resume change nothing: the evidenced time includes them.

        Args:
            times: int64[n], event times.
            offsets: int64[n], ascending.
            by_broker: bool[n], events whose log time is the broker's; None for none.
            limit_us: Where the evidenced time stays below it, only its last value is of interest.
        """
        all_times, all_offsets = times, offsets
        if self._before:
            all_times, all_offsets = np.concatenate([self._times, times]), np.concatenate([self._offsets, offsets])
            self._times, self._offsets = all_times[len(times) :], all_offsets[len(times) :]
        k, window = self._rules.events, self._rules.window_events
        if self._before and by_broker is None and np.count_nonzero(all_times >= limit_us) < k:
            self.us = max(self.us, largest_kth(all_times, k, window, self._scratch))
            return Reached(None, self.us, all_times, all_offsets, self._before)
        kth = self._evidenced(all_times, times, by_broker)
        last = max(self.us, int(kth.max())) if len(kth) else self.us
        us = np.maximum.accumulate(np.concatenate([[self.us], kth])) if last >= limit_us else None
        self.us = last
        return Reached(us, last, all_times, all_offsets, self._before)

    def _evidenced(self, all_times: Int64s, times: Int64s, by_broker: Bools | None) -> Int64s:
        """The time that each event evidences together with those before it, whatever was evidenced before."""
        if not self._before or not len(times):
            return times
        kth = kth_largest(all_times, self._rules.events, self._rules.window_events, self._scratch)
        return kth if by_broker is None else np.where(by_broker, np.maximum(kth, times), kth)


@dataclass(frozen=True, slots=True)
class Reached:
    """The evidenced time before and after each event of a batch.

    Attributes:
        us: int64[n + 1], non-decreasing; None if it stayed below the limit.
        last_us: After the last event.
        times, offsets: int64[before + n], some events before the batch and those of the batch.
        before: W - 1; 0 if the evidence of one event is enough.
    """

    us: Int64s | None
    last_us: int
    times: Int64s
    offsets: Int64s
    before: int

    def at(self, events: Int64s) -> Int64s:
        """The evidenced time before each event with such an index, n for the end of the batch."""
        return np.full(len(events), self.last_us) if self.us is None else self.us[events]

    def needed_from(self, events: Int64s, otherwise: Int64s) -> Int64s:
        """Lowest offset on which the evidenced time may still depend, before each event with such an index.

        Args:
            events: int64[m], indexes of events, n for the end of the batch.
            otherwise: int64[m], offsets to return where no earlier event is needed.
        """
        if not self.before:
            return otherwise
        windows = as_strided(self.times, (len(self.times) - self.before + 1, self.before), self.times.strides * 2, writeable=False)
        ahead = windows[events] > self.at(events)[:, None]
        first = ahead.argmax(axis=1)
        return np.where(ahead[np.arange(len(events)), first], self.offsets[events + first], otherwise)

    def recent(self) -> Int64s:
        """Times of the last W - 1 events, oldest first; -1 for those that do not exceed the evidenced time."""
        last = self.times[len(self.times) - self.before :]
        return np.where(last > self.last_us, last, -1)


class Scratch:
    """Arrays that are used again for every batch: fresh ones of this size cost more than the arithmetic in them."""

    def __init__(self) -> None:
        self._rows: list[Int64s] = []
        self._taken = 0

    def begin(self) -> None:
        """Every array may be used again."""
        self._taken = 0

    def take(self, n: int) -> Int64s:
        """An uninitialised array int64[n]."""
        if self._taken == len(self._rows):
            self._rows.append(np.empty(n, np.int64))
        elif len(self._rows[self._taken]) < n:
            self._rows[self._taken] = np.empty(n, np.int64)
        self._taken += 1
        return self._rows[self._taken - 1][:n]


def kth_largest(times: Int64s, k: int, window: int, scratch: Scratch | None = None) -> Int64s:
    """The k-th largest of each `window` consecutive times.

    Args:
        times: int64[n].
        scratch: Memory of the result, which the next call with it overwrites.
    Returns:
        int64[n - window + 1].

    >>> kth_largest(np.array([1, 9, 2, 3, 8, 4]), 2, 3)
    array([2, 3, 3, 4])
    """
    n = len(times) - window + 1
    if (times[1:] >= times[:-1]).all():  # as in a stream without disorder
        return times[window - k : window - k + n]
    scratch = scratch or Scratch()
    scratch.begin()
    made: dict[int, list[Int64s]] = {1: [times]}

    def largest(size: int) -> list[Int64s]:
        """The largest, second largest, ... of each `size` consecutive times, at most k of them."""
        if size not in made:
            shift = size // 2
            count = len(times) - size + 1
            first = [column[:count] for column in largest(shift)]
            second = [column[shift : shift + count] for column in largest(size - shift)]
            made[size] = [_rank_of_both(first, second, k, scratch)] if size == window else _merged(first, second, scratch)[:k]
        return made[size]

    return largest(window)[-1]


def largest_kth(times: Int64s, k: int, window: int, scratch: Scratch | None = None) -> int:
    """The largest of `kth_largest`, -1 for none; faster, because later times are usually larger.

    >>> largest_kth(np.array([1, 9, 2, 3, 8, 4]), 2, 3)
    4
    """
    if len(times) < window:
        return -1
    found = int(kth_largest(times[-(LAST_EVENTS + window - 1) :], k, window, scratch).max())
    rest = times[:-LAST_EVENTS]
    above = np.flatnonzero(rest > found)
    # Only where k larger times are in one window can an earlier one be larger.
    if len(rest) >= window and len(above) >= k and (above[k - 1 :] - above[: len(above) - k + 1] < window).any():
        found = max(found, int(kth_largest(rest, k, window, scratch).max()))
    return found


def _merged(first: Sequence[Int64s], second: Sequence[Int64s], scratch: Scratch) -> list[Int64s]:
    """Two descending lists of columns as one, row by row.

    Source:
        K. E. Batcher (1968), Sorting networks and their applications: the odd-even merge, here of lists of any lengths.
    """
    if not first or not second:
        return [*first, *second]
    if len(first) == len(second) == 1:
        return _ordered(first[0], second[0], scratch)
    merged: list[Int64s] = []
    even, odd = _merged(first[::2], second[::2], scratch), _merged(first[1::2], second[1::2], scratch)
    for a, b in zip(odd, even[1:], strict=False):
        merged += _ordered(a, b, scratch)
    return [even[0], *merged, *odd[len(even) - 1 :], *even[len(odd) + 1 :]]


def _ordered(a: Int64s, b: Int64s, scratch: Scratch) -> list[Int64s]:
    """The larger and the smaller of two columns, row by row."""
    return [np.maximum(a, b, out=scratch.take(len(a))), np.minimum(a, b, out=scratch.take(len(a)))]


def _rank_of_both(first: Sequence[Int64s], second: Sequence[Int64s], rank: int, scratch: Scratch) -> Int64s:
    """The column of one rank, from 1, of what `_merged` returns."""
    best, spare = scratch.take(len(first[0])), scratch.take(len(first[0]))
    # The r-th largest of a union takes i from one side and r - i from the other; the best choice has the largest minimum.
    choices = [(first[i - 1], second[rank - i - 1]) for i in range(max(1, rank - len(second)), min(rank - 1, len(first)) + 1)]
    alone = [side[rank - 1] for side in (first, second) if rank <= len(side)]
    if choices:
        np.minimum(*choices[0], out=best)
    else:
        np.copyto(best, alone.pop())
    for pair in choices[1:]:
        np.maximum(best, np.minimum(*pair, out=spare), out=best)
    for column in alone:
        np.maximum(best, column, out=best)
    return best


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
