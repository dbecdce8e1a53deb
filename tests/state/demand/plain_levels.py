"""Profiles, levels and the features made of them for one cell, from their definitions: loops over a dictionary of counts."""

import math
from itertools import accumulate

from tests.state.demand.plain_counts import PlainClock, PlainCounts, column_and_row
from tests.state.demand.plain_features import NAN

HALF_LIVES_MIN = (7.5, 20, 60, 180, 720, 2880, 10080)
NEAR_KM = {"near0.8": 0.8, "near2": 2.0}
VARIANTS = {
    "variant_15_0.9_0.1": (15, 0.9, 0.1),
    "variant_60_0.9_0.5": (60, 0.9, 0.5),
    "variant_60_0.6_0.25": (60, 0.6, 0.25),
    "variant_60_1_0.02": (60, 1.0, 0.02),
    "variant_120_0.9_0.3": (120, 0.9, 0.3),
    "variant_60_0.3_2": (60, 0.3, 2.0),
}
OWN, PARENT, CITY = (40, 0.9, 0.25), (20, 0.9, 0.25), (10, 0.9, 0.15)  # minutes, weight of a week, weight of a day
Key = tuple[str, int]  # what is summed, and the cell that it is for
Span = tuple[int, int]


class PlainLevels:
    """Profiles and levels of a city whose counts came in time."""

    def __init__(self, counts: PlainCounts, clock: PlainClock, prior_slots: float, *, older: bool = False) -> None:
        self.counts, self.clock, self.prior_slots, self.older = counts, clock, prior_slots, older
        self.slot_min, self.day = counts.region.slot_min, counts.day
        self._before: dict[int, list[int]] = {}  # cell -> its rides before each slot
        self._groups: dict[Key, list[int]] = {}
        self._days: dict[int, list[tuple[int, int, bool]]] = {}
        self._found: dict[object, float] = {}  # profiles already worked out
        self._by_place: dict[int, list[int]] = {}  # slot of the week -> its slots

    def slots(self, minutes: int) -> int:
        """How many slots that is, at least one."""
        return max(1, minutes // self.slot_min)

    def group(self, key: Key) -> list[int]:
        """The cells whose rides are summed."""
        kind, cell = key
        if key not in self._groups:
            self._groups[key] = {"own": [cell], "parent": self.counts.siblings(cell), "city": self.counts.cells()}[kind]
        return self._groups[key]

    def earlier(self, start: int, reach_min: int, low: int, high: int, week: float, day: float) -> list[tuple[int, float]]:
        """Slots at the same local time on days whose slots were all observed, and their weights."""
        width = min(reach_min // self.slot_min, 24) + 1
        if start not in self._days:
            slots = {days: self.clock.days_before(start, days) for days in (1, 2, 3, 4, 5, 6, 7, 14, 21, 28)}
            known = [(days, slot) for days, slot in slots.items() if slot >= self.counts.first]
            self._days[start] = [(days, slot, self.clock.free(slot) == self.clock.free(start)) for days, slot in known]
        found = []
        for days, slot, alike in self._days[start]:
            if days % 7 == 0:
                weight = week ** (days // 7 - 1) * (1.0 if alike else 0.05)
            else:
                weight = day * 0.9 ** (days - 1) if alike else 0.004
            # Three rows below the parabola are read as well.
            if slot + high + width - 1 <= start and self.counts.all_seen(slot + low - width - 2, slot + high + width - 1):
                found.append((slot, weight))
        return found

    def month_rate(self, cells: list[int], start: int) -> float:
        """Rides per observed slot over 28 days."""
        month = start - 28 * self.day
        return sum(self.total(cell, month, start) for cell in cells) / max(self.counts.seen(month, start), 1)

    def total(self, cell: int, low: int, high: int) -> int:
        """Rides of a cell in the known slots of [low, high), by a list of what came before each."""
        counts = self.counts
        if cell not in self._before:
            each = [counts.rides.get((slot, cell), 0) for slot in range(counts.first, counts.next)]
            self._before[cell] = [0, *accumulate(each)]
        before = self._before[cell]
        known = counts.known(low, high)
        return before[known.stop - counts.first] - before[known.start - counts.first] if known else 0

    def profile(self, key: Key, start: int, low: int, high: int, smoothing: tuple[int, float, float], span: Span) -> float:
        """Rides per slot that the slots [start + low, start + high) expect.

        Days count that were observed over the whole span.
        """
        known = (key, start, low, high, smoothing, span)
        if known not in self._found:
            self._found[known] = self._profile(*known)
        return self._found[known]

    def _profile(self, key: Key, start: int, low: int, high: int, smoothing: tuple[int, float, float], span: Span) -> float:
        reach_min, week, day = smoothing
        width = min(reach_min // self.slot_min, 24) + 1
        kernel = {k: 1 - (k / width) ** 2 for k in range(1 - width, width)}
        city_rate = max(self.month_rate(self.counts.cells(), start), 1e-9)
        if key[0] == "city":
            expected = city_rate
        else:
            shape = max(self.profile(("city", 0), start, low, high, CITY, span), 1e-9) / city_rate
            expected = self.month_rate(self.group(key), start) * shape
        rides, weight = self.prior_slots * expected, self.prior_slots
        for slot, share in self.earlier(start, reach_min, *span, week, day):
            seen = sum(part * self._rides(key, slot + at + k, slot + at + k + 1) for at in range(low, high) for k, part in kernel.items())
            rides += share * seen / (high - low)
            weight += share * sum(kernel.values())
        if self.older and week >= 0.9:
            for at in range(low, high):
                for k, part in kernel.items():
                    for slot, share in self.left(start, at + k):
                        share *= week**4 * part / (high - low)
                        rides += share * sum(self.counts.rides.get((slot, cell), 0) for cell in self.group(key))
                        weight += share
        return rides / weight

    def left(self, start: int, ahead: int) -> list[tuple[int, float]]:
        """Observed slots of one slot of the week that have left the counts, and their weights: the newest has 1.0.

        Args:
            start: What is profiled; it is the next slot of the counts.
            ahead: How many slots after it, on the clock.
        """
        week = 7 * self.day
        if not self._by_place:
            for slot in range(self.counts.first, self.counts.next):
                self._by_place.setdefault(self.place(slot), []).append(slot)
        slots = [slot for slot in self._by_place.get((self.place(start) + ahead) % week, []) if slot < self.counts.next - 29 * self.day]
        found = []
        for i, slot in enumerate(reversed(slots)):
            if slot in self.counts.observed:
                found.append((slot, 0.9**i * self.usual(slot) * self.usual(start)))
        return found

    def place(self, slot: int) -> int:
        """Slot of the week by the clock."""
        return self.clock.weekday(slot) * self.day + self.clock.slot_of_day(slot)

    def usual(self, slot: int) -> float:
        """Whether the day is free as its weekday is."""
        return 1.0 if self.clock.free(slot) == (self.clock.weekday(slot) >= 5) else 0.05

    def _rides(self, key: Key, low: int, high: int) -> int:
        return sum(self.total(cell, low, high) for cell in self.group(key))

    def decayed(self, key: Key, until: int) -> dict[float, tuple[float, float]]:
        """By half-life: decayed rides and decayed profile before a slot."""
        smoothing = {"own": OWN, "parent": PARENT, "city": CITY}[key[0]]
        half_lives = {minutes: max(minutes / self.slot_min, 0.5) for minutes in HALF_LIVES_MIN}
        out = dict.fromkeys(HALF_LIVES_MIN, (0.0, 0.0))
        for slot in range(self.counts.first, until):
            observed = slot in self.counts.observed
            rides = self._rides(key, slot, slot + 1) if observed else 0
            profile = self.profile(key, slot, 0, 1, smoothing, (0, 1)) if observed else 0.0
            for minutes, half_life in half_lives.items():
                keep = 0.5 ** (1 / half_life)
                was = out[minutes]
                out[minutes] = was[0] * keep + rides, was[1] * keep + profile
        return out

    def near(self, cell: int, km: float) -> dict[int, float]:
        """Weights of the other cells around a cell."""
        bits = self.counts.region.cell_bits
        lats = [lat for lat, _ in self.counts.region.polygon]
        wide = 111.2 * math.cos(math.radians((min(lats) + max(lats)) / 2)) * 360 / 2 ** ((bits + 1) // 2)
        high = 111.2 * 180 / 2 ** (bits // 2)
        x, y = column_and_row(cell, bits)
        out = {}
        for other in self.counts.cells():
            i, j = column_and_row(other, bits)
            away = math.hypot((i - x) * wide, (j - y) * high)
            if 0 < away <= 2 * km:
                out[other] = math.exp(-0.5 * (away / km) ** 2)
        return out


class PlainTracked:
    """The second table's own features after a closed slot, without those of the first."""

    def __init__(self, levels: PlainLevels, at: int) -> None:
        self.levels, self.start, self.counts = levels, at + 1, levels.counts
        horizons = [minutes // levels.slot_min for minutes in self.counts.region.horizons_min]
        self.ahead = {"first": horizons[0], "middle": horizons[len(horizons) // 2], "last": horizons[-1]}
        self.span = (-levels.slots(60), self.ahead["last"])
        self._decayed = {cell: levels.decayed(("own", cell), self.start) for cell in self.counts.cells()}

    def rate(self, source: str, cell: int, low: int, high: int) -> float:
        """Profile of a source around the start, rides per slot."""
        if source in NEAR_KM:
            return sum(weight * self.rate("own", other, low, high) for other, weight in self.levels.near(cell, NEAR_KM[source]).items())
        smoothing = {"own": OWN, "parent": PARENT, "city": CITY}[source]
        return self.levels.profile((source, cell), self.start, low, high, smoothing, self.span)

    def of(self, cell: int) -> dict[str, float]:
        """Every feature of a cell by name."""
        out = self._levels(cell)
        slots = self.levels.slots
        for name, ahead in self.ahead.items():
            own = self.rate("own", cell, 0, ahead)
            out[f"log_profile_{name}"] = math.log(max(own, 1e-9) * ahead)
            out[f"log_city_{name}"] = math.log(self.rate("city", cell, 0, ahead))
            for source, minutes in (("own", 15), ("own", 60), ("city", 15), ("city", 60), ("near0.8", 30), ("near2", 30), ("parent", 30)):
                now, before = self.rate(source, cell, 0, ahead), self.rate(source, cell, -slots(minutes), 0)
                out[f"trend_{source}_{minutes}_{name}"] = change(now, before)
            out[f"wide_{name}"] = change(self.levels.profile(("own", cell), self.start, 0, ahead, (75, 0.9, 0.25), self.span), own)
            for variant, smoothing in VARIANTS.items():
                out[f"{variant}_{name}"] = change(self.levels.profile(("own", cell), self.start, 0, ahead, smoothing, self.span), own)
        return out | self._recent(cell) | self._time(cell)

    def _levels(self, cell: int) -> dict[str, float]:
        found = {"own": self._decayed[cell]}
        for source, km in NEAR_KM.items():
            weights = self.levels.near(cell, km)
            found[source] = {
                minutes: (
                    sum(weight * self._decayed[other][minutes][0] for other, weight in weights.items()),
                    sum(weight * self._decayed[other][minutes][1] for other, weight in weights.items()),
                )
                for minutes in HALF_LIVES_MIN
            }
        found["parent"], found["city"] = (self.levels.decayed((source, cell), self.start) for source in ("parent", "city"))
        out = {
            f"level_{source}_{minutes:g}": math.log((rides + 1) / (profile + 1))
            for source, levels in found.items()
            for minutes, (rides, profile) in levels.items()
        }
        for one, other in (("7.5", "20"), ("7.5", "60"), ("20", "180"), ("60", "720")):
            out[f"level_{one}_less_{other}"] = out[f"level_own_{one}"] - out[f"level_own_{other}"]
        return out

    def _recent(self, cell: int) -> dict[str, float]:
        half_hour = self.levels.slots(30)
        weights = {cell: 1.0} | self.levels.near(cell, 0.8)
        profile = sum(weight * self.rate("own", other, -half_hour, 0) for other, weight in weights.items())
        out = {}
        for i in range(1, 7):
            slot = self.start - i
            rides = sum(weight * self.counts.total([other], slot, slot + 1) for other, weight in weights.items())
            out[f"recent_{i}"] = math.log((rides + 0.5) / (profile + 0.5)) if slot in self.counts.observed else NAN
        return out

    def _time(self, cell: int) -> dict[str, float]:
        """Parts of the day decay when they begin."""
        clock, part_slots = self.levels.clock, self.levels.slots(30)
        parts = -(-self.levels.day // part_slots)
        rides, profile = [0.0] * parts, [0.0] * parts
        for slot in range(self.counts.first, self.start):
            of_day = clock.slot_of_day(slot)
            part = of_day // part_slots
            if of_day % part_slots == 0:
                rides[part] *= 0.85
                profile[part] *= 0.85
            if slot in self.counts.observed:
                rides[part] += self.counts.total([cell], slot, slot + 1)
                profile[part] += self.levels.profile(("own", cell), slot, 0, 1, OWN, (0, 1))
        here = clock.slot_of_day(self.start) // part_slots
        around = [(here + step) % parts for step in (-1, 0, 1)]
        total = math.log((sum(rides[part] for part in around) + 1) / (sum(profile[part] for part in around) + 1))
        return {"time_of_day": total, "day_after_holiday": clock.holiday(self.start, days_ahead=-1)}


def change(value: float, reference: float) -> float:
    """Log of the ratio of two rates, with a millionth of a ride on both sides."""
    return math.log((value + 1e-6) / (reference + 1e-6))
