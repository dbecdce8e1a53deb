"""Small ways to assign and judge experiments wrongly."""

from tests.mutant_lists.mutant import Mutant

EXPERIMENTS = "state/decide/experiments.py"
ARMS = "state/forecast/arms.py"
TRIED = ("tests/state/decide/test_experiments.py",)

MUTANTS = (
    Mutant("every slot a block", ARMS, "key ^ (slot // self.block_slots)", "key ^ slot", TRIED),
    Mutant("every cell a cluster", ARMS, "mixed(self.clusters(cells) ^ block)", "mixed(cells ^ block)", TRIED),
    Mutant("half for any share", ARMS, "(self.share_milli << UNIT_BITS)", "(500 << UNIT_BITS)", TRIED),
    Mutant("one assignment for every block", ARMS, "mixed(self.clusters(cells) ^ block)", "mixed(self.clusters(cells))", TRIED),
    Mutant("champion less challenger", EXPERIMENTS, "np.nan, ours - theirs)", "np.nan, theirs - ours)", TRIED),
    Mutant("sums for means", EXPERIMENTS, "/ np.where(empty, 1, served)", "/ 1", TRIED),
    Mutant("empty arms lose nothing", EXPERIMENTS, "(served == 0) | (other == 0)", "(served == 0) & (other == 0)", TRIED),
    Mutant("blocks that compare nothing count", EXPERIMENTS, "known = values[~np.isnan(values)]", "known = np.nan_to_num(values)", TRIED),
    Mutant(
        "better is worse",
        EXPERIMENTS,
        "return Finding.BETTER if self.upper[self.decided] < 0.0",
        "return Finding.WORSE if self.upper[self.decided] < 0.0",
        TRIED,
    ),
)
