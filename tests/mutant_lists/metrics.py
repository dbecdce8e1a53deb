"""Small ways to judge a metric, or the judgement of a metric, wrongly."""

from tests.mutant_lists.mutant import Mutant

METRIC, SCORE = "state/detect/metric.py", "tests/accuracy/nab_score.py"
JUDGED, SCORED = "tests/state/detect/test_metric.py", "tests/accuracy/test_nab_score.py"

MUTANTS = (
    Mutant("expected from one week", METRIC, "if len(known) < LEAST_WEEKS", "if len(known) < 1", (JUDGED,)),
    Mutant("the upper median", METRIC, "(known[middle] + known[-middle - 1]) / 2.0", "known[middle]", (JUDGED,)),
    Mutant("wild values remembered", METRIC, "usual + min(max(error, -CLIP * scale), CLIP * scale)", "seen", (JUDGED,)),
    Mutant("the level stays", METRIC, "usual = median + self._level", "usual = median", (JUDGED,)),
    Mutant(
        "one scale for the day",
        METRIC,
        "time: int, error: float) -> float:\n",
        "time: int, error: float) -> float:\n        time = 0\n",
        (JUDGED,),
    ),
    Mutant("the scale learns from anything", METRIC, "(min(size, most) - own)", "(size - own)", (JUDGED,)),
    Mutant("the larger of two chances", METRIC, "2.0 * min(single, sustained)", "2.0 * max(single, sustained)", (JUDGED,)),
    Mutant("two looks counted as one", METRIC, "2.0 * min(single, sustained)", "min(single, sustained)", (JUDGED,)),
    Mutant("no rest", METRIC, "step - self._last >= self._rest", "True", (JUDGED,)),
    Mutant("gaps leave the window as it is", METRIC, "            self._shift(nan)\n", "", (JUDGED,)),
    Mutant("gaps keep an old week", METRIC, "self._past[at, week] = nan\n", "pass\n", (JUDGED,)),
    Mutant("a tail that does not forget", METRIC, "self.sums *= self._kept", "self.sums *= 1.0", (JUDGED,)),
    Mutant("a tail that learns from anything", METRIC, "min(above, TAIL_CLIP) if exceeds", "above if exceeds", (JUDGED,)),
    Mutant("a tail without its own index", METRIC, "above * exceedances / logarithms", "above / TAIL_INDEX", (JUDGED,)),
    Mutant("the window keeps its first values", METRIC, "self._window[:-1] = self._window[1:]", "pass", (JUDGED,)),
    Mutant("restored to share memory", METRIC, 'arrays["past"].copy()', 'arrays["past"]', (JUDGED,)),
    Mutant("negative counts taken", METRIC, "(self._kind is Kind.COUNT and value < 0.0)", "False", (JUDGED,)),
    Mutant("the last detection of a window counts", SCORE, "max(best.get(window, -1.0), gain)", "gain", (SCORED,)),
    Mutant("a position from the next row", SCORE, "(last - row + 1)", "(last - row)", (SCORED,)),
    Mutant("false detections cost alike", SCORE, "if before else FAR", "if False else FAR", (SCORED,)),
    Mutant("detections of the probation counted", SCORE, "if row < probation(rows):", "if False:", (SCORED,)),
    Mutant("windows of the probation counted", SCORE, "if last >= probation(rows)]", "if True]", (SCORED,)),
)
