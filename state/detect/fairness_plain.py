"""What fairness found as plain data: the JSON of `ridecast fairness --json` and of the API."""

from schemas.regions import Region
from schemas.times import iso
from state.detect.fairness import MEASURE, Estimate, Fairness, sentence


def plain_fairness(region: Region, measure: str, issues: list[int], found: Fairness) -> dict[str, object]:
    """Measures, gaps and the sentence, for JSON.

    Args:
        issues: Slots of the issues that were read, ascending.
    """
    return {
        "region": region.id,
        "measure": measure,
        "from": iso((issues[0] + 1) * region.slot_us) if issues else None,
        "until": iso((issues[-1] + 1) * region.slot_us) if issues else None,
        "issues": len(issues),
        "sentence": sentence(found),
        "clearly_beyond_bound": clearly_beyond(found),
        "classes": [
            {
                "attribute": row.attribute or None,
                "class": row.name,
                "horizon_min": row.horizon_min,
                "days": row.days,
                "pairs": row.pairs,
                "rides": row.rides,
                "enough_data": row.enough,
            }
            | {name: _numbers(estimate) for name, estimate in row.estimates.items()}
            for row in found.rows
        ],
        "gaps": [
            {
                "attribute": gap.attribute,
                "horizon_min": gap.horizon_min,
                "measure": gap.measure,
                "highest": gap.highest,
                "lowest": gap.lowest,
                "gap": _numbers(gap.gap),
                "bound": MEASURE[gap.measure].bound,
            }
            for gap in found.gaps
        ],
    }


def clearly_beyond(found: Fairness) -> bool:
    """Whether the interval of a gap that does not depend on how busy cells are lies beyond its bound."""
    judged = ((MEASURE[gap.measure], gap.gap.low) for gap in found.gaps)
    return any(not measure.by_level and low is not None and low > measure.bound for measure, low in judged)


def _numbers(estimate: Estimate) -> dict[str, float | None]:
    numbers = (("value", estimate.value), ("low", estimate.low), ("high", estimate.high))
    return {name: None if value is None else round(value, 6) for name, value in numbers}
