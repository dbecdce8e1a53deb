"""The score of the Numenta Anomaly Benchmark, on the example of its paper and on scores that it publishes."""

import pytest
from hypothesis import given, strategies as st

from tests.accuracy.nab_score import Window, probation, score, worth

WINDOWS: list[Window] = [(300, 320), (700, 800)]
ROWS = 1000


def test_the_example_of_the_paper() -> None:
    """A false detection before a window, one found early, one a bit and one far after it: 0.6909 in the paper, for a first row."""
    found = score([200, 300, 310, 329, 400], [(300, 320)], ROWS)
    assert 0.6909 == pytest.approx(found.raw, abs=2e-4)
    assert (1, 3) == (found.found, found.false)
    assert -0.8093 == pytest.approx(worth(9 / 20), abs=5e-5)


def at(first: int, row: int, length: int, *more: int) -> float:
    """The raw score of a detection in a window of some length, and of false ones before it."""
    return score([*more, first + row], [(first, first + length - 1)], 4032).raw


def test_published_scores_are_those_of_whole_rows() -> None:
    """Scores that NAB publishes for files with one window are ours for some row of it, to the published digits."""
    published = {
        "contextOSE, TravelTime_451": (0.86142179597, 217, 108, ()),
        "relativeEntropy, TravelTime_451, and one false": (0.75142179597, 217, 108, (700,)),
        "numenta, art_daily_jumpsup": (0.86067182427, 403, 201, ()),
        "numentaTM, art_daily_flatmiddle": (0.853506766845, 403, 205, ()),
        "randomCutForest, exchange-3_cpm_results": (0.862098587352, 153, 76, ()),
    }
    for name, (seen, length, row, false) in published.items():
        assert seen == pytest.approx(at(1000, row, length, *false), abs=1e-11), name


def test_published_scores_of_false_detections_after_a_window() -> None:
    """So are scores of files whose window was missed and which have one detection after it."""
    assert -1.09387764824 == pytest.approx(score([1402 + 204], [(1000, 1402)], 4032).raw, abs=1e-10)  # htmjava, art_daily_nojump
    assert -1.10993903401 == pytest.approx(score([1152 + 249], [(1000, 1152)], 1538).raw, abs=1e-10)  # htmjava, exchange-3_cpm_results


def test_the_ends_of_the_scale() -> None:
    """No detection is 0, the first row of every window 100, and the last row of a window is worth more than nothing."""
    assert 0.0 == score([], WINDOWS, ROWS).normalised
    assert 100.0 == score([300, 700], WINDOWS, ROWS).normalised
    assert 0.0 < score([320], [(300, 320)], ROWS).raw < 0.2


def test_the_probationary_period_does_not_count() -> None:
    """Neither detections nor windows in the first 15 % of the rows, at most 750, change the score."""
    assert probation(5000) == 750 == probation(22_695)
    alone = score([300], WINDOWS, ROWS)
    assert alone == score([10, 149, 300], [(5, 20), *WINDOWS], ROWS)
    assert alone != score([150, 300], WINDOWS, ROWS)


@given(st.sets(st.integers(0, ROWS - 1)), st.integers(0, ROWS - 1))
def test_one_more_detection(rows: set[int], row: int) -> None:
    """One more detection in a window never costs anything, outside of all windows it costs at most its weight and never helps."""
    before, after = score(rows, WINDOWS, ROWS).raw, score(rows | {row}, WINDOWS, ROWS).raw
    if any(first <= row <= last for first, last in WINDOWS):
        assert after >= before
    else:
        assert before - 0.11 - 1e-9 <= after <= before
