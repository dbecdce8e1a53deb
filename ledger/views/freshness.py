"""How fresh the forecasts of a region are: live, late, stale or replaying, measured in slots without a close.

The age of a region's data is the time since the end of its newest closed slot. While rides arrive, a slot closes every
slot length, so the age rises from the issue lateness to one slot more and drops again. All limits are therefore
multiples of the slot length: the same rule fits slots of five minutes and of an hour.
"""

from collections import deque
from enum import StrEnum

from schemas.regions import Region

LIVE_SLOTS = 2.0  # one slot of normal age, and one for an idle partition, a restart or a slow close
WINDOW_S = 60.0  # over which closes are counted to detect a replay
REPLAY_SLOTS, REPLAY_SPEED = 2, 3.0  # closes in the window, and event seconds per second, from which it is a replay


class Freshness(StrEnum):
    """Whether the forecasts of a region describe the time after now."""

    LIVE = "live"  # slots close as time passes
    LATE = "late"  # a close is overdue
    STALE = "stale"  # no slot has closed for long: rides no longer arrive, or nothing runs
    REPLAYING = "replaying"  # old slots close one after another: history is replayed, or a run catches up


def freshness(age_s: float, region: Region, *, stale_after_slots: float, replaying: bool) -> Freshness:
    """The state of a region with closed slots.

    Args:
        age_s: Time since the end of its newest closed slot.
        stale_after_slots: Setting of that name.
        replaying: Whether slots close much faster than time passes (`ClosePace`).

    >>> from schemas.regions import load_region
    >>> nyc = load_region("nyc")
    >>> [freshness(age_s, nyc, stale_after_slots=3, replaying=False).value for age_s in (300, 700, 1_200)]
    ['live', 'late', 'stale']
    """
    slots = slots_without_close(age_s, region)
    if slots <= min(LIVE_SLOTS, stale_after_slots):
        return Freshness.LIVE
    if slots <= stale_after_slots:
        return Freshness.LATE
    return Freshness.REPLAYING if replaying else Freshness.STALE


def slots_without_close(age_s: float, region: Region) -> float:
    """The age of a region's data in slot lengths, without the issue lateness that every close waits for."""
    return max(0.0, age_s - region.issue_lateness_s) / (60 * region.slot_min)


class ClosePace:
    """Whether slots close much faster than time passes, as one process observes it.

    >>> from schemas.regions import load_region
    >>> pace = ClosePace(load_region("nyc"))
    >>> for now_s, slot in ((0.0, 100), (1.0, 101), (2.0, 104)):
    ...     pace.observe(now_s, slot)
    >>> pace.replaying(2.0), pace.replaying(70.0)
    (True, False)
    """

    def __init__(self, region: Region) -> None:
        self._slot_s = 60 * region.slot_min
        self._seen: deque[tuple[float, int]] = deque(maxlen=1_000)  # (time, newest closed slot), when it changed

    def observe(self, now_s: float, slot: int) -> None:
        """Note the newest closed slot.

        Args:
            now_s: Monotonic seconds.
            slot: The newest closed slot.
        """
        if not self._seen or self._seen[-1][1] != slot:
            self._seen.append((now_s, slot))

    def replaying(self, now_s: float) -> bool:
        """Whether at least two slots closed in the last minute, three times as fast as time passes."""
        seen = list(self._seen)  # another thread may append
        before = [slot for at_s, slot in seen if at_s < now_s - WINDOW_S]
        within = [slot for at_s, slot in seen if at_s >= now_s - WINDOW_S]
        if not within:
            return False
        closed = within[-1] - (before[-1] if before else within[0])
        return closed >= REPLAY_SLOTS and closed * self._slot_s >= REPLAY_SPEED * WINDOW_S
