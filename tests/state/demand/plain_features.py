"""Every feature of one cell, from its definition: loops over a dictionary of counts, no arrays and nothing of the product."""

import math

from tests.state.demand.plain_counts import PlainClock, PlainCounts

NAN = math.nan
LAGS_MIN = (5, 15, 30, 60, 120, 240, 1440)
EARLIER = (1, 2, 3, 4, 5, 6, 7, 14, 21, 28)  # days


class PlainFeatures:
    """Features after a closed slot, `at`; windows of the future begin where it ends."""

    def __init__(self, counts: PlainCounts, clock: PlainClock, at: int) -> None:
        self.counts, self.clock, self.start, self.day = counts, clock, at + 1, counts.day
        region = counts.region
        horizons = [minutes // region.slot_min for minutes in region.horizons_min]
        self.ahead = {"first": horizons[0], "middle": horizons[len(horizons) // 2], "last": horizons[-1]}
        self.last = horizons[-1]
        self.short = self.slots(15)
        self.pad = self.slots(15)
        self.before = {days: clock.days_before(self.start, days) for days in EARLIER}
        # A day is of use if nothing is missing for the longest horizon before and after the same time of it.
        reach = self.last + self.pad
        self.usable = {days for days, slot in self.before.items() if counts.all_seen(slot - reach, slot + reach)}
        free = clock.free(self.start)
        self.daily = {days: 1.0 for days in range(1, 8) if days in self.usable}
        self.weekly: dict[int, float] = {days: 0.8 ** (days // 7) for days in (7, 14, 21, 28) if days in self.usable}
        self.kind = {days: 1.0 for days in self.daily if clock.free(self.before[days]) == free}
        self.mixed = dict(self.weekly)
        for days in self.kind:
            self.mixed[days] = max(self.mixed.get(days, 0.0), 0.25)
        month = self.start - 28 * self.day
        self.month_seen = max(counts.seen(month, self.start), 1)
        self.city_rate = max(counts.city(month, self.start) / self.month_seen, 1e-9)

    def slots(self, minutes: int) -> int:
        """How many slots that is, at least one."""
        return max(1, minutes // self.counts.region.slot_min)

    def lately(self, cells: list[int], slots: int) -> float:
        """Rides in the last slots; missing if one of them was not observed."""
        if not self.counts.all_seen(self.start - slots, self.start):
            return NAN
        return self.counts.total(cells, self.start - slots, self.start)

    def on(self, days: int, cells: list[int], low: int, high: int) -> float:
        """Rides so many days before, between two times relative to now."""
        return self.counts.total(cells, self.before[days] + low, self.before[days] + high)

    def mean(self, weights: dict[int, float], cells: list[int], low: int, high: int) -> float:
        """Weighted mean over earlier days; missing without any."""
        if not weights:
            return NAN
        return sum(weight * self.on(days, cells, low, high) for days, weight in weights.items()) / sum(weights.values())

    def city_mean(self, low: int, high: int) -> float:
        """Mean of the region's rides over the earlier days that a smooth profile looks at."""
        if not self.mixed:
            return NAN
        rides = sum(w * self.counts.city(self.before[days] + low, self.before[days] + high) for days, w in self.mixed.items())
        return rides / sum(self.mixed.values())

    def city_lately(self, slots: int) -> float:
        """Rides of the region in the last slots; missing if one of them was not observed."""
        whole = self.counts.all_seen(self.start - slots, self.start)
        return self.counts.city(self.start - slots, self.start) if whole else NAN

    def smooth(self, cell: int, low: int, high: int) -> float:
        """Mean of the cell's rides over earlier days, drawn towards its rate in the shape of the whole region's day by two rides."""
        own_rate = self.counts.total([cell], self.start - 28 * self.day, self.start) / self.month_seen
        slots = high - low
        weight = sum(self.mixed.values())
        shape = self.city_mean(low, high) / (slots * self.city_rate) if weight else 1.0
        expected = max(own_rate * slots * shape, 1e-9)
        rides = sum(w * self.on(days, [cell], low, high) for days, w in self.mixed.items())
        return (rides + 2.0) / (weight + 2.0 / expected)

    def of(self, cell: int) -> dict[str, float]:
        """Every feature of a cell by name."""
        return self._own(cell) | self._profile(cell) | self._around(cell) | self._city(cell) | self._time()

    def _own(self, cell: int) -> dict[str, float]:
        counts, start, day = self.counts, self.start, self.day
        out: dict[str, float] = {f"lag_{minutes}": self.lately([cell], self.slots(minutes)) for minutes in LAGS_MIN}
        week_seen = max(counts.seen(start - 7 * day, start), 1)
        week = counts.total([cell], start - 7 * day, start)
        hour = self.slots(60)
        out["rate_week"] = week / week_seen * hour
        out["rate_month"] = counts.total([cell], start - 28 * day, start) / self.month_seen * hour
        out["log_since_ride"] = math.log(start - counts.latest[cell])
        day_seen = max(counts.seen(start - day, start), 1)
        out["level_day"] = ratio(counts.total([cell], start - day, start), week / week_seen * day_seen)
        return out

    def _profile(self, cell: int) -> dict[str, float]:
        out: dict[str, float] = {}
        for name, ahead in self.ahead.items():
            out[f"day_{name}"] = self.on(1, [cell], 0, ahead) if 1 in self.usable else NAN
            out[f"week_{name}"] = self.on(7, [cell], 0, ahead) if 7 in self.usable else NAN
            out[f"days_{name}"] = self.mean(self.daily, [cell], 0, ahead)
            out[f"weeks_{name}"] = self.mean(self.weekly, [cell], 0, ahead)
            out[f"kind_{name}"] = self.mean(self.kind, [cell], 0, ahead)
            wide = self.smooth(cell, -self.pad, ahead + self.pad)
            out[f"log_smooth_{name}"] = math.log(wide * ahead / (ahead + 2 * self.pad))
        out["level_short"] = ratio(self.lately([cell], self.short), self.smooth(cell, -self.short, 0))
        out["level_long"] = ratio(self.lately([cell], self.last), self.smooth(cell, -self.last, 0))
        return out

    def _around(self, cell: int) -> dict[str, float]:
        around, parent, last = self.counts.around(cell), self.counts.siblings(cell), self.last
        back, ahead = (self.on(7, around, -last, 0), self.on(7, around, 0, last)) if 7 in self.usable else (NAN, NAN)
        parent_back, parent_ahead = self.mean(self.mixed, parent, -last, 0), self.mean(self.mixed, parent, 0, last)
        return {
            "around_short": self.lately(around, self.short),
            "around_long": self.lately(around, last),
            "around_level": ratio(self.lately(around, last), back),
            "around_trend": ratio(ahead, back),
            "parent_long": self.lately(parent, last),
            "parent_level": ratio(self.lately(parent, last), parent_back),
            "parent_trend": ratio(parent_ahead, parent_back),
        }

    def _city(self, cell: int) -> dict[str, float]:
        counts, start, day, last = self.counts, self.start, self.day, self.last
        week_ago = counts.city(start - 8 * day, start - 7 * day) if counts.all_seen(start - 8 * day, start - 7 * day) else NAN
        back = self.city_mean(-last, 0)
        out: dict[str, float] = {
            "city_short": self.city_lately(self.short),
            "city_long": self.city_lately(last),
            "city_level_short": ratio(self.city_lately(self.short), self.city_mean(-self.short, 0)),
            "city_level_long": ratio(self.city_lately(last), back),
            "city_level_day": ratio(self.city_lately(day), week_ago),
            "share_hour": self.lately([cell], last) / max(self.city_lately(last), 1.0),
        }
        for name in ("first", "last"):
            ahead = self.ahead[name]
            out[f"city_trend_{name}"] = ratio(self.city_mean(0, ahead) / ahead * last, back)
        return out

    def _time(self) -> dict[str, float]:
        clock, start = self.clock, self.start
        return {
            "slot_of_day": clock.slot_of_day(start),
            "weekday": clock.weekday(start),
            "weekend": clock.free(start),
            "holiday": clock.holiday(start),
            "holiday_eve": clock.holiday(start, days_ahead=1),
            "weeks_known": len(self.weekly),
        }


def ratio(value: float, reference: float) -> float:
    """Log of a ratio with half a ride on both sides."""
    return math.log((value + 0.5) / (reference + 0.5))
