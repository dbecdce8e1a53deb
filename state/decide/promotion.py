"""Whether a challenger takes the champion's place: gates over a trial's paired losses, and what follows from them.

A trial may be looked at after every block: the interval of the paired loss is valid at all looks together, and every
other gate can only make a promotion rarer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from schemas.errors import UsageError
from schemas.events.rides import Float64s, Int64s
from schemas.records.records import Category, GateResult
from state.decide.paired import BANDS, CHALLENGER, CHAMPION, LOSSES, PairedLosses
from state.decide.sequential import Interval, half_width

AT_BOUND = 0.4  # deviation that a block at the bound adds, in bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionRules:
    """Bounds of the gates.

    Attributes:
        error_rate: Chance that the interval of the paired loss misses the truth at any look; a promotion uses one side of it.
        effect_sd: Where that interval is narrowest; see `valid_interval`.
        least_gain: Relative loss by which a challenger must be better, for certain. Two trainings that differ only in their
            seed differ by less, day after day.
        largest: Relative loss of a block beyond which it counts as this.
        least_blocks, most_blocks: Before the first no promotion; after the last a challenger without evidence is rejected.
        worse_slice: Relative loss that a horizon in a band, or a region, may lose in a promotion.
        bias: Relative bias that is always accepted.
        bias_beyond: Relative bias by which it may exceed the champion's, in trials of few days, whose demand biases both alike.
        coverage: Shares of the 80 % interval that are always accepted.
        slower: Time of a close that is accepted, over the champion's.
        size_bytes: Largest artefact.
    """

    error_rate: float = 0.05
    effect_sd: float = 2.0
    least_gain: float = 0.005
    largest: float = 0.05
    least_blocks: int = 3
    most_blocks: int = 21
    worse_slice: float = 0.02
    bias: float = 0.03
    bias_beyond: float = 0.0
    coverage: tuple[float, float] = (0.74, 0.86)
    slower: float = 1.5
    size_bytes: int = 64 * 2**20

    def __post_init__(self) -> None:
        if not 1 <= self.least_blocks <= self.most_blocks:
            raise UsageError(f"promotion: expected 1 <= least blocks <= most blocks, got {self.least_blocks} and {self.most_blocks}")


class Outcome(StrEnum):
    """What follows from a trial."""

    PROMOTE = "promote"
    REJECT = "reject"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from a trial, why in one sentence, the result of every gate, and what the gates asked for."""

    outcome: Outcome
    reason: str
    gates: tuple[GateResult, ...]
    interval: Interval
    category: Category = Category.IMPROVEMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is known of a challenger and a champion.

    Attributes:
        losses: Paired losses, per region where the two serve several.
        until_slot: First slot that is not over yet; blocks that end after it do not count.
        close_ms: Median time of a close, (champion, challenger); None in a bounded run, whose records must not depend on time.
        size_bytes: Of the challenger's artefact.
        verdicts: Gates that others judged, such as fairness.
    """

    losses: dict[str, PairedLosses]
    until_slot: int
    size_bytes: int
    close_ms: tuple[float, float] | None = None
    verdicts: tuple[GateResult, ...] = ()


def judge(trial: Trial, rules: PromotionRules) -> Verdict:
    """Judge a trial as it stands.

    Raises:
        UsageError: it has no region.
    """
    if not trial.losses:
        raise UsageError("promotion: expected the paired losses of at least one region, got none")
    rows = {region: losses.whole(trial.until_slot) for region, losses in trial.losses.items()}
    interval = evidence_of(_by_block(trial, rows), rules)
    loss = _loss_gate(interval, rules)
    size = _size_gate(trial.size_bytes, rules)
    gates = [loss, size, *trial.verdicts]
    if any(len(found) for found in rows.values()):
        gates += [slice_gate(trial, rules.worse_slice), _bias_gate(trial, rows, rules), _coverage_gate(trial, rows, rules)]
    if trial.close_ms is not None:
        gates.append(_latency_gate(*trial.close_ms, rules))
    outcome, reason = _decide(interval, loss, size, [gate for gate in gates if not gate.passed], rules)
    return Verdict(outcome, reason, tuple(gates), interval)


def evidence_of(differences: Float64s, rules: PromotionRules) -> Interval:
    """The interval of the mean log of the relative loss, with no block counted beyond `largest` either way.

    Without that bound a few days of a very large and uneven gain, as after a shift, have such a deviation that nothing can be said.
    A block at the bound adds to the variance as much as keeps six equal tosses of a coin from being evidence by less than one
    in sixty: else four bad days in a row of a champion in a small town would be.

    Args:
        differences: float64[n], log of the challenger's loss over the champion's.
    """
    n = len(differences)
    bound = float(np.log1p(rules.largest))
    values = np.clip(differences, -bound, bound)
    mean = float(values.mean()) if n else float("nan")
    if n < 2:
        return Interval(mean, -np.inf, np.inf, n)
    at_bound = float((np.abs(differences) >= bound).mean())
    deviation = float(np.sqrt(values.var(ddof=1) + at_bound * (AT_BOUND * bound) ** 2))
    half = half_width(n, deviation, error_rate=rules.error_rate, effect_sd=rules.effect_sd)
    return Interval(mean, mean - half, mean + half, n)


def _decide(
    interval: Interval, loss: GateResult, size: GateResult, failed: Sequence[GateResult], rules: PromotionRules
) -> tuple[Outcome, str]:
    """The outcome and its sentence; rules apply in this order."""
    blocks = interval.observations
    if not size.passed:
        return Outcome.REJECT, size.sentence
    if interval.lower > 0.0:
        return Outcome.REJECT, f"it is worse than the champion: {loss.sentence}"
    if blocks >= rules.least_blocks and not failed:
        return Outcome.PROMOTE, f"it passes every gate: {loss.sentence}"
    if blocks >= rules.most_blocks:
        why = loss if not loss.passed else failed[0]
        return Outcome.REJECT, f"no evidence for it after {blocks} blocks: {why.sentence}"
    if blocks < rules.least_blocks:
        return Outcome.WAIT, f"not enough data yet: {blocks} of at least {rules.least_blocks} whole blocks"
    return Outcome.WAIT, f"not yet: {failed[0].sentence}"


def _by_block(trial: Trial, rows: dict[str, Int64s]) -> Float64s:
    """Log of the relative loss per block, the mean over the regions that have the block whole: float64[n], in order of blocks."""
    found: dict[int, list[float]] = {}
    for region, losses in trial.losses.items():
        for block, value in zip(losses.blocks[rows[region]].tolist(), losses.differences(rows[region]).tolist(), strict=True):
            found.setdefault(block, []).append(value)
    return np.array([float(np.mean(found[block])) for block in sorted(found)])


def _loss_gate(interval: Interval, rules: PromotionRules) -> GateResult:
    bound = float(np.log1p(-rules.least_gain))
    if not np.isfinite(interval.upper):
        sentence = f"the paired loss cannot be told from the champion's after {interval.observations} blocks"
        return result("paired loss", False, interval.mean, bound, sentence)
    low, mean, high = (100.0 * float(np.expm1(value)) for value in (interval.lower, interval.mean, interval.upper))
    sentence = (
        f"the loss is {mean:+.2f} % against the champion's over {interval.observations} blocks, between {low:+.2f} and {high:+.2f} %, "
        f"no block counted beyond {100 * rules.largest:g} %; "
        f"the upper end must be below {-100 * rules.least_gain:+.2f} %"
    )
    return result("paired loss", interval.upper < bound, interval.upper, bound, sentence)


def slice_gate(trial: Trial, worse_slice: float) -> GateResult:
    """The worst region, horizon, band and kind of loss, pooled over the trial."""
    worst, where = -np.inf, ""
    for region, losses in trial.losses.items():
        total = losses.losses[losses.whole(trial.until_slot)].sum(axis=0)  # [2 forecasters, 2 losses, h, bands]
        champion, challenger = total[CHAMPION], total[CHALLENGER]
        change = np.divide(challenger, champion, out=np.ones(champion.shape), where=champion > 0) - 1.0
        kind, horizon, band = np.unravel_index(int(np.argmax(change)), change.shape)
        if change[kind, horizon, band] > worst:
            worst = float(change[kind, horizon, band])
            where = f"{region}, {losses.horizons_min[horizon]} min, {BANDS[band]} cells, {LOSSES[kind]}"
    sentence = f"at worst the loss is {100 * worst:+.2f} % against the champion's ({where}); at most {100 * worse_slice:+.2f} %"
    return result("worst slice", worst <= worse_slice, worst, worse_slice, sentence)


def _bias_gate(trial: Trial, rows: dict[str, Int64s], rules: PromotionRules) -> GateResult:
    """The largest relative bias of any horizon; it need not be smaller than the champion's."""
    means = np.sum([losses.means[rows[region]].sum(axis=(0, 3)) for region, losses in trial.losses.items()], axis=0)  # [2, h]
    truth = np.sum([losses.truth[rows[region]].sum(axis=(0, 2)) for region, losses in trial.losses.items()], axis=0)  # [h]
    bias = np.divide(means, truth, out=np.ones(means.shape), where=truth > 0) - 1.0
    at = int(np.argmax(np.abs(bias[CHALLENGER])))
    value = float(bias[CHALLENGER, at])
    bound = max(rules.bias, float(np.abs(bias[CHAMPION]).max()) + rules.bias_beyond)
    sentence = f"its forecasts are {100 * value:+.2f} % off in total; at most {100 * bound:.2f} % either way"
    return result("bias", abs(value) <= bound, value, bound, sentence)


