"""The linear model of the log rate from its definition: one row at a time, in pure Python."""

import math
from collections.abc import Sequence

CLIP, PENALTY = 6.0, 100.0


def moments(column: Sequence[float]) -> tuple[float, float]:
    """Mean and deviation of the values that are known."""
    known = [value for value in column if not math.isnan(value)]
    centre = sum(known) / len(known)
    return centre, math.sqrt(sum((value - centre) ** 2 for value in known) / len(known))


def inputs_of(row: Sequence[float], centres: Sequence[float], scales: Sequence[float]) -> list[float]:
    """Standardised inputs of one row, at most 6 deviations from the mean; 0 for one that is not known."""
    scaled = [(value - centre) / scale for value, centre, scale in zip(row, centres, scales, strict=True)]
    return [0.0 if math.isnan(value) else max(-CLIP, min(CLIP, value)) for value in scaled]


def log_mean(inputs: Sequence[float], margin: float, intercept: float, coefficients: Sequence[float]) -> float:
    """Log of the mean of one row."""
    return margin + intercept + sum(c * value for c, value in zip(coefficients, inputs, strict=True))


def slopes(
    rows: Sequence[Sequence[float]],
    rides: Sequence[float],
    margins: Sequence[float],
    weights: Sequence[float],
    intercept: float,
    coefficients: Sequence[float],
) -> list[float]:
    """Derivatives of the penalised log likelihood by each coefficient and by the intercept: all 0 where it is highest."""
    out = [-PENALTY * c for c in coefficients] + [0.0]
    for row, y, margin, weight in zip(rows, rides, margins, weights, strict=True):
        rest = weight * (y - math.exp(log_mean(row, margin, intercept, coefficients)))
        for i, value in enumerate((*row, 1.0)):
            out[i] += rest * value
    return out
