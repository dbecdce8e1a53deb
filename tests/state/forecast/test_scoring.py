"""Scores that are kept until they settle are those that are computed anew."""

import numpy as np
import pytest

from state.forecast.issued import Issued
from state.forecast.scoring import Scores, score_row
from state.models.predictive import around
from tests.state.forecast.test_learned_spread import drafts_of, started

VERSIONS = (1, 4)


def issued(version: int) -> Issued:
    """The newest issue of the town; from version 4 on with bands."""
    draft = list(drafts_of(*started(version), until=403)[0].values())[-1]
    return Issued(400, draft.columns, np.arange(len(draft.columns)), {}, draft.spread if version >= 4 else ())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_settled_score_is_computed_from_what_changed(version: int) -> None:
    """Whatever counts change until the second score, row and chances are those of a score without memory."""
    issue, rng, scores = issued(version), np.random.default_rng(1), Scores()
    truth = rng.poisson(2.0, len(issue.columns))
    for late in (0, 1, 40):
        truth = truth + (np.arange(len(truth)) < late)
        score = scores.of(issue, 1, truth)
        assert score_row(issue, 1, truth) == score.row
        if issue.spread:
            expected = around(truth, issue.columns.mean[:, 1] / 1000, issue.columns.dispersion[:, 1] / 1000)
            assert score.chances is not None
            assert [values.tobytes() for values in expected] == [values.tobytes() for values in score.chances]


def test_an_unchanged_score_is_kept_until_it_is_dropped() -> None:
    """The same counts give the same object; after `drop_before` it is computed again."""
    issue, scores = issued(4), Scores()
    truth = np.ones(len(issue.columns), np.int64)
    first = scores.of(issue, 0, truth)
    assert first is scores.of(issue, 0, truth.copy())
    scores.drop_before(400)
    assert first is scores.of(issue, 0, truth)
    scores.drop_before(401)
    again = scores.of(issue, 0, truth)
    assert first is not again
    assert first.row == again.row
