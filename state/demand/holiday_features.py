"""Features of days around holidays, for a feature table: days between a holiday and a weekend, and long weekends.

A day counts as off if it is a weekend or a holiday. Which table has these features, the table says.
"""

from state.demand.feature_table import Feature
from state.demand.groups import Group
from state.demand.windows import SlotWindows

LONG_DAYS = 3  # days off in a row that people travel on


def is_bridge(w: SlotWindows) -> float:
    """1 on a working day between two days off, such as the Friday after Thanksgiving."""
    return float(not _is_off(w, 0) and _is_off(w, -1) and _is_off(w, 1))


def is_long_weekend(w: SlotWindows) -> float:
    """1 on each of at least three days off in a row, which a weekend alone is not."""
    before = next(days for days in range(1, LONG_DAYS + 1) if days == LONG_DAYS or not _is_off(w, -days)) - 1
    after = next(days for days in range(1, LONG_DAYS + 1) if days == LONG_DAYS or not _is_off(w, days)) - 1
    return float(_is_off(w, 0) and before + 1 + after >= LONG_DAYS)


def _is_off(w: SlotWindows, days: int) -> bool:
    """Whether the local date so many days after that of the forecast's start is a weekend or a holiday."""
    # From noon, a step of 24 hours lands on the next local date, also where the clock changes.
    noon = w.start - w.local.slot_of_day + w.day // 2
    return w.calendar.local(noon + days * w.day).weekend


HOLIDAY_FEATURES: tuple[Feature, ...] = (
    Feature("bridge_day", "a working day between two days off", is_bridge, linear=True, group=Group.CALENDAR),
    Feature("long_weekend", "one of at least three days off in a row", is_long_weekend, linear=True, group=Group.CALENDAR),
)