def _coverage_gate(trial: Trial, rows: dict[str, Int64s], rules: PromotionRules) -> GateResult:
    """Share of counts inside the 80 % interval, by randomised PIT; it need not be nearer than the champion's."""
    inside = np.sum([losses.inside[rows[region]].sum(axis=(0, 2, 3)) for region, losses in trial.losses.items()], axis=0)  # [2]
    pairs = max(float(np.sum([losses.pairs[rows[region]].sum() for region, losses in trial.losses.items()])), 1.0)
    low, high = rules.coverage
    champion, challenger = (inside / pairs).tolist()
    low, high = min(low, champion), max(high, champion)
    sentence = f"its 80 % intervals cover {100 * challenger:.1f} % of counts; between {100 * low:.1f} and {100 * high:.1f} %"
    return result("calibration", low <= challenger <= high, challenger, low if challenger < 0.8 else high, sentence)


def _latency_gate(champion_ms: float, challenger_ms: float, rules: PromotionRules) -> GateResult:
    bound = rules.slower * champion_ms
    sentence = f"a close takes it {challenger_ms:.1f} ms; at most {bound:.1f} ms, {rules.slower:g} times the champion's"
    return result("latency", challenger_ms <= bound, challenger_ms, bound, sentence)


def _size_gate(size_bytes: int, rules: PromotionRules) -> GateResult:
    sentence = f"its artefact has {size_bytes:,} bytes; at most {rules.size_bytes:,}"
    return result("size", size_bytes <= rules.size_bytes, size_bytes, rules.size_bytes, sentence)


def result(gate: str, passed: bool, value: float, bound: float, sentence: str) -> GateResult:
    """The result of a gate, with its numbers as a record keeps them."""
    return GateResult(gate=gate, passed=bool(passed), value=f"{value:.6g}", bound=f"{bound:.6g}", sentence=sentence)
