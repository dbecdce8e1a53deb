"""Refits: what is one, which guards let it serve, and what a row of them may lose."""

import dataclasses

import numpy as np
import pytest

from schemas.errors import UsageError
from schemas.records.records import Category, Cause, GateResult, ModelPromoted, ModelTrained
from state.decide.paired import CHALLENGER
from state.decide.promotion import Outcome, PromotionRules, Trial, judge
from state.decide.refits import Chain, Refit, RefitRules, chain_of, judge_refit, more_days, why_no_refit
from tests.state.decide.test_promotion import ratios
from tests.state.decide.test_promotion_errors import DEVIATION, SEED_EFFECT, TRIALS
from tests.state.decide.trials import FIRST as FIRST_BLOCK, losses_of, trial_of

RULES, REFITS = PromotionRules(), RefitRules()
DAY = 288
A, B, C = b"a" * 32, b"b" * 32, b"c" * 32
FIRST = Refit(7, Chain(A, 0, 0.0))


def trained(**changes: object) -> ModelTrained:
    """The training of a chain whose data end at noon of a day."""
    parameters = {"recipe": "1", "eta": "0.05", "sample_seed": "0", "threads": "2", "rounds": "90,80", "most_days": "56", "log_size": "5"}
    record = ModelTrained(
        region="nyc",
        measure="requests",
        model=A,
        algorithm="chain",
        features=("level", "profile"),
        first_slot=10 * DAY,
        until_slot=40 * DAY + 144,
        rows=1_000,
        data_digest=b"",
        parameters=parameters,
        metrics={},
    )
    return dataclasses.replace(record, **changes)  # type: ignore[arg-type]


def with_parameters(**changes: str) -> ModelTrained:
    """A training of a week later with other parameters; an empty one is left out."""
    parameters = {name: value for name, value in (trained().parameters | changes).items() if value}
    return trained(parameters=parameters, until_slot=47 * DAY + 1)


def test_the_same_recipe_on_a_week_more_data_is_a_refit() -> None:
    """Neither the hour at which the data end, nor the reason, the threads, or the rounds that a chain found, tell them apart."""
    later = with_parameters(threads="8", rounds="95,70", log_size="9", trigger="schedule: a week", parameters_of="ab", search_study="")
    assert ("", 7) == (why_no_refit(trained(), later, DAY, REFITS), more_days(trained(), later, DAY))
    searched = dataclasses.replace(trained(), parameters=trained().parameters | {"search_study": "x", "search_best": "3"})
    assert why_no_refit(searched, later, DAY, REFITS) == ""


@pytest.mark.parametrize(
    ("challenger", "why"),
    [
        (None, "the training of the champion or the challenger is not on record"),
        (
            dataclasses.replace(with_parameters(), until_slot=46 * DAY + 287),
            "its data end 6 days after the champion's, expected at least 7",
        ),
        (trained(), "its data end 0 days after the champion's, expected at least 7"),
        (trained(until_slot=12 * DAY), "its data end -28 days after the champion's, expected at least 7"),
        (with_parameters(sample_seed="1"), "parameters differ: sample_seed"),
        (with_parameters(eta="0.06", most_days="28"), "parameters differ: eta, most_days"),
        (with_parameters(most_days=""), "parameters differ: most_days, rounds"),
        (with_parameters(recipe="2"), "parameters differ: recipe"),
        (with_parameters(a_later_one="x"), "parameters differ: a_later_one"),
        (with_parameters(control_size="7"), "covariates differ"),
        (dataclasses.replace(with_parameters(), algorithm="boosted"), "algorithm differ"),
        (dataclasses.replace(with_parameters(), features=("level",)), "features differ"),
        (dataclasses.replace(with_parameters(), first_slot=11 * DAY), "first slot differ"),
        (dataclasses.replace(with_parameters(), region="paris"), "they were trained for different regions or measures"),
    ],
)
def test_anything_else_is_no_refit(challenger: ModelTrained | None, why: str) -> None:
    """Another seed, parameter, table, history, version of the training, or less than a week more: it needs evidence."""
    assert why == why_no_refit(trained(), challenger, DAY, REFITS)


