"""Small ways to judge detectors too well or too badly."""

from tests.mutant_lists.mutant import Mutant

TRIALS, JUDGED = "state/detect/trials.py", "tests/state/detect/test_trials.py"

MUTANTS = (
    Mutant("a hit anywhere", TRIALS, "and named and (not cells or bool(set(cells) & set(signal.cells)))", "and named", (JUDGED,)),
    Mutant("an end is a hit", TRIALS, "if signal.firing and first - early", "if first - early", (JUDGED,)),
    Mutant("a hit before the fault", TRIALS, "first - early <= signal.slot < until", "signal.slot < until", (JUDGED,)),
    Mutant("delays from 0", TRIALS, "max(min(hits) - first + 1, 1)", "max(min(hits) - first, 1)", (JUDGED,)),
    Mutant("recall is no floor", TRIALS, "self.recall >= LEAST_RECALL and", "", (JUDGED,)),
    Mutant("the aim is the floor", TRIALS, "max(1.0, self.trial.floor_slots / 2)", "self.trial.floor_slots", (JUDGED,)),
)
