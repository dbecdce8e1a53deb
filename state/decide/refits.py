"""Whether a challenger is a refit of the champion, the same recipe on a week more data, and the guards that let a refit serve.

A week more data is worth less than a trial can show, so a refit need not be better for certain: it must not be worse, and the refits
since the last decision on evidence must not decline together. It serves from the first look on at which it passes, on probation
until all blocks of its trial have been compared (`state/decide/probation.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from schemas.errors import UsageError
from schemas.records.records import Category, Cause, GateResult, ModelPromoted, ModelTrained
from state.decide.promotion import Outcome, PromotionRules, Trial, Verdict, judge, result, slice_gate

LOSS, DECLINE, SAME, PROBATION, CONFIRMED = "refit loss", "refit decline", "refit", "refit probation", "refit confirmed"  # gates
# Parameters of a training that do not belong to its recipe: why, where and on what it was made, and what the fit found in the data.
# Every other parameter must be equal, also one that a later version adds.
CIRCUMSTANCES = frozenset({"trigger", "log_size", "control_size", "threads", "parameters_of"})
SEARCH = "search_"  # how parameters were found; the parameters themselves must be equal
FOUND_BY_CHAIN = "rounds"  # a chain chooses them on later data
RECIPE = "recipe"  # version of the training code; a model without one was trained by an older release
WEATHER = "control_size"  # present if the model was trained with covariates


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitRules:
    """Bounds of the guards of a refit.

    Attributes:
        days: By which the data of a refit end later than the champion's, at least.
        first_look: Whole blocks after which a refit may serve on probation.
        blocks: Whole blocks that decide about a refit: more are not looked at, except for evidence that it is worse.
        margin: Relative loss by which it may seem worse over these blocks.
        early: On probation it may seem worse by so many margins over the root of the number of blocks; see docs/adr/0049.
        worse_slice: Relative loss that a horizon in a band, or a region, may seem to lose over all blocks; over fewer, as much more as
            chance makes it differ more.
        bias_beyond: Relative bias by which it may exceed the champion's over fewer than all blocks.
        decline: Relative loss that all refits in a row may seem to lose together.
    """

    days: int = 7
    first_look: int = 1
    blocks: int = 5
    margin: float = 0.005
    early: float = 4.0
    worse_slice: float = 0.03
    bias_beyond: float = 0.01
    decline: float = 0.01

    def __post_init__(self) -> None:
        if self.days < 1 or self.blocks < 2 or not 1 <= self.first_look <= self.blocks or not 0.0 <= self.margin <= self.decline:
            raise UsageError(f"refits: expected days >= 1, blocks >= 2, 1 <= first look <= blocks, 0 <= margin <= decline, got {self}")


@dataclass(frozen=True, slots=True)
class Chain:
    """The refits in a row that made the champion.

    Attributes:
        anchor: The last model of the row that was promoted on evidence or by command; the champion itself without refits.
        refits: How many followed it.
        change: Sum of the mean logs of the relative loss that their trials measured.
    """

    anchor: bytes
    refits: int
    change: float


@dataclass(frozen=True, slots=True)
class Refit:
    """A challenger that is a refit: how many days more data it has, and the refits before it."""

    more_days: int
    chain: Chain


def why_no_refit(champion: ModelTrained | None, challenger: ModelTrained | None, day_slots: int, rules: RefitRules) -> str:
    """What tells a challenger from a refit of the champion, by the records of both trainings; empty if it is one.

    Whether both were trained on the same log is for the caller to check, who has the log.
    """
    if champion is None or challenger is None:
        return "the training of the champion or the challenger is not on record"
    if (champion.region, champion.measure) != (challenger.region, challenger.measure):
        return "they were trained for different regions or measures"
    if RECIPE not in champion.parameters:
        return "the champion was trained by a release that recorded no recipe"
    for name, before, now in (
        ("algorithm", champion.algorithm, challenger.algorithm),
        ("features", champion.features, challenger.features),
        ("first slot", champion.first_slot, challenger.first_slot),
        ("covariates", WEATHER in champion.parameters, WEATHER in challenger.parameters),
    ):
        if before != now:
            return f"{name} differ"
    mine, theirs = (_recipe_of(trained) for trained in (challenger, champion))
    different = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
    if different:
        return f"parameters differ: {', '.join(different)}"
    more = more_days(champion, challenger, day_slots)
    return "" if more >= rules.days else f"its data end {more} days after the champion's, expected at least {rules.days}"


def more_days(champion: ModelTrained, challenger: ModelTrained, day_slots: int) -> int:
    """Days from the one in which the champion's data end to the one in which the challenger's do."""
    return challenger.until_slot // day_slots - champion.until_slot // day_slots


def _recipe_of(trained: ModelTrained) -> dict[str, str]:
    found_in_data = {FOUND_BY_CHAIN} if "most_days" in trained.parameters else set()  # of a chain; other models have fixed rounds
    left_out = CIRCUMSTANCES | found_in_data
    return {name: value for name, value in trained.parameters.items() if name not in left_out and not name.startswith(SEARCH)}


def chain_of(champion: bytes, promotions: Sequence[ModelPromoted]) -> Chain:
    """The refits in a row that made the champion.

    A rollback does not begin a new row: the model that serves again has the refits that made it.

    Args:
        promotions: Of the region and measure, in order.
    """
    model, refits, change = champion, 0, 0.0
    for record in reversed(promotions):
        if record.model != model or record.cause == Cause.ROLLBACK:
            continue
        if record.category != Category.REFIT:
            break
        change += next((float(gate.value) for gate in record.evidence if gate.gate == LOSS), 0.0)
        model, refits = record.replaced, refits + 1
    return Chain(model, refits, change)


def judge_refit(trial: Trial, refit: Refit, rules: PromotionRules, refit_rules: RefitRules) -> Verdict:
    """Judge the trial of a refit as it stands: with evidence that it is better as any challenger, else by the guards.

    The guards look at the first blocks of the rules only, so that a refit that has passed them and waits for the budget passes them
    again on every later day.

    Raises:
        UsageError: the trial has no region.
    """
    usual = judge(trial, rules)
    if usual.outcome is Outcome.PROMOTE:
        return usual
    seen = first_blocks(trial, refit_rules.blocks)
    guarded = judge(seen, rules)
    if guarded.interval.observations < refit_rules.blocks:
        guarded = judge(seen, replace(rules, bias_beyond=refit_rules.bias_beyond))
    gates = (_same(refit, refit_rules), *guards(seen, guarded, refit.chain, rules=refit_rules))
    outcome, reason = _decide(usual, guarded, gates, refit_rules)
    if outcome is Outcome.PROMOTE and guarded.interval.observations < refit_rules.blocks:
        gates += (_probation(guarded.interval.observations, refit_rules),)
    return replace(guarded, outcome=outcome, reason=reason, gates=gates, category=Category.REFIT)


def first_blocks(trial: Trial, blocks: int) -> Trial:
    """The trial as it stood after so many whole blocks, or as it stands if it has fewer."""
    ends = sorted(
        {
            (block + 1) * losses.block_slots
            for losses in trial.losses.values()
            for block in losses.blocks[losses.whole(trial.until_slot)].tolist()
        }
    )
    return replace(trial, until_slot=ends[blocks - 1]) if len(ends) > blocks else trial


def guards(trial: Trial, judged: Verdict, before: Chain, *, rules: RefitRules) -> tuple[GateResult, ...]:
    """The guards of a refit over a trial that was judged: loss, decline of the row, worst slice, and the usual gates but two."""
    others = tuple(gate for gate in judged.gates if gate.gate not in ("paired loss", "worst slice"))
    found = (_loss_guard(judged, rules), _decline_guard(judged, before, rules), *others)
    blocks = judged.interval.observations
    return (*found, slice_gate(trial, rules.worse_slice * float(np.sqrt(max(rules.blocks / blocks, 1.0))))) if blocks else found


def _decide(usual: Verdict, guarded: Verdict, gates: tuple[GateResult, ...], rules: RefitRules) -> tuple[Outcome, str]:
    """The first look that passes every guard lets it serve; the last one rejects it, and so does evidence against it at any time."""
    blocks, failed = guarded.interval.observations, [gate for gate in gates if not gate.passed]
    size = next((gate for gate in failed if gate.gate == "size"), None)
    if size is not None or usual.interval.lower > 0.0:
        return Outcome.REJECT, usual.reason
    if blocks < rules.first_look:
        return Outcome.WAIT, f"not enough data yet for a refit: {blocks} of {rules.first_look} whole blocks"
    if failed and blocks < rules.blocks:
        return Outcome.WAIT, f"not yet, after {blocks} of {rules.blocks} whole blocks: {failed[0].sentence}"
    if failed:
        return Outcome.REJECT, f"a refit of the champion that is not good enough: {failed[0].sentence}"
    return Outcome.PROMOTE, f"a refit of the champion that passes every guard: {gates[1].sentence}"


def _probation(blocks: int, rules: RefitRules) -> GateResult:
    sentence = f"it serves on probation until {rules.blocks} whole blocks have been compared, of which {blocks} are"
    return result(PROBATION, True, blocks, rules.blocks, sentence)


def _same(refit: Refit, rules: RefitRules) -> GateResult:
    sentence = f"it has the champion's recipe, and data of {refit.more_days} days more; at least {rules.days}"
    return result(SAME, True, refit.more_days, rules.days, sentence)


def _loss_guard(usual: Verdict, rules: RefitRules) -> GateResult:
    interval, bound = usual.interval, float(np.log1p(rules.margin))
    if not interval.observations:
        return GateResult(gate=LOSS, passed=False, value="", bound=f"{bound:.6g}", sentence="no whole block has been compared yet")
    sentence = (
        f"the loss is {_percent(interval.mean)} against the champion's over {_blocks(interval.observations)}; "
        f"at most {100 * rules.margin:+.2f} % and without evidence that it is worse"
    )
    return result(LOSS, interval.mean <= bound and interval.lower <= 0.0, interval.mean, bound, sentence)


def _decline_guard(usual: Verdict, chain: Chain, rules: RefitRules) -> GateResult:
    bound = float(np.log1p(rules.decline))
    total = chain.change + (usual.interval.mean if usual.interval.observations else 0.0)
    sentence = (
        f"this refit and the {chain.refits} before it change the loss by {_percent(total)} since model {chain.anchor.hex()[:12]}; "
        f"at most {100 * rules.decline:+.2f} %"
    )
    return result(DECLINE, total <= bound, total, bound, sentence)


def _blocks(number: int) -> str:
    return "1 block" if number == 1 else f"{number} blocks"


def _percent(log_ratio: float) -> str:
    return f"{100 * float(np.expm1(log_ratio)):+.2f} %"