def test_a_champion_of_an_older_release_has_no_refits() -> None:
    """Its record does not say by which training code it was made."""
    old = trained(parameters={name: value for name, value in trained().parameters.items() if name != "recipe"})
    assert why_no_refit(old, with_parameters(recipe=""), DAY, REFITS) == "the champion was trained by a release that recorded no recipe"


def test_rounds_that_do_not_come_from_the_data_are_part_of_the_recipe() -> None:
    """Boosters without a chain have a fixed number of trees, so that another number is another recipe."""
    before, now = with_parameters(most_days=""), with_parameters(most_days="", rounds="40")
    assert why_no_refit(dataclasses.replace(before, until_slot=0), now, DAY, REFITS) == "parameters differ: rounds"


@pytest.mark.parametrize(
    ("mean", "blocks", "outcome", "category", "words"),
    [
        (0.997, 0, Outcome.WAIT, Category.REFIT, "not enough data yet for a refit: 0 of 1 whole blocks"),
        (0.997, 1, Outcome.PROMOTE, Category.REFIT, "a refit of the champion that passes every guard: the loss is +0."),
        (1.006, 4, Outcome.WAIT, Category.REFIT, "not yet, after 4 of 5 whole blocks: the loss is +0."),
        (0.997, 5, Outcome.PROMOTE, Category.REFIT, "a refit of the champion that passes every guard: the loss is -0.26 %"),
        (1.004, 5, Outcome.PROMOTE, Category.REFIT, "the loss is +0.44 % against the champion's over 5 blocks; at most +0.50 %"),
        (1.006, 5, Outcome.REJECT, Category.REFIT, "a refit of the champion that is not good enough: the loss is +0."),
        (1.04, 4, Outcome.REJECT, Category.REFIT, "it is worse than the champion: "),
        (0.90, 6, Outcome.PROMOTE, Category.IMPROVEMENT, "it passes every gate: "),
        (0.997, 22, Outcome.PROMOTE, Category.REFIT, "a refit of the champion that passes every guard"),
    ],
)
def test_what_follows_for_a_refit(mean: float, blocks: int, outcome: Outcome, category: Category, words: str) -> None:
    """It serves from the first look on at which it seems not worse; one that seems so after five days is rejected."""
    verdict = judge_refit(trial_of(losses_of(ratios(mean, blocks))), FIRST, RULES, REFITS)
    assert (outcome, category) == (verdict.outcome, verdict.category)
    assert words in verdict.reason


def rejected(trial: Trial, gate: str, refit: Refit = FIRST) -> None:
    """The one guard that fails, which ends the trial."""
    verdict = judge_refit(trial, refit, RULES, REFITS)
    [failed] = [found for found in verdict.gates if not found.passed]
    assert (gate, Outcome.REJECT) == (failed.gate, verdict.outcome)
    assert failed.sentence in verdict.reason


def test_each_guard_stops_a_refit() -> None:
    """A slice, bias, calibration, latency, size or fairness beyond its bound rejects it, however small the change of the loss."""
    rejected(trial_of(losses_of(ratios(0.997, 5), bias=1.04)), "bias")
    rejected(trial_of(losses_of(ratios(0.997, 5), inside=0.7)), "calibration")
    rejected(trial_of(losses_of(ratios(0.997, 5)), close_ms=(20.0, 31.0)), "latency")
    rejected(trial_of(losses_of(ratios(0.997, 5)), size_bytes=RULES.size_bytes + 1), "size")
    unfair = GateResult(gate="fairness", passed=False, value="0.08", bound="0.02", sentence="under-forecast by 8 % in outskirts")
    rejected(trial_of(losses_of(ratios(0.997, 5)), verdicts=(unfair,)), "fairness")
    one_slice = losses_of(ratios(0.997, 5))
    one_slice.losses[:, CHALLENGER, 1, 2, 1] = 10.4
    rejected(trial_of(one_slice), "worst slice")
    elsewhere = trial_of(losses_of(ratios(0.98, 5)))
    elsewhere.losses["paris"] = losses_of(ratios(1.035, 5))
    assert judge_refit(elsewhere, FIRST, RULES, REFITS).outcome is Outcome.REJECT


