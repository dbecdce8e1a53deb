"""Small ways to follow demand wrongly: surges around a cell, mixtures by recent loss, and what serves without a model."""

from tests.mutant_lists.mutant import Mutant

SURGES, LOCAL = "state/models/surges.py", "state/models/local.py"
ENSEMBLE, CURRENT = "state/models/ensemble.py", "state/models/current.py"
FOUND, STEPS = "tests/state/models/test_surges.py", "tests/state/models/test_local.py"
MIXED, SERVED = "tests/state/models/test_ensemble.py", "tests/state/models/test_current.py"

MUTANTS = (
    Mutant("surges that do not end", SURGES, "+ changed * self._end)", "+ changed * 0.0)", (FOUND,)),
    Mutant("no surge in a surge", SURGES, "(before + changed) * BEGIN", "before * BEGIN", (FOUND,)),
    Mutant("a factor with a sixth of its prior", SURGES, "factor = (FACTOR_SHAPE +", "factor = (1.0 +", (FOUND,)),
    Mutant(
        "own rides of a cell ignored", SURGES, "own = around * (CELL_RIDES + rides)", "own = around * (CELL_RIDES + 0.0 * rides)", (FOUND,)
    ),
    Mutant("runs that keep their place", SURGES, "out[1:] = sums[:-1] + newest", "out[1:] = sums[1:] + newest", (FOUND,)),
    Mutant("new neighbourhoods in a surge", SURGES, "self._chance[0, places < 0] = 1.0", "self._chance[1, places < 0] = 1.0", (FOUND,)),
    Mutant("surges found and not followed", LOCAL, "changed = 1.0 - self._surges.normal", "changed = 0.0 * self._surges.normal", (STEPS,)),
    Mutant("an outage taken for a collapse", LOCAL, "if followed and history.whole(slot, slot + 1):", "if followed:", (STEPS,)),
    Mutant("slots not seen in a row", LOCAL, "followed = slot == self._slot + 1", "followed = self._slot > 0", (STEPS,)),
    Mutant("steps never doubted", LOCAL, "(gain + prior) / (size + prior), 0.0)", "1.0, 0.0)", (STEPS,)),
    Mutant("sizes of steps not counted", LOCAL, "np.bincount(kinds, moved * moved, 4)", "0.0", (STEPS,)),
    Mutant("corners of a neighbourhood", LOCAL, "& (apart <= REACH_KM)", "& (apart <= 2.0 * REACH_KM)", (STEPS,)),
    Mutant("losses rewarded", ENSEMBLE, "np.exp(-RATE * (loss", "np.exp(RATE * (loss", (MIXED,)),
    Mutant("no way back for a member", ENSEMBLE, "(1.0 - share) * after + share * np.array(PRIOR)", "after", (MIXED,)),
    Mutant("absurd members at full loss", ENSEMBLE, "squares.max(axis=1, initial=0.0) / MOST_LOSS)", "0.0)", (MIXED,)),
    Mutant("weights that do not sum to one", ENSEMBLE, " + (MILLI - milli.sum(axis=2))[:, :, None]", "", (MIXED,)),
    Mutant("a mixture without the profile", ENSEMBLE, "for member in range(len(MEMBERS)):", "for member in range(PROFILE):", (MIXED,)),
    Mutant(
        "an outage carried forward",
        CURRENT,
        "young_part(_observed(view) / view.history.day_slots) if _is_current(view) else 0.0",
        "young_part(_observed(view) / view.history.day_slots)",
        (SERVED,),
    ),
    Mutant("a cell's own level ignored", CURRENT, "around * cell *", "around *", (SERVED,)),
    Mutant("nothing corrected without a model", CURRENT, "corrected = True", "corrected = False", (SERVED,)),
    Mutant("a first hour without errors corrected", CURRENT, "_observed(view) >= first)", "True)", (SERVED,)),
)
