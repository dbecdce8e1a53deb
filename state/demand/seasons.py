"""The baseline: mean rides at the same local time and weekday in the last four weeks, recent weeks weighted more.

It is a column of every issue, the reference of live scores, and the forecast when there is no model.
Weeks with an outage are left out. Without a whole week, earlier days replace weeks; without a whole day,
the mean of the observed slots.
"""

import numpy as np

from schemas.events.rides import Float64s, Int64s
from state.demand.calendar import Calendar
from state.demand.history import CountHistory

WEEKS = (1, 2, 3, 4)
RECENCY = 0.8  # weight of a week relative to the one after it
DAYS = (1, 2, 3, 4, 5, 6)


def seasons(history: CountHistory, calendar: Calendar, slot: int, before: int, after: int) -> list[tuple[int, float]]:
    """(earlier slot at the same local time, weight) of the seasons that a profile averages.

    A season counts if every slot of [earlier - before, earlier + after) was observed.
    """
    found = [
        (earlier, RECENCY**week)
        for week in WEEKS
        if history.complete((earlier := calendar.seasonal(slot, 7 * week)) - before, earlier + after)
    ]
    if not found:
        found = [(earlier, 1.0) for day in DAYS if history.complete((earlier := calendar.seasonal(slot, day)) - before, earlier + after)]
    return found


def profile(history: CountHistory, calendar: Calendar, slot: int, columns: Int64s, horizons: tuple[int, ...]) -> Float64s:
    """Baseline of each cell for each horizon after a slot: float64[n, len(horizons)], rides.

    Args:
        slot: The last closed slot; windows start at its end.
        horizons: Slots, ascending.
    """
    start = slot + 1
    out = np.zeros((len(horizons), len(columns)))
    weights = np.zeros(len(horizons))
    for earlier, weight in seasons(history, calendar, start, 0, horizons[0]):
        rows = history.cumulative((earlier, *(earlier + h for h in horizons)), columns)
        for i, h in enumerate(horizons):
            if history.complete(earlier, earlier + h):
                out[i] += weight * (rows[i + 1] - rows[0])
                weights[i] += weight
    if not weights.all():
        day_ago = start - history.day_slots
        seen = history.observed_slots(day_ago, start)
        mean = history.window(day_ago, start, columns) / max(seen, 1)
        for i in np.flatnonzero(weights == 0.0).tolist():
            out[i], weights[i] = mean * horizons[i], 1.0
    return np.ascontiguousarray((out / weights[:, None]).T)


def expected_rides(history: CountHistory, calendar: Calendar, slot: int) -> float:
    """Rides that the profile expects in one slot over the whole region; 0 without past data."""
    total, weights = 0.0, 0.0
    for earlier, weight in seasons(history, calendar, slot, 0, 1):
        before, after = history.city_cumulative((earlier, earlier + 1)).tolist()
        total += weight * (after - before)
        weights += weight
    return total / weights if weights else 0.0
