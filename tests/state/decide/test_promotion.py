"""The gates of a promotion: what each lets pass, and what follows from a trial."""

import dataclasses

import numpy as np
import pytest

from schemas.errors import UsageError
from schemas.records.records import GateResult
from state.decide.paired import CHALLENGER
from state.decide.promotion import Outcome, PromotionRules, Trial, Verdict, judge
from tests.state.decide.trials import losses_of, trial_of

RULES = PromotionRules()
WIGGLE = (0.004, -0.002, -0.003, 0.001, 0.002, -0.004, 0.003, -0.001, 0.0, 0.002, -0.002, 0.001, -0.003, 0.003)


def ratios(mean: float, blocks: int) -> list[float]:
    """Relative losses of a few blocks around a mean."""
    return [mean + WIGGLE[i % len(WIGGLE)] for i in range(blocks)]


def gate(verdict: Verdict, name: str) -> GateResult:
    """The one gate of that name."""
    [found] = [result for result in verdict.gates if result.gate == name]
    return found


@pytest.mark.parametrize(
    ("mean", "blocks", "outcome", "words"),
    [
        (0.90, 2, Outcome.WAIT, "not enough data yet: 2 of at least 3 whole blocks"),
        (0.90, 6, Outcome.PROMOTE, "it passes every gate: the loss is -4.76 % against the champion's over 6 blocks"),
        (1.00, 20, Outcome.WAIT, "not yet: the loss is "),
        (1.00, 21, Outcome.REJECT, "no evidence for it after 21 blocks: the loss is "),
        (0.997, 21, Outcome.REJECT, "no evidence for it after 21 blocks: the loss is -0.29 %"),
        (1.04, 6, Outcome.REJECT, "it is worse than the champion: the loss is +3.97 %"),
    ],
)
def test_what_follows_from_the_loss(mean: float, blocks: int, outcome: Outcome, words: str) -> None:
    """Too few blocks wait; better is promoted, worse rejected; without evidence, or for too small a gain, the longest trial ends it."""
    verdict = judge(trial_of(losses_of(ratios(mean, blocks))), RULES)
    assert outcome is verdict.outcome
    assert words in verdict.reason
    assert blocks == verdict.interval.observations


def test_a_trial_without_a_block_waits() -> None:
    """Before the first block has ended nothing is said but the size."""
    verdict = judge(trial_of(losses_of([])), RULES)
    assert (Outcome.WAIT, ["paired loss", "size"]) == (verdict.outcome, [found.gate for found in verdict.gates])
    assert "after 0 blocks" in gate(verdict, "paired loss").sentence


def test_a_block_that_has_not_ended_does_not_count() -> None:
    """Judged one slot before the end of the last block, there is one block less."""
    trial = trial_of(losses_of(ratios(0.9, 6)))
    early = dataclasses.replace(trial, until_slot=trial.until_slot - 289)
    assert (6, 5) == (judge(trial, RULES).interval.observations, judge(early, RULES).interval.observations)


def blocked(trial: Trial, name: str, value: str, rules: PromotionRules = RULES) -> str:
    """The sentence of the one gate that fails, and that nothing but waiting, and then a rejection, follows."""
    verdict = judge(trial, rules)
    assert [name] == [found.gate for found in verdict.gates if not found.passed]
    found = gate(verdict, name)
    assert value == found.value
    assert (Outcome.WAIT, f"not yet: {found.sentence}") == (verdict.outcome, verdict.reason)
    ended = judge(trial, dataclasses.replace(rules, most_blocks=verdict.interval.observations))
    assert (Outcome.REJECT, f"no evidence for it after 6 blocks: {found.sentence}") == (ended.outcome, ended.reason)
    return found.sentence


def test_a_slice_that_gets_worse_blocks() -> None:
    """Better over all, but 3 % worse in one horizon of one band: the record says which."""
    losses = losses_of(ratios(0.9, 6))
    losses.losses[:, CHALLENGER, 1, 2, 1] = 10.3
    said = blocked(trial_of(losses), "worst slice", "0.03")
    assert "+3.00 % against the champion's (nyc, 60 min, medium cells, absolute error of the median); at most +2.00 %" in said


