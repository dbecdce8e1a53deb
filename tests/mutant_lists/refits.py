"""Small ways to let a refit serve that should not, or for too long."""

from tests.mutant_lists.mutant import Mutant

REFITS, PROBATION, PAIRED = (f"state/decide/{name}.py" for name in ("refits", "probation", "paired"))
LEARNER, OF_JOBS = "dataflows/jobs/learner.py", "dataflows/jobs/refits.py"
GUARDS, STAYS = "tests/state/decide/test_refits.py", "tests/state/decide/test_probation.py"
TOWN = "tests/dataflows/jobs/test_refits.py"

MUTANTS = (
    Mutant("judged on all days", REFITS, "seen = first_blocks(trial, refit_rules.blocks)", "seen = trial", (GUARDS,)),
    Mutant("a day too many", REFITS, "ends[blocks - 1]) if", "ends[blocks]) if", (GUARDS,)),
    Mutant("no room for chance in a slice", REFITS, "max(rules.blocks / blocks, 1.0)", "max(1.0, 1.0)", (GUARDS,)),
    Mutant("rejected at the first failure", REFITS, "if failed and blocks < rules.blocks:", "if False:", (GUARDS,)),
    Mutant(
        "no probation",
        REFITS,
        "outcome is Outcome.PROMOTE and guarded.interval.observations",
        "False and guarded.interval.observations",
        (GUARDS,),
    ),
    Mutant("biased by the day", REFITS, "bias_beyond=refit_rules.bias_beyond", "bias_beyond=0.0", (GUARDS,)),
    Mutant("sums of the same side", PAIRED, "array[:, ::-1] if name in BY_FORECASTER", "array if name in BY_FORECASTER", (STAYS,)),
    Mutant("the champion before is judged", PROBATION, "region: losses.turned() for", "region: losses for", (STAYS,)),
    Mutant("an early bound that does not shrink", PROBATION, "rules.early / np.sqrt(blocks)", "rules.early", (STAYS,)),
    Mutant("probation for ever", PROBATION, "promotions[-1].model != champion", "False", (STAYS,)),
    Mutant("a refit that stays counts for the budget", OF_JOBS, " and not is_confirmation(record)", "", (TOWN,)),
    Mutant("the trial is forgotten", LEARNER, "self._passed[measure] = running", "pass", (TOWN,)),
)
