"""Local time of slots: weekday, slot of day, holiday, and the same local time some days earlier.

Everything is derived from the region's timezone (tzdata), so that a lag of one day is the same local time
across a change of daylight saving time. Slots are numbered since 1970 in UTC.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from schemas.regions import DAY_MIN, Region

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LocalTime:
    """The start of a slot in the region's local time.

    Attributes:
        weekday: 0 = Monday to 6 = Sunday.
        slot_of_day: Slots since midnight by the local clock, 0 to slots per day - 1.
        holiday: The local date is a holiday of the region.
        holiday_eve: The next local date is one.
    """

    weekday: int
    slot_of_day: int
    holiday: bool
    holiday_eve: bool

    @property
    def weekend(self) -> bool:
        """Saturday, Sunday or a holiday."""
        return self.weekday >= 5 or self.holiday


class Calendar:
    """Local time of one region's slots.

    >>> from schemas.regions import load_region
    >>> calendar = Calendar(load_region("nyc"))
    >>> calendar.local(calendar.first_slot("2014-05-26")).holiday
    True
    """

    def __init__(self, region: Region) -> None:
        self.slot_min = region.slot_min
        self.day_slots = DAY_MIN // region.slot_min
        self.horizons = region.horizons
        self._zone = ZoneInfo(region.timezone)
        self._holidays = frozenset(date.fromisoformat(day) for day in region.holidays)
        self._offset_min = lru_cache(maxsize=16_384)(self._offset_min_now)

    def _offset_min_now(self, slot: int) -> int:
        local = (_EPOCH + timedelta(minutes=slot * self.slot_min)).astimezone(self._zone)
        offset = local.utcoffset() or timedelta(0)
        return int(offset.total_seconds()) // 60

    def local(self, slot: int) -> LocalTime:
        """The local time at which a slot starts."""
        minutes = slot * self.slot_min + self._offset_min(slot)
        day = date(1970, 1, 1) + timedelta(days=minutes // DAY_MIN)
        return LocalTime(
            day.weekday(), minutes % DAY_MIN // self.slot_min, day in self._holidays, day + timedelta(days=1) in self._holidays
        )

    def seasonal(self, slot: int, days: int) -> int:
        """The slot that started at the same local time a number of local days earlier.

        For a local time that existed twice, the offset of the slot exactly `days` x 24 hours earlier decides; if the
        local time did not exist, that slot itself is returned.

        >>> from schemas.regions import load_region
        >>> calendar = Calendar(load_region("nyc"))
        >>> noon = calendar.first_slot("2014-03-10") + 144  # the clock went forward on 9 March
        >>> noon - calendar.seasonal(noon, 7)
        2004
        """
        naive = slot - days * self.day_slots
        here = self._offset_min(slot)
        there = self._offset_min(naive)
        if here == there:
            return naive
        moved = naive + (here - there) // self.slot_min
        return naive + (here - self._offset_min(moved)) // self.slot_min

    def first_slot(self, day: str) -> int:
        """The slot that contains the local midnight of a day, YYYY-MM-DD; if it does not exist, the first slot after it."""
        midnight = datetime.combine(date.fromisoformat(day), datetime.min.time(), self._zone)
        minutes = int((midnight.astimezone(UTC) - _EPOCH).total_seconds()) // 60
        return -(-minutes // self.slot_min)
