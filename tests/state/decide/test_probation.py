"""Probations: when a refit that serves early stays, when it ends, and what may go wrong for how long."""

from dataclasses import dataclass

import numpy as np
import pytest

from schemas.records.records import Category, Cause, GateResult, ModelPromoted
from state.decide.paired import CHALLENGER, CHAMPION
from state.decide.probation import chain_before, is_confirmation, judge_probation, probation_of
from state.decide.promotion import Outcome, PromotionRules, Trial
from state.decide.refits import Chain, Refit, RefitRules, chain_of, judge_refit
from tests.state.decide.test_promotion import ratios
from tests.state.decide.test_promotion_errors import DEVIATION, SEED_EFFECT, TRIALS
from tests.state.decide.trials import losses_of, trial_of

RULES, REFITS = PromotionRules(), RefitRules()
A, B, C = b"a" * 32, b"b" * 32, b"c" * 32
BEFORE = Chain(A, 0, 0.0)


def watch_of(row: list[float], **more: float) -> Trial:
    """The champion before as the shadow of a refit whose losses are the champion's times a ratio."""
    return trial_of(losses_of(row, **more).turned())


@pytest.mark.parametrize(
    ("row", "outcome", "words"),
    [
        ([], Outcome.WAIT, "on probation: 0 of 5 whole blocks"),
        ([1.015], Outcome.WAIT, "on probation: 1 of 5 whole blocks"),
        ([1.021], Outcome.REJECT, "the refit on probation seems much worse, by more than 2.02 %: the loss is +2.10 %"),
        (ratios(1.008, 4), Outcome.WAIT, "on probation: 4 of 5 whole blocks"),
        ([1.03, 0.99, 1.03, 1.0], Outcome.REJECT, "the refit on probation seems much worse, by more than 1.00 %"),
        (ratios(1.04, 4), Outcome.REJECT, "the refit on probation is worse for certain: the loss is +"),
        (ratios(0.997, 5), Outcome.PROMOTE, "the refit passed its probation: the loss is -0.26 %"),
        (ratios(1.006, 5), Outcome.REJECT, "the refit on probation is not good enough: the loss is +0."),
        ([*ratios(0.997, 5), *ratios(1.02, 2)], Outcome.PROMOTE, "the refit passed its probation: the loss is -0.26 %"),
    ],
)
def test_how_a_probation_ends(row: list[float], outcome: Outcome, words: str) -> None:
    """After five days as a trial of five days would have ended, or earlier when the refit seems much worse."""
    verdict = judge_probation(watch_of(row), BEFORE, RULES, REFITS)
    assert (outcome, Category.REFIT) == (verdict.outcome, verdict.category)
    assert words in verdict.reason


def test_every_guard_ends_a_probation() -> None:
    """Bias, calibration, a slice, and the decline of the row are asked at the end, of the refit and not of the champion before."""
    assert judge_probation(watch_of(ratios(0.997, 5), bias=1.04), BEFORE, RULES, REFITS).outcome is Outcome.REJECT
    assert judge_probation(watch_of(ratios(0.997, 5), champion_bias=1.04), BEFORE, RULES, REFITS).outcome is Outcome.PROMOTE
    assert judge_probation(watch_of(ratios(0.997, 5), inside=0.7), BEFORE, RULES, REFITS).outcome is Outcome.REJECT
    declined = judge_probation(watch_of(ratios(1.003, 5)), Chain(A, 3, 0.009), RULES, REFITS)
    assert (Outcome.REJECT, True) == (declined.outcome, "this refit and the 3 before it" in declined.reason)
    one_slice = losses_of(ratios(0.997, 5))
    one_slice.losses[:, CHALLENGER, 1, 2, 1] = 10.4
    verdict = judge_probation(trial_of(one_slice.turned()), BEFORE, RULES, REFITS)
    assert (Outcome.REJECT, "at worst the loss is +4.00 %") == (verdict.outcome, verdict.reason.partition(": ")[2][:28])


def test_turned_losses_are_those_of_the_other_side() -> None:
    """Champion and challenger are exchanged, what belongs to both stays, and the sums are copies."""
    losses = losses_of([1.1, 0.9], bias=1.2, inside=0.7)
    turned = losses.turned()
    assert np.array_equal(losses.losses[:, CHALLENGER], turned.losses[:, CHAMPION])
    assert np.array_equal(losses.means[:, CHAMPION], turned.means[:, CHALLENGER])
    assert np.array_equal(losses.inside[:, CHALLENGER], turned.inside[:, CHAMPION])
    assert np.array_equal(losses.issues, turned.issues)
    assert np.allclose(-losses.differences(losses.whole()), turned.differences(turned.whole()))
    turned.losses[:] = 0.0
    assert losses.losses.min() > 0.0