def test_a_row_of_refits_may_not_decline_together() -> None:
    """Each refit seems worse by less than its margin; the one that brings their sum above the bound is rejected."""
    fourth = Refit(7, Chain(A, 3, 0.009))
    rejected(trial_of(losses_of(ratios(1.003, 5))), "refit decline", fourth)
    verdict = judge_refit(trial_of(losses_of(ratios(0.999, 5))), fourth, RULES, REFITS)
    [decline] = [gate for gate in verdict.gates if gate.gate == "refit decline"]
    assert verdict.outcome is Outcome.PROMOTE
    assert decline.sentence == "this refit and the 3 before it change the loss by +0.84 % since model 616161616161; at most +1.00 %"


def promoted(model: bytes, replaced: bytes, change: float | None, cause: Cause = Cause.GATES) -> ModelPromoted:
    """A promotion; of a refit if a change of the loss is given."""
    evidence = () if change is None else (GateResult(gate="refit loss", passed=True, value=f"{change:.6g}", bound="", sentence=""),)
    category = Category.REFIT if change is not None else Category.IMPROVEMENT if cause == Cause.GATES else ""
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


def test_a_row_of_refits_begins_with_evidence_or_a_command() -> None:
    """It ends at the last model that was promoted otherwise, and a rollback does not make it forget what was lost."""
    by_hand = promoted(A, b"", None, Cause.COMMAND)
    row = [by_hand, promoted(B, A, 0.002), promoted(C, B, 0.003)]
    assert chain_of(A, row[:1]) == Chain(A, 0, 0.0)
    assert chain_of(C, row) == Chain(A, 2, 0.005)
    assert chain_of(B, [*row, promoted(B, C, None, Cause.ROLLBACK)]) == Chain(A, 1, 0.002)
    assert chain_of(C, [*row, promoted(C, C, None, Cause.COMMAND)]) == Chain(C, 0, 0.0)
    assert chain_of(C, [by_hand, promoted(B, A, 0.002), promoted(C, B, None)]) == Chain(C, 0, 0.0)
    assert chain_of(A, []) == Chain(A, 0, 0.0)


def test_fewer_blocks_leave_more_room_for_chance_in_a_slice() -> None:
    """On the first day the worst slice may lose the root of five times as much as over five days; on the fifth it is judged by those."""
    one_slice = losses_of(ratios(0.997, 6))
    one_slice.losses[:, CHALLENGER, 1, 2, 1] = 10.6  # of 10
    for blocks, outcome in ((1, Outcome.PROMOTE), (2, Outcome.WAIT), (5, Outcome.REJECT), (6, Outcome.REJECT)):
        looked = dataclasses.replace(trial_of(one_slice), until_slot=(FIRST_BLOCK + blocks) * DAY)
        assert outcome is judge_refit(looked, FIRST, RULES, REFITS).outcome


def test_a_day_that_biases_both_does_not_delay_a_refit() -> None:
    """Over few days it may be a point more biased than the champion, whose forecasts of a holiday were off too; over five it may not."""
    for bias, blocks, outcome in (
        (1.049, 1, Outcome.PROMOTE),
        (1.051, 1, Outcome.WAIT),
        (1.039, 5, Outcome.PROMOTE),
        (1.049, 5, Outcome.REJECT),
    ):
        verdict = judge_refit(trial_of(losses_of([0.997] * blocks, bias=bias, champion_bias=1.04)), FIRST, RULES, REFITS)
        assert outcome is verdict.outcome


