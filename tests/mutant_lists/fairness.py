"""Small ways to compare classes of cells wrongly."""

from tests.mutant_lists.mutant import Mutant

AREAS, CHANCES = "schemas/configuration/areas.py", "state/models/chances.py"
FAIRNESS, GATE = "state/detect/fairness.py", "state/detect/fairness_gate.py"
SETTLED, OUTCOMES = "ledger/views/settled.py", "state/detect/outcomes.py"
READ_BACK, ASKED = "tests/ledger/views/test_settled.py", "tests/api/test_fairness.py"
PAIRED, BOTH = "state/detect/paired_fairness.py", "tests/state/detect/test_paired_fairness.py"
JUDGING = "dataflows/jobs/judging.py"
LEARNER, LEARNS = "dataflows/jobs/learner.py", "tests/dataflows/jobs/test_learner_fairness.py"
RUN = "tests/ridecast/commands/test_fairness_measured.py"
READ = "tests/schemas/configuration/test_areas.py"
MEASURED, GATED = "tests/state/detect/test_fairness.py", "tests/state/detect/test_fairness_gate.py"

MUTANTS = (
    Mutant("the last area decides", AREAS, "row[held & (row == NO_CLASS)]", "row[held]", (READ,)),
    Mutant("a prefix of another length", AREAS, "5 * (precision - length)", "5 * (precision - length - 1)", (READ,)),
    Mutant("the polygon replaces the cells", AREAS, "found |= np.isin", "found = np.isin", (READ,)),
    Mutant("areas of another region", AREAS, 'if fields["region"] != region.id:', "if False:", (READ,)),
    Mutant("overlap not shared out", CHANCES, "overlap / np.where(width > 0.0, width, 1.0)", "overlap", (MEASURED,)),
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
    Mutant("late rides forgotten", SETTLED, "for table in (*own, *late):", "for table in own:", (READ_BACK,)),
    Mutant(
        "issues before they settle",
        SETTLED,
        "waiting[0].slot + longest + settle <= slot",
        "waiting[0].slot + longest <= slot",
        (READ_BACK,),
    ),
    Mutant(
        "the slot of the issue in its window",
        SETTLED,
        "for step in range(1, ahead[-1] + 1) for",
        "for step in range(ahead[-1] + 1) for",
        (READ_BACK,),
    ),
    Mutant("expired chunks read", SETTLED, "max(first, expired_until(ledger, region.id))", "first", (READ_BACK,)),
    Mutant("outages counted", OUTCOMES, "if issue.whole[i] and", "if", (ASKED,)),
    Mutant("cells without a forecast forgotten", OUTCOMES, "forecast | (issue.truth[:, i] > 0)", "forecast", (RUN,)),
    Mutant("a value for every version", "api/once.py", "kept is None or kept[0] != version", "kept is None", ("tests/api/test_once.py",)),
    Mutant("as many issues as there are", "api/fairness.py", "step=step)", "step=1)", (ASKED,)),
    Mutant("the other end is named", GATE, ">= old[bottom] - new[bottom]", "< old[bottom] - new[bottom]", (GATED,)),
    Mutant("judged after a day", PAIRED, "if len(champion.days) < LEAST_DAYS:", "if False:", (BOTH,)),
    Mutant(
        "the challenger against itself",
        PAIRED,
        "zip(self._sums, (champion, challenger)",
        "zip(self._sums, (challenger, challenger)",
        (BOTH,),
    ),
    Mutant("every horizon at once", PAIRED, "np.arange(h) == i", "np.arange(h) >= i", (BOTH,)),
    Mutant("a wrong areas file is none", JUDGING, ",) if areas_fault else ()", ",) if False else ()", (LEARNS,)),
    Mutant(
        "sums of other areas go on",
        LEARNER,
        "if fairness is not None and not fairness.continues",
        "if False and not fairness.continues",
        (LEARNS,),
    ),
)