def promoted(model: bytes, replaced: bytes, gates: dict[str, str], cause: Cause = Cause.GATES) -> ModelPromoted:
    """A promotion with these gates as evidence."""
    evidence = tuple(GateResult(gate=name, passed=True, value=value, bound="", sentence="") for name, value in gates.items())
    category = Category.REFIT if cause == Cause.GATES else ""
    return ModelPromoted(
        region="nyc",
        measure="requests",
        model=model,
        alias="champion",
        reason="",
        cause=cause,
        replaced=replaced,
        evidence=evidence,
        category=category,
    )


def test_what_records_say_of_a_probation() -> None:
    """It begins with the promotion, and ends with the record that the refit stays, or with any later promotion; others have none."""
    first = promoted(B, A, {"refit loss": "0.002"})  # of a release without probations
    early = promoted(C, B, {"refit loss": "-0.01", "refit probation": "1"})
    confirmed = promoted(C, B, {"refit confirmed": "5", "refit loss": "0.001"})
    assert probation_of(B, [first]) is None
    assert probation_of(C, [first, early]) is early
    assert probation_of(B, [first, early]) is None
    assert chain_before(early, [first, early]) == Chain(A, 1, 0.002)
    assert probation_of(C, [first, early, confirmed]) is None
    assert probation_of(C, [first, early, promoted(C, C, {}, Cause.COMMAND)]) is None
    assert probation_of(B, [first, early, promoted(B, C, {}, Cause.ROLLBACK)]) is None
    assert [False, False, True] == [is_confirmation(record) for record in (first, early, confirmed)]


def test_a_row_of_refits_counts_each_by_its_last_measure() -> None:
    """The day before which a refit served on probation says little; when it stays, its five days count instead, once."""
    row = [promoted(B, A, {"refit loss": "0.002"}), promoted(C, B, {"refit loss": "-0.01", "refit probation": "1"})]
    assert chain_of(C, row) == Chain(A, 2, -0.008)
    assert chain_of(C, [*row, promoted(C, B, {"refit confirmed": "5", "refit loss": "0.001"})]) == Chain(A, 2, 0.003)


@dataclass(frozen=True, slots=True)
class Life:
    """What became of a simulated refit: the day after which it served, and that after which it did not any more; 99 for never."""

    served_from: int
    served_until: int


def life_of(row: list[float]) -> Life:
    """Judge a refit at the end of each of five days, as the learner does."""
    served_from = 99
    for day in range(1, REFITS.blocks + 1):
        losses = losses_of(row[:day])
        if served_from == 99:
            verdict = judge_refit(trial_of(losses), Refit(7, BEFORE), RULES, REFITS)
            served_from = day if verdict.outcome is Outcome.PROMOTE else 99
            if verdict.outcome is Outcome.REJECT:
                break
        elif judge_probation(trial_of(losses.turned()), BEFORE, RULES, REFITS).outcome is Outcome.REJECT:
            return Life(served_from, day)
    return Life(served_from, 99)


def lives(effect: float, seed: int) -> list[Life]:
    """Simulated refits with a true change of the loss; days as measured in New York."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_t(4, (TRIALS, REFITS.blocks)) / np.sqrt(2.0) * DEVIATION
    rows = np.exp(np.log1p(effect) + rng.normal(0.0, SEED_EFFECT, (TRIALS, 1)) + noise)
    return [life_of(row.tolist()) for row in rows]


def staying(found: list[Life]) -> float:
    """Share that serves after five days."""
    return sum(life.served_from < 99 and life.served_until == 99 for life in found) / len(found)


def days_served(found: list[Life]) -> float:
    """Mean of the days out of the seven after the training on which the refit served."""
    return float(np.mean([max(min(life.served_until, 7) - min(life.served_from, 7), 0) for life in found]))


def test_a_good_refit_serves_most_of_its_week() -> None:
    """Of 200 that are 0.3 % better, at least 90 % stay, and they serve at least 5.3 of the 7 days until the next training."""
    found = lives(-0.003, 1)
    assert staying(found) >= 0.9
    assert days_served(found) >= 5.3


def test_how_much_a_bad_refit_may_cost() -> None:
    """Of those 2 % worse at most 2 % stay, and they serve 0.3 days of a week; 1 % worse, 20 % and two days; 10 % worse, never."""
    assert staying(lives(0.02, 2)) <= 0.02
    assert days_served(lives(0.02, 2)) <= 0.3
    assert staying(lives(0.01, 3)) <= 0.2
    assert days_served(lives(0.01, 3)) <= 2.0
    assert days_served(lives(0.1, 4)) == 0.0
