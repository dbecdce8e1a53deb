"""Small ways to remember demand wrongly: history, calendar, seasons, features."""

from tests.mutant_lists.mutant import Mutant

FEATURES, HISTORY, RING = "state/demand/features.py", "state/demand/history.py", "state/demand/ring.py"
WINDOWS = "state/demand/windows.py"
CALENDAR, SEASONS = "state/demand/calendar.py", "state/demand/seasons.py"
VALUES = "tests/state/demand/test_features_by_value.py"
KEPT = "tests/state/demand/test_history.py"
CLOCK = "tests/state/demand/test_calendar_by_value.py"
BASE = "tests/state/demand/test_seasons_by_value.py"

MUTANTS = (
    Mutant("a whole ride on both sides of a ratio", FEATURES, "SMALL = 0.5", "SMALL = 1.0", (VALUES,)),
    Mutant(
        "days of a kind weigh double",
        WINDOWS,
        "OTHER_DAY = 0.25",
        "OTHER_DAY = 0.5",
        (VALUES,),
    ),
    Mutant(
        "half the prior",
        WINDOWS,
        "PRIOR_RIDES = 2.0",
        "PRIOR_RIDES = 1.0",
        (VALUES,),
    ),
    Mutant(
        "smooth profile twice as wide",
        WINDOWS,
        "PAD_MIN = 15",
        "PAD_MIN = 30",
        (VALUES,),
    ),
    Mutant(
        "second horizon for the middle one",
        WINDOWS,
        "horizons[len(horizons) // 2]",
        "horizons[1]",
        (VALUES,),
    ),
    Mutant(
        "windows begin a slot early",
        WINDOWS,
        "start = slot + 1",
        "start = slot",
        (VALUES,),
    ),
    Mutant("ratios upside down", FEATURES, "(value + SMALL) / (reference + SMALL)", "(reference + SMALL) / (value + SMALL)", (VALUES,)),
    Mutant(
        "same weekday for the same kind of day",
        WINDOWS,
        "calendar.local(day).weekend == self.local.weekend",
        "calendar.local(day).weekday == self.local.weekday",
        (VALUES,),
    ),
    Mutant(
        "an outage is zero demand",
        WINDOWS,
        "return values if complete else np.full_like(values, np.nan)",
        "return values",
        (VALUES,),
    ),
    Mutant(
        "rates over slots that were not observed",
        WINDOWS,
        "return max(self.history.observed_slots(self.start - slots, self.start), 1)",
        "return slots",
        (VALUES,),
    ),
    Mutant(
        "region's day compared with two weeks before",
        FEATURES,
        "w.city(8 * w.day, 7 * w.day)",
        "w.city(7 * w.day, 6 * w.day)",
        (VALUES,),
    ),
    Mutant(
        "a universe of 28 days and a slot",
        HISTORY,
        "self.last_ride_slot > slot - UNIVERSE_DAYS",
        "self.last_ride_slot >= slot - UNIVERSE_DAYS",
        (KEPT,),
    ),
    Mutant("hash keeps what left after 29 days", HISTORY, "self._mixed -= count_hash(", "count_hash(", (KEPT,)),
    Mutant("late ride in the region a slot early", HISTORY, "self._city[np.arange(slot + 1,", "self._city[np.arange(slot,", (VALUES,)),
    Mutant(
        "late ride not in the parent", HISTORY, "self._parent_counts.add(slot, self.next_slot, above, added_above)", "pass", (VALUES, KEPT)
    ),
    Mutant("late ride makes the last one older", HISTORY, "np.maximum(self._last[late], slot)", "slot", (VALUES, KEPT)),
    Mutant("late ride of a forgotten slot", HISTORY, "known = slots >= self.oldest_slot", "known = slots >= self.first_slot", (KEPT,)),
    Mutant("a cell is its own neighbour", HISTORY, " - {cell})", ")", (VALUES, KEPT)),
    Mutant(
        "cells forgotten with rides that are known",
        HISTORY,
        ">= self.next_slot - self.ring_slots\n",
        ">= self.next_slot - 7 * self.day_slots\n",
        (KEPT,),
    ),
    Mutant(
        "an undercount is counted whole",
        HISTORY,
        "int(observed if whole is None else whole)",
        "int(observed)",
        (KEPT, "tests/state/forecast/test_training_by_value.py"),
    ),
    Mutant(
        "columns keep their generation when they move",
        HISTORY,
        "self.generation += 1",
        "pass",
        (KEPT, "tests/state/forecast/test_issued.py"),
    ),
    Mutant("history of four weeks", HISTORY, "HISTORY_DAYS = 29", "HISTORY_DAYS = 28", (VALUES, KEPT)),
    Mutant(
        "late ride in its boundary too",
        RING,
        "np.arange(from_slot + 1, until_slot + 1)",
        "np.arange(from_slot, until_slot + 1)",
        ("tests/state/demand/test_ring.py",),
    ),
    Mutant(
        "one of two rides in a column lost",
        RING,
        "np.add.at(new, columns, counts.astype(np.int32))",
        "new[columns] += counts.astype(np.int32)",
        ("tests/state/demand/test_ring.py", VALUES),
    ),
    Mutant("a holiday is a working day", CALENDAR, "self.weekday >= 5 or self.holiday", "self.weekday >= 5", (CLOCK,)),
    Mutant("eve after the holiday", CALENDAR, "day + timedelta(days=1) in", "day - timedelta(days=1) in", (CLOCK,)),
    Mutant("seasonal lag ignores the clock on the wall", CALENDAR, "if here == there:", "if True:", (CLOCK,)),
    Mutant("skipped hour taken at another offset", CALENDAR, "(here - self._offset_min(moved))", "(here - there)", (CLOCK,)),
    Mutant(
        "day begins in the slot before midnight",
        CALENDAR,
        "return -(-minutes // self.slot_min)",
        "return minutes // self.slot_min",
        (CLOCK,),
    ),
    Mutant(
        "offset of the slot of a year ago", CALENDAR, "minutes=slot * self.slot_min)", "minutes=slot * self.slot_min - 525600)", (CLOCK,)
    ),
    Mutant("recent weeks weigh less", SEASONS, "(earlier, RECENCY**week)", "(earlier, RECENCY**-week)", (BASE,)),
    Mutant("baseline of three weeks", SEASONS, "WEEKS = (1, 2, 3, 4)", "WEEKS = (1, 2, 3)", (BASE,)),
    Mutant("horizons that were not observed whole", SEASONS, "if history.complete(earlier, earlier + h):", "if True:", (BASE,)),
    Mutant("mean of a slot for every horizon", SEASONS, "mean * horizons[i], 1.0", "mean, 1.0", (BASE,)),
    Mutant("expected rides of all weeks together", SEASONS, "return total / weights if weights", "return total if weights", (BASE,)),
)