def test_a_refit_that_waits_for_the_budget_passes_again() -> None:
    """Days after the fifth do not change what the guards say, however bad chance makes them, but for evidence that it is worse."""
    row = [*ratios(0.999, 5), *ratios(1.012, 3)]
    verdicts = [judge_refit(trial_of(losses_of(row[:days])), FIRST, RULES, REFITS) for days in (5, 6, 7, 8)]
    assert [Outcome.PROMOTE] * 4 == [verdict.outcome for verdict in verdicts]
    assert [verdicts[0].gates] * 4 == [verdict.gates for verdict in verdicts]
    bad = judge_refit(trial_of(losses_of([*ratios(0.999, 5), *ratios(1.04, 9)])), FIRST, RULES, REFITS)
    assert (Outcome.REJECT, True) == (bad.outcome, bad.reason.startswith("it is worse than the champion: "))


def test_a_refit_that_serves_before_the_fifth_day_does_so_on_probation() -> None:
    """The evidence of its promotion says how many blocks were compared, and how many will be."""
    early, late = (judge_refit(trial_of(losses_of(ratios(0.99, blocks))), FIRST, RULES, REFITS) for blocks in (2, 5))
    [gate] = [found for found in early.gates if found.gate == "refit probation"]
    assert ("2", "5") == (gate.value, gate.bound)
    assert "refit probation" not in {found.gate for found in late.gates}


def test_a_refit_that_learned_an_outage_never_serves() -> None:
    """A fifth too low and a tenth more loss: it waits, and is rejected on the fifth day, also if only its bias tells."""
    for row in (ratios(1.1, 5), [*ratios(0.999, 3), 1.2, 1.4]):
        verdicts = [judge_refit(trial_of(losses_of(row[:day], bias=0.8)), FIRST, RULES, REFITS) for day in range(1, 6)]
        assert [Outcome.WAIT] * 4 + [Outcome.REJECT] == [verdict.outcome for verdict in verdicts]
        assert {"refit loss", "bias", "worst slice"} <= {gate.gate for gate in verdicts[-1].gates if not gate.passed}


def test_slowly_worse_refits_do_not_add_up() -> None:
    """In two years of weekly refits, each 0.3 % worse than the model it replaces, the measured sum stays below its bound."""
    rng = np.random.default_rng(7)
    chain, lost, refits = Chain(A, 0, 0.0), 0.0, 0
    for _ in range(104):
        row = np.exp(0.003 + rng.normal(0.0, DEVIATION, REFITS.blocks))
        verdict = judge_refit(trial_of(losses_of(row.tolist())), Refit(7, chain), RULES, REFITS)
        if verdict.outcome is Outcome.PROMOTE:
            chain = Chain(A, chain.refits + 1, chain.change + verdict.interval.mean)
            lost, refits = lost + 0.003, refits + 1
            assert chain.change <= np.log1p(REFITS.decline)
    assert 3 <= refits


def test_a_challenger_with_another_seed_never_meets_the_guards() -> None:
    """It differs from the champion in nothing else: 200 trials of 21 days, judged as no refit, promote at most 5 %."""
    assert why_no_refit(trained(), with_parameters(sample_seed="1"), DAY, REFITS)
    rng = np.random.default_rng(1)
    rows = np.exp(rng.normal(0.0, SEED_EFFECT, (TRIALS, 1)) + rng.standard_t(4, (TRIALS, 21)) / np.sqrt(2.0) * DEVIATION)
    ended = [judge(trial_of(losses_of(row[:day].tolist())), RULES).outcome for row in rows for day in (4, 7, 14, 21)]
    assert ended.count(Outcome.PROMOTE) <= 0.05 * TRIALS


def test_rules_of_refits_that_contradict_each_other_are_refused() -> None:
    """A single margin cannot be larger than the sum of all."""
    with pytest.raises(UsageError, match="margin <= decline"):
        RefitRules(margin=0.02)