def test_the_worst_region_blocks() -> None:
    """Where two regions are served, one that gets worse stands against the promotion."""
    trial = trial_of(losses_of(ratios(0.5, 6)))
    trial.losses["paris"] = losses_of(ratios(1.03, 6))
    assert "(paris, " in blocked(trial, "worst slice", f"{np.mean(ratios(1.03, 6)) - 1:.6g}")


def test_bias_blocks_unless_the_champion_has_more() -> None:
    """4 % too much blocks; it does not if the champion forecasts 5 % too little."""
    assert "+4.00 % off" in blocked(trial_of(losses_of(ratios(0.9, 6), bias=1.04)), "bias", "0.04")
    assert "-4.00 % off" in blocked(trial_of(losses_of(ratios(0.9, 6), bias=0.96)), "bias", "-0.04")
    assert judge(trial_of(losses_of(ratios(0.9, 6), bias=1.04, champion_bias=0.95)), RULES).outcome is Outcome.PROMOTE
    assert judge(trial_of(losses_of(ratios(0.9, 6), bias=1.0299)), RULES).outcome is Outcome.PROMOTE


@pytest.mark.parametrize("share", [0.73, 0.87])
def test_intervals_that_cover_too_few_or_too_many_block(share: float) -> None:
    """An 80 % interval may cover 74 to 86 %."""
    assert f"cover {100 * share:.1f} %" in blocked(trial_of(losses_of(ratios(0.9, 6), inside=share)), "calibration", f"{share:g}")


def test_coverage_need_not_be_nearer_than_the_champions() -> None:
    """Where the champion's intervals cover too many, a challenger whose do as well is not held against it."""
    losses = losses_of(ratios(0.9, 6), inside=0.90)
    losses.inside[:, 0] = 910.0
    assert judge(trial_of(losses), RULES).outcome is Outcome.PROMOTE


def test_a_slow_close_blocks() -> None:
    """At most 1.5 times the champion's time; without a measurement there is no such gate."""
    losses = losses_of(ratios(0.9, 6))
    assert "takes it 31.0 ms; at most 30.0 ms" in blocked(trial_of(losses, close_ms=(20.0, 31.0)), "latency", "31")
    assert judge(trial_of(losses, close_ms=(20.0, 30.0)), RULES).outcome is Outcome.PROMOTE
    assert "latency" not in [found.gate for found in judge(trial_of(losses), RULES).gates]


def test_a_large_artefact_is_rejected_at_once() -> None:
    """No trial makes an artefact smaller, so it does not wait for one."""
    verdict = judge(trial_of(losses_of([]), size_bytes=RULES.size_bytes + 1), RULES)
    assert (Outcome.REJECT, "its artefact has 67,108,865 bytes; at most 67,108,864") == (verdict.outcome, verdict.reason)


def test_a_verdict_of_others_blocks() -> None:
    """A gate that was judged elsewhere is in the evidence, and a failed one stands against the promotion."""
    fair = GateResult(gate="fairness: outskirts", passed=False, value="0.08", bound="0.02", sentence="under-forecast by 8 % in outskirts")
    assert fair.sentence == blocked(trial_of(losses_of(ratios(0.9, 6)), verdicts=(fair,)), "fairness: outskirts", "0.08")
    assert fair in judge(trial_of(losses_of([]), verdicts=(fair,)), RULES).gates


def test_rules_that_contradict_each_other_are_refused() -> None:
    """The longest trial must reach the least number of blocks, and a trial needs a region."""
    with pytest.raises(UsageError, match="got 5 and 4"):
        PromotionRules(least_blocks=5, most_blocks=4)
    with pytest.raises(UsageError, match="at least one region"):
        judge(Trial(losses={}, until_slot=0, size_bytes=0), RULES)
