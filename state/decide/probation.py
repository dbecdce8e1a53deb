"""Whether a refit that serves on probation may stay: the guards over all blocks of its trial, with the champion before as its shadow.

The losses are those of the trial and of the days on which it served, so that what decides is what would have decided about a trial
of as many blocks. The champion before serves again when a guard fails at the end, or earlier when the refit seems much worse.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from schemas.records.records import Category, Cause, GateResult, ModelPromoted
from state.decide.promotion import Outcome, PromotionRules, Trial, Verdict, judge, result
from state.decide.refits import CONFIRMED, LOSS, PROBATION, Chain, RefitRules, chain_of, first_blocks, guards

LEFT_OUT = ("size", "latency")  # gates about the artefact, which were judged before it served


def probation_of(champion: bytes, promotions: Sequence[ModelPromoted]) -> ModelPromoted | None:
    """The promotion by which the champion serves on probation; None if it does not.

    A later decision on the same champion ends it: that it passed, or a command. Promotions of releases before probations have none.

    Args:
        promotions: Of the region and measure, in order.
    """
    if not promotions or promotions[-1].model != champion or promotions[-1].cause != Cause.GATES:
        return None
    return promotions[-1] if any(gate.gate == PROBATION for gate in promotions[-1].evidence) else None


def is_confirmation(record: ModelPromoted) -> bool:
    """Whether a record only says that a refit has passed its probation, and changes no champion."""
    return any(gate.gate == CONFIRMED for gate in record.evidence)


def chain_before(probation: ModelPromoted, promotions: Sequence[ModelPromoted]) -> Chain:
    """The row of refits that made the champion before the one on probation."""
    return chain_of(probation.replaced, [record for record in promotions if record is not probation])


def judge_probation(watch: Trial, before: Chain, rules: PromotionRules, refit_rules: RefitRules) -> Verdict:
    """Judge a refit on probation as it stands: PROMOTE says that it passed, REJECT that the champion before shall serve again.

    Args:
        watch: Of the champion before, as the challenger of the refit, with the blocks of the trial of the refit.
        before: The row of refits that made the champion before.
    Raises:
        UsageError: the watch has no region.
    """
    trial = replace(watch, losses={region: losses.turned() for region, losses in watch.losses.items()}, close_ms=None)
    usual, seen = judge(trial, rules), first_blocks(trial, refit_rules.blocks)
    guarded = judge(seen, rules)
    gates = tuple(gate for gate in guards(seen, guarded, before, rules=refit_rules) if gate.gate not in LEFT_OUT)
    outcome, reason = _decide(usual, guarded, gates, refit_rules)
    if outcome is Outcome.PROMOTE:
        gates = (_confirmed(guarded.interval.observations, refit_rules), *gates)
    return replace(guarded, outcome=outcome, reason=reason, gates=gates, category=Category.REFIT)


def _decide(usual: Verdict, guarded: Verdict, gates: tuple[GateResult, ...], rules: RefitRules) -> tuple[Outcome, str]:
    blocks, failed = guarded.interval.observations, [gate for gate in gates if not gate.passed]
    loss = next(gate for gate in gates if gate.gate == LOSS)
    if usual.interval.lower > 0.0:
        return Outcome.REJECT, f"the refit on probation is worse for certain: {loss.sentence}"
    if blocks >= rules.blocks:
        if failed:
            return Outcome.REJECT, f"the refit on probation is not good enough: {failed[0].sentence}"
        return Outcome.PROMOTE, f"the refit passed its probation: {loss.sentence}"
    if blocks and guarded.interval.mean > early_bound(blocks, rules):
        most = 100 * float(np.expm1(early_bound(blocks, rules)))
        return Outcome.REJECT, f"the refit on probation seems much worse, by more than {most:.2f} %: {loss.sentence}"
    return Outcome.WAIT, f"on probation: {blocks} of {rules.blocks} whole blocks"


def early_bound(blocks: int, rules: RefitRules) -> float:
    """Mean log of the relative loss over the first blocks beyond which a probation ends early.

    >>> [round(early_bound(n, RefitRules()), 4) for n in (1, 2, 3, 4)]
    [0.02, 0.0141, 0.0115, 0.01]
    """
    return float(np.log1p(rules.margin) * rules.early / np.sqrt(blocks))


def _confirmed(blocks: int, rules: RefitRules) -> GateResult:
    sentence = f"it has served on probation, and {blocks} whole blocks have been compared; at least {rules.blocks}"
    return result(CONFIRMED, True, blocks, rules.blocks, sentence)
