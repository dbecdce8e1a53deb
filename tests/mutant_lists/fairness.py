"""Small ways to compare classes of cells wrongly."""

from tests.mutant_lists.mutant import Mutant

AREAS, CHANCES = "schemas/configuration/areas.py", "state/detect/chances.py"
FAIRNESS, GATE = "state/detect/fairness.py", "state/detect/fairness_gate.py"
READ = "tests/schemas/configuration/test_areas.py"
MEASURED, GATED = "tests/state/detect/test_fairness.py", "tests/state/detect/test_fairness_gate.py"

MUTANTS = (
    Mutant("the last area decides", AREAS, "row[held & (row == NO_CLASS)]", "row[held]", (READ,)),
    Mutant("a prefix of another length", AREAS, "5 * (precision - length)", "5 * (precision - length - 1)", (READ,)),
    Mutant("the polygon replaces the cells", AREAS, "found |= np.isin", "found = np.isin", (READ,)),
    Mutant("areas of another region", AREAS, 'if fields["region"] != region.id:', "if False:", (READ,)),
    Mutant("the truth itself not counted below", CHANCES, "whole[wide] + 1.0", "whole[wide] + 2.0", (MEASURED,)),
    Mutant("overlap not shared out", CHANCES, "overlap / np.where(width > 0, width, 1.0)", "overlap", (MEASURED,)),
    Mutant("bias around one", FAIRNESS, '"mean", "truth", 1.0, 0.05', '"mean", "truth", 0.0, 0.05', (MEASURED,)),
    Mutant("cells without a class counted", FAIRNESS, "known = codes != NO_CLASS", "known = codes != -2", (MEASURED,)),
    Mutant("days drawn one too many", FAIRNESS, "multinomial(days, np", "multinomial(days + 1, np", (MEASURED,)),
    Mutant("few days with many rides compared", FAIRNESS, "(days >= LEAST_DAYS) & ", "", (MEASURED,)),
    Mutant("classes with too little data compared", FAIRNESS, "[group for group in members if enough[i, group]]", "members", (MEASURED,)),
    Mutant("the smallest gap is the worst", FAIRNESS, "return max(comparable", "return min(comparable", (MEASURED,)),
    Mutant("gaps of busy cells compared", FAIRNESS, "if not MEASURE[gap.measure].by_level and", "if", (MEASURED,)),
    Mutant("chance alone fails", GATE, "value > self.bound and low > 0.0", "value > self.bound", (GATED,)),
    Mutant("any widening fails", GATE, "value > self.bound and low > 0.0", "low > 0.0", (GATED,)),
    Mutant("narrowing is widening", GATE, "np.ptp(new) - np.ptp(old)", "np.ptp(old) - np.ptp(new)", (GATED,)),
    Mutant("other truths compared", GATE, "if not np.array_equal(before[..., :2], after[..., :2])", "if False", (GATED,)),
)
