"""Small ways to compare, promote and reject wrongly."""

from tests.mutant_lists.mutant import Mutant

SEQUENTIAL, PAIRED, PROMOTION, SHADOW = (f"state/decide/{name}.py" for name in ("sequential", "paired", "promotion", "shadow"))
VALID = "tests/state/decide/test_sequential.py"
PAIRS = "tests/state/decide/test_paired.py"
GATES = "tests/state/decide/test_promotion.py"
ERRORS = "tests/state/decide/test_promotion_errors.py"
SHADOWED = "tests/state/decide/test_shadow.py"

RETRAINING = "state/decide/retraining.py"
DUE = "tests/state/decide/test_retraining.py"

PARAMETERS, TABLE, FLAGS = (f"state/decide/{name}.py" for name in ("parameters", "parameter_table", "flags"))
SET, FLAGGED, SWITCHED = (
    "tests/dataflows/jobs/test_parameters.py",
    "tests/state/decide/test_flags.py",
    "tests/dataflows/stream/test_switched.py",
)

MUTANTS = (
    Mutant(
        "the widest scope decides",
        PARAMETERS,
        '((region, cell), (region, ""), ("", ""))',
        '(("", ""), (region, ""), (region, cell))',
        (SET,),
    ),
    Mutant("one bound only", PARAMETERS, "if not self.low <= number <= self.high:", "if not self.low <= number:", (SET,)),
    Mutant(
        "a switch the other way",
        TABLE,
        "return not find(in_force, PARAMETERS[TRAINED",
        "return find(in_force, PARAMETERS[TRAINED",
        (SWITCHED,),
    ),
    Mutant(
        "publishing the other way", TABLE, "return not find(in_force, PARAMETERS[PUBL", "return find(in_force, PARAMETERS[PUBL", (SWITCHED,)
    ),
    Mutant("all flags shared out alike", FLAGS, 'flag.encode() + b"\\0" + key', 'b"\\0" + key', (FLAGGED,)),
    Mutant("a place on the border counts", FLAGS, "if place < below:", "if place <= below:", (FLAGGED,)),
    Mutant("the last rule is not asked", FLAGS, "for rule in flag.rules:", "for rule in flag.rules[:-1]:", (FLAGGED,)),
    Mutant("trained beyond the budget", RETRAINING, "history.trainings >= rules", "history.trainings > rules", (DUE,)),
    Mutant("a schedule a day late", RETRAINING, "since >= rules.every_days", "since > rules.every_days", (DUE,)),
    Mutant("trained without a rest", RETRAINING, "since < max(rules.cooldown_days, 1)", "since < 0", (DUE,)),
    Mutant("one bad day is enough", RETRAINING, "least = min(value(day)", "least = max(value(day)", (DUE,)),
    Mutant("an unsteady past forgotten", RETRAINING, "max(rules.deviations * reference", "max(0 * reference", (DUE,)),
    Mutant("bias one way only", RETRAINING, "return abs(_log(day.forecast, day.truth))", "return _log(day.forecast, day.truth)", (DUE,)),
    Mutant("settled scores counted again", RETRAINING, "if scored.settled or day >= today:", "if day >= today:", (DUE,)),
    Mutant("an interval for one look", SEQUENTIAL, "reached = (a / error_rate**2)", "reached = (1.0 / error_rate**2)", (VALID,)),
    Mutant("the variance of a population", SEQUENTIAL, "values.std(ddof=1)", "values.std()", (VALID,)),
    Mutant("an effect that is not squared", SEQUENTIAL, "observations * effect_sd**2", "observations * effect_sd", (VALID,)),
    Mutant("losses of the other forecaster", PAIRED, "CHAMPION, CHALLENGER = 0, 1", "CHAMPION, CHALLENGER = 1, 0", (PAIRS, SHADOWED)),
    Mutant("squared error of the median", PAIRED, "_sums(band, (rides - mean) ** 2)", "_sums(band, (rides - median) ** 2)", (PAIRS,)),
    Mutant("absolute error of the mean", PAIRED, "np.abs(rides - median)", "np.abs(rides - mean)", (PAIRS,)),
    Mutant(
        "blocks that have not ended count",
        PAIRED,
        "(self.blocks + 1) * self.block_slots <= until",
        "self.blocks * self.block_slots <= until",
        (PAIRS,),
    ),
    Mutant("half a block is whole", PAIRED, "WHOLE_SHARE = 0.9", "WHOLE_SHARE = 0.5", (PAIRS,)),
    Mutant("one horizon makes a block whole", PAIRED, "block_slots).all(axis=1)", "block_slots).any(axis=1)", (PAIRS,)),
    Mutant("bands of the challenger", PAIRED, "bands_of(pair.champion", "bands_of(pair.challenger", (PAIRS,)),
    Mutant(
        "a PIT that is not randomised",
        PAIRED,
        "*around(truth, mean, dispersion)",
        "*2 * around(truth, mean, dispersion)[1:]",
        (PAIRS,),
    ),
    Mutant("any gain is enough", PROMOTION, "least_gain: float = 0.005", "least_gain: float = 0.0", (GATES,)),
    Mutant(
        "the mean is enough", PROMOTION, "interval.upper < bound, interval.upper", "interval.mean < bound, interval.upper", (GATES, ERRORS)
    ),
    Mutant("days at the bound are certain", PROMOTION, "AT_BOUND = 0.4", "AT_BOUND = 0.0", (ERRORS,)),
    Mutant("large days count in full", PROMOTION, "values = np.clip(differences, -bound, bound)", "values = differences", (ERRORS, GATES)),
    Mutant("what is worse waits", PROMOTION, "if interval.lower > 0.0:", "if interval.lower > 1.0:", (GATES,)),
    Mutant("a trial without an end", PROMOTION, "if blocks >= rules.most_blocks:", "if blocks > rules.most_blocks:", (GATES,)),
    Mutant("others' verdicts are not heard", PROMOTION, "gates = [loss, size, *trial.verdicts]", "gates = [loss, size]", (GATES,)),
    Mutant("the best slice", PROMOTION, "int(np.argmax(change))", "int(np.argmin(change))", (GATES,)),
    Mutant("bias one way", PROMOTION, "abs(value) <= bound, value", "value <= bound, value", (GATES,)),
    Mutant("no limit above", PROMOTION, "low <= challenger <= high", "low <= challenger", (GATES,)),
    Mutant("a shadow that does not learn", SHADOW, "        forecaster.learn(history, slot)\n", "", (SHADOWED,)),
    Mutant("a shadow that learns from undercounts", SHADOW, "observed=observed, whole=whole", "observed=True", (SHADOWED,)),
    Mutant(
        "windows with an outage are scored", SHADOW, "is not None and history.whole(slot - h + 1, slot + 1)", "is not None", (SHADOWED,)
    ),
    Mutant("a shadow without late rides", SHADOW, "if len(late):", "if False:", (SHADOWED,)),
)
