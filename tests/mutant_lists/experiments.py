"""Small ways to assign and judge experiments wrongly."""

from tests.mutant_lists.mutant import Mutant

EXPERIMENTS = "state/decide/experiments.py"
ARMS = "state/forecast/arms.py"
LOSSES = "state/decide/arm_losses.py"
VIEW = "ledger/views/experiments.py"
DRIFT = "state/decide/drift.py"
BAND_DRIFT = "state/decide/band_drift.py"
BAND_DRIFTS = ("tests/state/decide/test_band_drift.py",)
DRIFTS = ("tests/state/decide/test_drift.py",)
TRIED = ("tests/state/decide/test_experiments.py",)
LOST = ("tests/state/decide/test_arm_losses.py",)
FAILED = ("tests/dataflows/stream/test_failed_arms.py",)
SERVED = ("tests/dataflows/jobs/test_experiments.py",)

MUTANTS = (
    Mutant("every slot a block", ARMS, "key ^ (slot // self.block_slots)", "key ^ slot", TRIED),
    Mutant("every cell a cluster", ARMS, "mixed(self.clusters(cells) ^ block)", "mixed(cells ^ block)", TRIED),
    Mutant("failures are nobody's", ARMS, "raise ArmFailed(started) from error", "raise", FAILED),
    Mutant("failures hold an older fold's arms only", ARMS, "version < BLAMED_SINCE", "version >= BLAMED_SINCE", FAILED),
    Mutant("disks are blamed on challengers", ARMS, " or fault_of(error) is Fault.TRANSIENT", "", FAILED),
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
    Mutant(
        "champion's means for the challenger", ARMS, "means[rows] = self._twin.means_of(slot)[rows]", "means[rows] = means[rows]", SERVED
    ),
    Mutant("arms before the start", ARMS, "started.start_slot <= slot < started.until_slot", "slot < started.until_slot + 1", SERVED),
    Mutant(
        "arms of quiet cells",
        ARMS,
        "np.flatnonzero(own & design_of",
        "np.flatnonzero((own | True) & design_of",
        ("tests/state/forecast/test_arms.py",),
    ),
    Mutant("the challenger does not learn", ARMS, "            self._twin.learn(history, slot)", "            pass", SERVED),
    Mutant(
        "a new champion changes nothing",
        VIEW,
        "case ModelPromoted() if record.model != one.champion:",
        "case ModelPromoted() if False:",
        SERVED,
    ),
    Mutant("a second start wins", VIEW, "if free and champions", "if champions", SERVED),
    Mutant("late rides are forgotten", LOSSES, "mine = late.slots == old", "mine = late.slots == -1", LOST),
    Mutant("blocks count at once", LOSSES, "+ self.region.horizons[-1] <= self.next_slot", "<= self.next_slot", LOST),
    Mutant("fallbacks are compared", LOSSES, "own = issued.fallback == OWN", "own = issued.fallback >= 0", LOST),
    Mutant("outages are scored", LOSSES, "all(self._whole.get(of, False)", "all(self._whole.get(of, False) or True", LOST),
    Mutant("falls are no drift", DRIFT, "(rise > threshold) | (fall > threshold)", "rise > threshold", DRIFTS),
    Mutant("bands of one size", BAND_DRIFT, "[0, 1], 2)", "[0, 1], 1)", BAND_DRIFTS),
    Mutant("few rides are judged", BAND_DRIFT, "(of_band[1] >= LEAST) & (of_band[3] >= LEAST)", "of_band[1] >= 0.0", BAND_DRIFTS),
    Mutant("bands err as often as regions", BAND_DRIFT, "THRESHOLD = 28.0", "THRESHOLD = 17.5", BAND_DRIFTS),
    Mutant("windows with outages drift", BAND_DRIFT, "not issue.whole[0] or ", "", BAND_DRIFTS),
    Mutant("hours judged by one mean", DRIFT, "values[:, at] - usual[:, part], 0.0)", "values[:, at] - usual[:, 0], 0.0)", DRIFTS),
    Mutant("settled scores drift too", DRIFT, "if not scored.settled and 0 <= at", "if 0 <= at", DRIFTS),
    Mutant("nothing is allowed", DRIFT, "rise[:, at - 1] + step - ALLOWED", "rise[:, at - 1] + step", DRIFTS),
)
