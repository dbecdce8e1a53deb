"""Small ways to track levels and profiles of demand wrongly."""

from tests.mutant_lists.mutant import Mutant

OLDER, WEEKS = "state/demand/older_weeks.py", "tests/state/demand/test_older_weeks.py"
MOMENTS, PROFILES, LEVELS = "state/demand/moments.py", "state/demand/profiles.py", "state/demand/levels.py"
AROUND, TRACKED, HISTORY = "state/demand/around.py", "state/demand/tracked.py", "state/demand/history.py"
REGION, SAMPLING, TRAINING = "state/forecast/region.py", "state/forecast/sampling.py", "state/forecast/training.py"
OTHER, OTHERS = "state/demand/other_measures.py", "tests/state/demand/test_other_features.py"
VALUES = "tests/state/demand/test_levels_by_value.py"
BITS = "tests/state/demand/test_levels.py"
TOTALS = "tests/state/demand/test_moments.py"
NEAR = "tests/state/demand/test_around.py"

MUTANTS = (
    Mutant("late ride in the second total only", MOMENTS, "(after + 2) // 6", "(after + 1) // 6", (TOTALS,)),
    Mutant("newest third total without the late ride", MOMENTS, "(1, last, last * (last + 1) // 2)", "(1, last, 0)", (TOTALS,)),
    Mutant("parabola off by a slot", MOMENTS, "boundaries - width - 2", "boundaries - width - 1", (TOTALS,)),
    Mutant("week of another kind in full", OLDER, "OTHER_KIND = 0.05", "OTHER_KIND = 1.0", (VALUES, WEEKS)),
    Mutant("older weeks do not decay", OLDER, "rides *= np.float32(WEEK)", "rides *= np.float32(1.0)", (WEEKS,)),
    Mutant("outage among older weeks counts as known", OLDER, "        if observed:\n", "        if True:\n", (WEEKS,)),
    Mutant("older weeks a slot late", OLDER, "            pair *= float(k * k)", "            pair *= float(k)", (WEEKS,)),
    Mutant("longer windows begin again", OLDER, "                done = length\n", "", (WEEKS,)),
    Mutant("back windows of older weeks ahead", OLDER, "if high > 0 else (high - 1, -1)", "if high > 0 else (high - 1, 1)", (WEEKS,)),
    Mutant("older weeks of columns that moved", OLDER, "[:, : self.columns][:, columns]", "[:, : len(cells)]", (WEEKS,)),
    Mutant("smoothed rows for good", OLDER, "self._drop_smoothed(slot, place)", "pass", (WEEKS,)),
    Mutant("smoothed rows of far slots for good", OLDER, "(changed - place) % self._slots) < reach", "self._slots) < 0", (WEEKS,)),
    Mutant("older weeks in no digest", OLDER, "        self._hashes[place] = _hash(rides, cells)\n", "", (WEEKS,)),
    Mutant("older weeks in old folds", REGION, "older=version >= FOURTH_SINCE", "older=True", (WEEKS,)),
    Mutant("older weeks for smoothings that forget", PROFILES, " if self.week >= WEEK else 0.0", "", (WEEKS,)),
    Mutant("older weeks as near as the first", PROFILES, "self.week ** (NEWEST - 1)", "self.week ** 0", (WEEKS,)),
    Mutant("a holiday takes older weeks in full", OLDER, "        out *= self.share(start)\n", "", (WEEKS,)),
    Mutant("outages left unseen", HISTORY, "left, observed=self.complete(leaving, leaving + 1))", "left, observed=True)", (WEEKS,)),
    Mutant("yesterday of another kind in full", PROFILES, "if self.same_kind else OTHER_DAY", "", (VALUES,)),
    Mutant("a stronger prior", PROFILES, "weight = PRIOR_SLOTS\n", "weight = 2 * PRIOR_SLOTS\n", (VALUES,)),
    Mutant("profile looks ahead", PROFILES, "if day.slot + high <= start and ", "if ", (BITS, VALUES)),
    Mutant("days with an outage under the parabola", PROFILES, "history.complete(day.slot + low", "history.complete(day.slot", (VALUES,)),
    Mutant(
        "parent cells in the shape of no day",
        PROFILES,
        "self.shape[:windows, None] * rate",
        "rate + 0 * self.shape[:windows, None]",
        (VALUES,),
    ),
    Mutant(
        "levels do not decay in an outage",
        LEVELS,
        "        for array in (self.own,",
        "        for array in () if not observed else (self.own,",
        (BITS,),
    ),
    Mutant(
        "outage counted into levels",
        LEVELS,
        "        if not observed:\n            return\n        profiles",
        "        profiles",
        (BITS, VALUES),
    ),
    Mutant("late ride with the decay of the slot after", LEVELS, "back = next_slot - 1 - slot", "back = next_slot - slot", (VALUES,)),
    Mutant("parts of the day decay with every slot", LEVELS, "if local % self.part_slots == 0:", "if True:", (VALUES,)),
    Mutant("all cells of a parent lost with one", LEVELS, "self.parent[:, :, parents]\n", "self.parent[:, :, : len(parents)]\n", (BITS,)),
    Mutant("only the nearest cells around", AROUND, "REACH = 2.0", "REACH = 1.0", (NEAR, VALUES)),
    Mutant("kernel twice as narrow", AROUND, "np.exp(-0.5 *", "np.exp(-2.0 *", (NEAR, VALUES)),
    Mutant("cells where others were", AROUND, "if not np.array_equal(cells, self._cells):", "if len(cells) != len(self._cells):", (NEAR,)),
    Mutant("snapshot without levels", HISTORY, "self._levels.from_arrays(levels, cells)", "pass", (BITS,)),
    Mutant(
        "levels begin empty at an upgrade",
        HISTORY,
        "        if self.next_slot < 0:\n            return\n        slots, columns, counts = self._sparse",
        "        return\n        slots, columns, counts = self._sparse",
        (BITS,),
    ),
    Mutant("levels in old folds", REGION, "history.untrack()", "history.track()", ("tests/state/forecast/test_region.py",)),
    Mutant("levels in no digest", REGION, " + history.levels_digest()", "", ("tests/state/forecast/test_region.py",)),
    Mutant("other measures out of sight", REGION, "        join_measures(dict(", "        (lambda _: None)(dict(", (OTHERS,)),
    Mutant("training without other measures", SAMPLING, "for name, other in known.beside.items():", "for name, other in ():", (OTHERS,)),
    Mutant("cells beside in the order of the other measure", OTHER, "history.columns_of(cells))", "np.arange(len(cells)))", (OTHERS,)),
    Mutant("one measure of a group", OTHER, "if measure_named(name).says is says]", "if measure_named(name).says is says][:1]", (OTHERS,)),
    Mutant("columns without data are trained on", TRAINING, "if not np.isnan(features[:, column]).all())", ")", (OTHERS,)),
    Mutant(
        "a shadow without other measures",
        "state/decide/shadow.py",
        "        join_measures(dict(",
        "        (lambda _: None)(dict(",
        ("tests/state/decide/test_shadow.py",),
    ),
)
