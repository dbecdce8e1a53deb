"""Small ways to train, serve, score and evaluate wrongly."""

from tests.mutant_lists.mutant import Mutant

TRAINING, FORECAST, REGION = "state/forecast/training.py", "state/forecast/forecast.py", "state/forecast/region.py"
TABLE = "state/models/table.py"
SCORING = "state/forecast/scoring.py"
SAMPLING = "state/forecast/sampling.py"
EVALUATION = "state/forecast/evaluation.py"
TRAINED = "tests/state/forecast/test_training_by_value.py"
SERVED = "tests/state/forecast/test_served_by_value.py"
SCORED = "tests/state/forecast/test_forecast.py"
FOLDED = "tests/state/forecast/test_region.py"
JUDGED = "tests/state/forecast/test_evaluation.py"
SEARCH, SEARCHED = "state/forecast/search.py", "tests/state/forecast/test_search.py"
STUDY, STUDIED = "dataflows/jobs/study.py", "tests/dataflows/jobs/test_study.py"
HOLIDAYS, NAMED = "schemas/calendars/holidays.py", "tests/schemas/calendars/test_holidays.py"

MUTANTS = (
    Mutant(
        "labels reach into a block",
        SEARCH,
        "(rows.slots + region.horizons[-1] < fold.begin_slot) & (",
        "(rows.slots < fold.begin_slot) & (",
        (SEARCHED,),
    ),
    Mutant("blocks overlap", SEARCH, "until_slot - (FOLDS - 1 - i) * block", "until_slot", (SEARCHED,)),
    Mutant("the default is not tried", STUDY, "if number == 0 and not", "if False and not", (STUDIED,)),
    Mutant("a killed trial is in the way", STUDY, "states=(optuna.trial.TrialState.RUNNING,)", "states=()", (STUDIED,)),
    Mutant("a date is not left out", HOLIDAYS, "dates.remove(day)", "pass", (NAMED,)),
    Mutant(
        "labels shifted by one slot", SAMPLING, "= history.window(slot - h + 1, slot + 1", "= history.window(slot - h, slot", (TRAINED,)
    ),
    Mutant(
        "labels of windows with an undercount",
        SAMPLING,
        "piece is not None and history.whole(slot - h + 1, slot + 1)",
        "piece is not None",
        (TRAINED,),
    ),
    Mutant("held out rows trained on", TRAINING, "first, then = known & task.early", "first, then = known", (TRAINED,)),
    Mutant("held out from the rows of training", TRAINING, "rows.slots >= holdout", "rows.slots < holdout", (TRAINED,)),
    Mutant("labels reach into the holdout", TRAINING, "rows.slots + region.horizons[-1] < holdout", "rows.slots < holdout", (TRAINED,)),
    Mutant("two fifths held out", TRAINING, "HOLDOUT_SHARE = 0.2", "HOLDOUT_SHARE = 0.4", (TRAINED,)),
    Mutant("four weeks held out", TRAINING, "MOST_HOLDOUT_DAYS = 7", "MOST_HOLDOUT_DAYS = 28", (TRAINED,)),
    Mutant(
        "trial trees served",
        TRAINING,
        "trees.append(boosted.fit(rows.features[known], truth[known], margin[known]",
        "trees.append(boosted.fit(rows.features[first], truth[first], margin[first]",
        (TRAINED,),
    ),
    Mutant(
        "dispersion of the truth by the means",
        TRAINING,
        "dispersion_of(truth[then], means)",
        "dispersion_of(means, truth[then])",
        (TRAINED,),
    ),
    Mutant("errors of the mean for those of the median", TRAINING, "np.abs(truth - median)", "np.abs(truth - means)", (TRAINED,)),
    Mutant("rows without a warm history", SAMPLING, "MOST_WARM_SHARE = 0.25", "MOST_WARM_SHARE = 0.05", (TRAINED,)),
    Mutant("twice the quiet rows", SAMPLING, "QUIET_SHARE = 0.1", "QUIET_SHARE = 0.2", (TRAINED,)),
    Mutant("late rides after their close in training", SAMPLING, "if len(self.late_slots):", "if False:", (TRAINED,)),
    Mutant("served numbers rounded down", FORECAST, "np.rint(values * MILLI)", "np.floor(values * MILLI)", (SERVED,)),
    Mutant(
        "quiet cells with the dispersion of others",
        TABLE,
        "Quiet(QuietMix(np.array(about.quiet_mix)), about.quiet_dispersion_milli)",
        "Quiet(QuietMix(np.array(about.quiet_mix)), about.dispersion_milli)",
        (SERVED,),
    ),
    Mutant(
        "another dispersion without a model",
        "state/models/baseline.py",
        "\nDISPERSION_MILLI = 150",
        "\nDISPERSION_MILLI = 300",
        (SERVED,),
    ),
    Mutant(
        "lower for upper", FORECAST, "(lower, LOWER_MILLI), (upper, UPPER_MILLI)", "(lower, UPPER_MILLI), (upper, LOWER_MILLI)", (SERVED,)
    ),
    Mutant(
        "the model's mix not used",
        TABLE,
        "QuietMix(np.array(about.quiet_mix))",
        "QuietMix.default(len(about.horizons))",
        (SERVED,),
    ),
    Mutant(
        "truth of a window shifted by one slot",
        FORECAST,
        "truth = history.window(ended - h + 1, ended + 1",
        "truth = history.window(ended - h, ended",
        (SCORED,),
    ),
    Mutant("windows with an outage scored", FORECAST, "and history.whole(ended - h + 1, ended + 1):", "and True:", (SCORED,)),
    Mutant("settled a slot late", FORECAST, "(True, slot - settle_slots)", "(True, slot - settle_slots - 1)", (SCORED,)),
    Mutant(
        "issues dropped before they settle",
        FORECAST,
        "first := slot - settle_slots - self.horizons[-1] + 1",
        "first := slot - settle_slots - self.horizons[-1] + 2",
        (FOLDED, SCORED),
    ),
    Mutant(
        "coverage without the bounds", SCORING, "(columns.lower[:, i] <= truth_milli)", "(columns.lower[:, i] < truth_milli)", (SCORED,)
    ),
    Mutant(
        "baseline's error by the served mean",
        SCORING,
        "base_error = truth_milli - columns.baseline[:, i]",
        "base_error = truth_milli - columns.mean[:, i]",
        (SCORED,),
    ),
    Mutant(
        "learned from settled windows too",
        FORECAST,
        "issued.corrections.keys() if not settled else ():",
        "issued.corrections.keys():",
        (SCORED, FOLDED, "tests/state/forecast/test_fast_forward.py"),
    ),
    Mutant(
        "columns that moved are not looked up",
        "state/forecast/issued.py",
        "if generation != history.generation:",
        "if False:",
        ("tests/state/forecast/test_issued.py",),
    ),
    Mutant("an outage suspected at once", REGION, "\nUNOBSERVED_FROM = 14", "\nUNOBSERVED_FROM = 1", (FOLDED,)),
    Mutant("partial for any excuse", REGION, "\nPARTIAL_FROM = 5", "\nPARTIAL_FROM = 0", (FOLDED,)),
    Mutant("an excused partition expected everything", REGION, "expected / len(closed.cuts)", "expected", (FOLDED,)),
    Mutant("an outage observed", REGION, "observed = status is not SlotStatus.UNOBSERVED", "observed = True", (FOLDED,)),
    Mutant(
        "champions of one measure for all",
        REGION,
        "champions.get(forecaster.measure, NO_CHAMPION), self",
        "next(iter(champions.values()), NO_CHAMPION), self",
        (FOLDED,),
    ),
    Mutant(
        "corrections of the first measure only",
        REGION,
        "history.correct(late.slots, late.cells, late.counts)",
        "self.histories[0].correct(late.slots, late.cells, late.counts)",
        (FOLDED,),
    ),
    Mutant(
        "settled by minutes, not slots",
        REGION,
        "region.settle_lateness_s // (60 * region.slot_min)",
        "region.settle_lateness_s // 60",
        (FOLDED,),
    ),
    Mutant("universe out of the digest", REGION, 'self._universe.astype(">u8").tobytes()', 'b""', (FOLDED,)),
    Mutant("bands per hour", EVALUATION, "(15 / self.region.slot_min)", "(60 / self.region.slot_min)", (JUDGED,)),
    Mutant("issues that end after the test", EVALUATION, "or until > self.test_until:", "or start > self.test_until:", (JUDGED,)),
    Mutant("issues of the training period", EVALUATION, "if start < self.train_until or", "if", (JUDGED,)),
    Mutant("square errors of the median", EVALUATION, "(mean - truth) ** 2, mean)", "(median - truth) ** 2, mean)", (JUDGED,)),
    Mutant("bias without its one", EVALUATION, "/ truth - 1.0)", "/ truth)", (JUDGED,)),
)
