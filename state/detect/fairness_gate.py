"""Whether a challenger treats the classes of a region more unequally than the champion: a gate before its promotion."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from schemas.errors import ContractError
from schemas.records.records import GateResult
from state.detect.fairness import (
    DRAWS,
    MEASURE,
    MEASURES,
    Estimate,
    FairnessSums,
    drawn,
    enough_data,
    estimate_of,
    measures_of,
    members_of,
    points,
    weights_of,
)

NAME = "fairness"


@dataclass(frozen=True, slots=True)
class Widening:
    """By how much a gap between classes is wider with the challenger.

    Attributes:
        widened: Gap of the challenger less that of the champion, with the interval over the same days.
        before, after: The two gaps.
        moved: The class at an end of the wider gap that moved further towards it.
        bound: What `widened` may be.
    """

    attribute: str
    horizon_min: int
    measure: str
    widened: Estimate
    before: float
    after: float
    moved: str
    moved_from: float
    moved_to: float
    bound: float

    @property
    def fails(self) -> bool:
        """Whether the gap widens by more than its bound, and by more than chance explains."""
        value, low = self.widened.value, self.widened.low
        return value is not None and low is not None and value > self.bound and low > 0.0


def widenings(
    champion: FairnessSums, challenger: FairnessSums, *, seed: int, bounds: Mapping[str, float] | None = None, draws: int = DRAWS
) -> tuple[Widening, ...]:
    """Every gap that can be compared: of classes with enough data, in the same issues of both.

    Args:
        champion, challenger: Sums over the same issues and cells.
        seed: Of the draws; both are drawn on the same days.
        bounds: By name of the measure; by default that of the measure.
    Raises:
        ContractError: the two were not counted on the same issues.
    """
    if (champion.names, champion.horizons_min, champion.days) != (challenger.names, challenger.horizons_min, challenger.days):
        raise ContractError("fairness: expected champion and challenger with the same classes, horizons and days, got others")
    before, after = champion.of_days(champion.days), challenger.of_days(challenger.days)
    if not np.array_equal(before[..., :2], after[..., :2]):  # pairs and truth
        raise ContractError("fairness: expected champion and challenger with the same issues and truths, got others")
    weights = weights_of(len(before), seed=seed, draws=draws)
    values = [measures_of(sums.sum(axis=0)) for sums in (before, after)]
    spread = [measures_of(drawn(sums, weights)) for sums in (before, after)]
    enough = enough_data(before)
    found = []
    for attribute, members in members_of(champion.names).items():
        for i, horizon_min in enumerate(champion.horizons_min):
            judged = [group for group in members if enough[i, group]]
            if len(judged) < 2:
                continue
            for k, measure in enumerate(MEASURES):
                old, new = (value[i, judged, k] for value in values)
                change = np.ptp(spread[1][:, i, judged, k], axis=1) - np.ptp(spread[0][:, i, judged, k], axis=1)
                top, bottom = int(np.argmax(new)), int(np.argmin(new))
                moved = top if new[top] - old[top] >= old[bottom] - new[bottom] else bottom
                found.append(
                    Widening(
                        attribute,
                        horizon_min,
                        measure.name,
                        estimate_of(float(np.ptp(new) - np.ptp(old)), change),
                        float(np.ptp(old)),
                        float(np.ptp(new)),
                        champion.names[judged[moved]][1],
                        float(old[moved]),
                        float(new[moved]),
                        measure.bound if bounds is None else bounds.get(measure.name, measure.bound),
                    )
                )
    return tuple(found)


def gate(
    champion: FairnessSums, challenger: FairnessSums, *, seed: int, bounds: Mapping[str, float] | None = None, draws: int = DRAWS
) -> GateResult:
    """Whether the challenger may serve as far as fairness goes; the verdict names the gap that widens most in units of its bound.

    Raises:
        ContractError: as `widenings`.
    """
    found = [one for one in widenings(champion, challenger, seed=seed, bounds=bounds, draws=draws) if one.widened.value is not None]
    if not found:
        said = "not judged, because no two classes of an attribute have enough data"
        return GateResult(gate=NAME, passed=True, value="", bound="", sentence=said)
    worst = max(found, key=lambda one: (one.fails, (one.widened.value or 0.0) / one.bound))
    value = worst.widened.value or 0.0
    title = MEASURE[worst.measure].title
    if value <= 0.0:
        said = f"no gap between classes widens; the {len(found)} measured ones stay or narrow"
        return _result(True, value, worst.bound, said)
    means = "more than" if worst.fails else "not clearly more than" if value > worst.bound else "within"
    said = (
        f"where {worst.attribute} is {worst.moved!r} the {title} at {worst.horizon_min} min goes from "
        f"{worst.moved_from:.1%} to {worst.moved_to:.1%}; the gap between classes goes from {100 * worst.before:.1f} to "
        f"{100 * worst.after:.1f} points and widens by {points(worst.widened)}, {means} the bound of {100 * worst.bound:.1f}"
    )
    return _result(not worst.fails, value, worst.bound, said)


def _result(passed: bool, value: float, bound: float, sentence: str) -> GateResult:
    return GateResult(gate=NAME, passed=passed, value=f"{value:.6g}", bound=f"{bound:.6g}", sentence=sentence)
