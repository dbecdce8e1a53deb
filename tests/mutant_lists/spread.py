"""Small ways to serve wrong intervals, and to judge them wrongly."""

from tests.mutant_lists.mutant import Mutant

PREDICTIVE, SPREAD, CALIBRATION = "state/models/predictive.py", "state/models/spread.py", "state/forecast/calibration.py"
FORECAST, ISSUED = "state/forecast/forecast.py", "state/forecast/issued.py"
LAWS, LEARNED, JUDGED = (
    "tests/state/models/test_predictive.py",
    "tests/state/models/test_spread.py",
    "tests/state/forecast/test_calibration.py",
)
SERVED = "tests/state/forecast/test_learned_spread.py"

MUTANTS = (
    Mutant("bands begin after their start", PREDICTIVE, 'mean_milli, side="right") - 1', 'mean_milli, side="left") - 1', (LAWS,)),
    Mutant("tables that begin with nothing", PREDICTIVE, "64, 256, 512)", "64, 256, 1024)", (LAWS,)),
    Mutant("quantiles one too low", PREDICTIVE, "enough = negative_binomial(middle,", "enough = negative_binomial(middle + 1,", (LAWS,)),
    Mutant("F of one ride without its step", PREDICTIVE, "out[ones] *= 1.0 +", "out[ones] *= 0.0 +", (LAWS,)),
    Mutant("F(y) for F(y - 1)", PREDICTIVE, "negative_binomial(counts[rows] - 1,", "negative_binomial(counts[rows],", (JUDGED,)),
    Mutant("errors for ever", SPREAD, "self._excess *= self._forget", "self._excess *= 1.0", (LEARNED,)),
    Mutant("Poisson part left in the moments", SPREAD, "errors**2 - means)", "errors**2)", (LEARNED,)),
    Mutant("a burst believed", SPREAD, "errors = np.minimum(truth, most) - means", "errors = truth - means", (LEARNED,)),
    Mutant("levels that run away", SPREAD, "missed = probability - chance_within", "missed = chance_within", (LEARNED,)),
    Mutant("levels of few cells at full speed", SPREAD, "np.minimum(cells / FULL_CELLS, 1.0)", "1.0", (LEARNED,)),
    Mutant("ten times the prior", SPREAD, "PRIOR_SQUARES = 100.0", "PRIOR_SQUARES = 1_000_000.0", (LEARNED,)),
    Mutant("no zero byte after the region", CALIBRATION, 'region.encode() + b"\\0"', "region.encode()", (JUDGED,)),
    Mutant("cells in little-endian", CALIBRATION, 'cells.astype(">u8").tobytes()', 'cells.astype("<u8").tobytes()', (JUDGED,)),
    Mutant("a PIT without its step", CALIBRATION, "below + uniforms * (until - below)", "below", (JUDGED,)),
    Mutant(
        "CRPS of the wrong side",
        CALIBRATION,
        "(np.arange(size) >= counts[rows, None])",
        "(np.arange(size) > counts[rows, None])",
        (JUDGED,),
    ),
    Mutant(
        "noise floor of the mean",
        CALIBRATION,
        "medians = quantiles(means, 0, MEDIAN_MILLI)",
        "medians = np.rint(means).astype(np.int64)",
        (JUDGED,),
    ),
    Mutant("learned again when it settles", FORECAST, "if issued.spread and not settled:", "if issued.spread:", (SERVED,)),
    Mutant("whole intervals counted with bands", "state/forecast/scoring.py", "    if not issued.spread:\n", "    if True:\n", (SERVED,)),
    Mutant("levels not in a snapshot", FORECAST, 'if "spread_levels" in arrays:', "if False:", (SERVED,)),
    Mutant(
        "dispersion left out of the digest", ISSUED, "parts += [columns.dispersion, _levels_of(issue.spread)]", "parts += []", (SERVED,)
    ),
)
