"""Small ways to explain a forecast wrongly: terms, their rides, the row of a cell, and which features are kept."""

from tests.mutant_lists.mutant import Mutant

REASONS, ROWS = "state/models/reasons.py", "state/forecast/explanation.py"
GROUPS, KEPT = "state/demand/groups.py", "dataflows/stream/kept_features.py"
TREES, LINEAR, CHAIN = "state/models/boosted.py", "state/models/glm.py", "state/models/chain.py"
TERMS = "tests/state/models/test_reasons.py"
RECORDED = "tests/dataflows/audit/test_explain.py"

MUTANTS = (
    Mutant("rides by the arithmetic mean", REASONS, "return (a - b) / log", "return (a + b) / 2", (TERMS,)),
    Mutant("the mean of equal numbers is one of them", REASONS, "return math.sqrt(a * b)", "return max(a, b)", (TERMS,)),
    Mutant("rounding called a correction", REASONS, "if abs(mean - served) <= HALF_MILLI else", "if mean == served else", (TERMS,)),
    Mutant("corrections left out", REASONS, "last = mean if", "last = mean if True or", (TERMS,)),
    Mutant("rounding left out", REASONS, "left * share + served - last", "left * share", (TERMS,)),
    Mutant("limits left out", REASONS, "left * share + served - last", "served - last", (TERMS,)),
    Mutant("profile not compared with the base", REASONS, "profile - log_base, MODEL", "profile, MODEL", (TERMS,)),
    Mutant("base of one hour for every horizon", REASONS, "(horizon_min / 60)", "1.0", (TERMS,)),
    Mutant("a base of zero", REASONS, "max(base, LEAST_RIDES), served, how)", "max(base, 5e-324), served, how)", (TERMS,)),
    Mutant("terms of another number", REASONS, "if abs(left) > CLOSE and not", "if False and not", (TERMS,)),
    Mutant("smallest term first", REASONS, "key=lambda term: -abs(term.rides)", "key=lambda term: abs(term.rides)", (TERMS,)),
    Mutant("another table's matrix", REASONS, "if features.shape[1] != len(model.table):", "if False:", (TERMS,)),
    Mutant("the profile explained by the trees", TREES, "base_margin=np.zeros(n,", "base_margin=np.ones(n,", (TERMS,)),
    Mutant("inputs of the linear model not weighed", LINEAR, "inputs * np.array(self.coefficients)[:, None]", "inputs", (TERMS,)),
    Mutant(
        "trees in the place of the linear model",
        CHAIN,
        "added[:, list(link.columns)] += share[:, None] * of_trees",
        "added[:, list(link.columns)] = share[:, None] * of_trees",
        (TERMS,),
    ),
    Mutant("intercept forgotten", CHAIN, "link.glm.intercept + share * average\n", "share * average\n", (TERMS,)),
    Mutant("shortest start of a name decides", GROUPS, "STARTS[max(starts, key=len)]", "STARTS[min(starts, key=len)]", (TERMS,)),
    Mutant(
        "the row before the cell's",
        ROWS,
        "place = int(np.searchsorted(rows, row))",
        "place = int(np.searchsorted(rows, row)) - 1",
        (RECORDED,),
    ),
    Mutant("a matrix of another issue", ROWS, "if len(rows) != len(matrix):", "if False:", (TERMS,)),
    Mutant("one slot more is kept", KEPT, "len(self._closes) > self._slots", "len(self._closes) > self._slots + 1", (RECORDED,)),
    Mutant("a restart forgets what is kept", KEPT, "next_slot) if slots else ()", "next_slot) if False else ()", (RECORDED,)),
)
