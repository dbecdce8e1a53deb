"""Why a forecast is what it is: terms that add up to the served number, exactly.

A mean is a base times factors, so the log of the mean is the log of the base plus one term for each reason. People
think in rides: each term gets its share of the difference between the served number and the base, by the logarithmic
mean of the two (`logarithmic_mean`), so that the shares add up too. What limits and rounding changed is a term of its own.

The base is the cell's mean over four weeks. Forecasts that no trained model made have one term, on top of the profile
of earlier weeks that is served with every forecast. `Boosted.contributions` and its like give the terms of a model.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from schemas.errors import ContractError
from schemas.events.rides import Float32s, Float64s, Int64s
from schemas.records.records import Fallback
from state.demand.feature_table import FeatureTable
from state.demand.groups import Group

RATE = "rate_month"  # feature with the base: mean rides per hour over four weeks
LEAST_RIDES = 1e-4  # base and mean, so that their logs are finite; far below the 1/1000 ride that is served
HALF_MILLI = 0.0005 + 1e-9  # what rounding to 1/1000 ride changes at most
CLOSE = 1e-3  # of a log: a sum of thousands of float32 values; more is a mistake

FOUR_WEEKS = "mean of the cell over the last four weeks"
PROFILE = "mean of the cell at this time in earlier weeks"
MODEL = "the model's general level"
ONLINE = "correction from the latest errors"
MIXED = "ensemble"  # followed by the weights
MEMBERS = {"model": "model", "corrected": "corrected model", "profile": "profile"}  # of an ensemble, in words
LEAST_WEIGHT = 0.1  # of the corrected model, for its mean to follow from the served one
LIMITS = "limits and rounding"
MODELS: dict[Fallback, str] = {
    Fallback.NONE: MODEL,
    Fallback.PARENT: "forecast of the parent region's model",
    Fallback.GLOBAL: "forecast of the global model",
    Fallback.QUIET: "few rides: shares of the parent cell's profile, the last hour and the last day",
    Fallback.BASELINE: "no trained model: no change to the profile",
    Fallback.LEVEL: "no trained model, or too little history for it: the current level of demand",
}


@dataclass(frozen=True, slots=True)
class Contributions:
    """Terms of a trained model for n cells at one horizon: log mean = profile + average + the sum of the features.

    Attributes:
        profile: float64[n], log of the rides from which the model starts.
        average: float64[n], what the model adds whatever the features are.
        features: float64[n, n_features], what each feature adds.
    """

    profile: Float64s
    average: Float64s
    features: Float64s


class Explained(Protocol):
    """A trained model whose means are sums of terms in the log."""

    @property
    def table(self) -> FeatureTable:
        """The columns of its feature matrix."""

    def means(self, features: Float32s) -> Float64s:
        """Means before corrections: float64[n, n_horizons], rides > 0."""

    def contributions(self, features: Float32s, i: int) -> Contributions:
        """The terms of the means of horizon i, before limits and corrections."""


@dataclass(frozen=True, slots=True)
class Mixed:
    """How the mean of one cell and horizon was mixed; see `state.models.ensemble`.

    Attributes:
        weights: Of each member, by name; they sum to 1.
        profile: What the profile says, rides.
    """

    weights: Mapping[str, float]
    profile: float

    @property
    def reason(self) -> str:
        """In words.

        >>> Mixed({"model": 0.03, "corrected": 0.94, "profile": 0.03}, 1.0).reason
        'ensemble: model 3.0 %, corrected model 94.0 %, profile 3.0 %'
        """
        return f"{MIXED}: " + ", ".join(f"{MEMBERS.get(name, name)} {100 * weight:.1f} %" for name, weight in self.weights.items())

    def corrected(self, mean: float, served: float) -> float:
        """Mean of the corrected model, from those of the model and of the ensemble: the model's where its weight is too small to tell."""
        weight = self.weights.get("corrected", 0.0)
        if weight < LEAST_WEIGHT:
            return mean
        other = self.weights.get("model", 0.0) * mean + self.weights.get("profile", 0.0) * self.profile
        found = (served - other) / weight
        # A change that rounding explains is not called a correction.
        return mean if abs(found - mean) <= 2 * HALF_MILLI / weight else max(found, LEAST_RIDES)


@dataclass(frozen=True, slots=True)
class Part:
    """One feature of a term.

    Attributes:
        value: Of the feature; None if it is not known.
        log, rides: As in `Term`.
    """

    feature: str
    meaning: str
    value: float | None
    log: float
    rides: float


@dataclass(frozen=True, slots=True)
class Term:
    """One reason.

    Attributes:
        reason: In words.
        log: What it adds to the log of the mean; the mean is multiplied by exp(log).
        rides: Its share of the difference between the served number and the base.
        parts: Features that make up the term, or most of it, largest first.
    """

    reason: str
    log: float
    rides: float
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """A served mean as a base and terms: served = base + the sum of the rides of all terms.

    Attributes:
        base: Rides in the window.
        base_is: The base in words.
        terms: Largest first, by rides.
        served: Rides, to 1/1000.
    """

    base: float
    base_is: str
    terms: tuple[Term, ...]
    served: float


def explain_model(
    model: Explained, features: Float32s, i: int, horizon_min: int, served_milli: Int64s, mixed: Sequence[Mixed] = ()
) -> list[Explanation]:
    """Explain forecasts that a trained model made.

    Args:
        features: float32[n, n_features], rows of the matrix that the issue recorded.
        i, horizon_min: Index and length of the horizon.
        served_milli: int64[n], served means, 1/1000 ride.
        mixed: How the ensemble mixed each of them; empty without one.
    Raises:
        ContractError: the matrix has other columns than the model, or the terms do not add up to the model's mean.
    """
    if features.shape[1] != len(model.table):
        raise ContractError(f"explanation: expected a matrix of {len(model.table)} features, got {features.shape[1]}")
    found, groups = model.contributions(features, i), model.table.groups
    means = model.means(features)[:, i]
    bases = features[:, model.table.names.index(RATE)].astype(np.float64) * (horizon_min / 60)
    out = []
    for row, (mean, base, served) in enumerate(zip(means.tolist(), bases.tolist(), (served_milli / 1000).tolist(), strict=True)):
        of_row = Contributions(found.profile[row], found.average[row], found.features[row])
        how = mixed[row] if mixed else None
        out.append(_explanation(model.table, groups, features[row], of_row, mean, max(base, LEAST_RIDES), served, how))
    return out


def _explanation(
    table: FeatureTable,
    groups: Sequence[Group],
    values: Float32s,
    found: Contributions,
    mean: float,
    base: float,
    served: float,
    mixed: Mixed | None,
) -> Explanation:
    """The explanation of one forecast from the contributions of its row."""
    log_base, log_mean = math.log(base), math.log(mean)
    profile, average, added = float(found.profile), float(found.average), found.features.tolist()
    left = log_mean - math.fsum((profile, average, *added))
    if abs(left) > CLOSE and not _at_a_limit(mean):
        raise ContractError(f"explanation: expected terms that add up to the log of the mean {log_mean:.6f}, got {log_mean - left:.6f}")
    # A change that rounding explains is not called a correction.
    last = mean if abs(mean - served) <= HALF_MILLI else max(served, LEAST_RIDES)
    corrected = last if mixed is None else mixed.corrected(mean, served)
    share = logarithmic_mean(last, base)
    logs: dict[str, float] = {Group.USUAL: profile - log_base, MODEL: average}
    parts: dict[str, list[Part]] = {}
    for feature, group, value, log in zip(table.features, groups, values.tolist(), added, strict=True):
        logs[group] = logs.get(group, 0.0) + log
        known = None if math.isnan(value) else value
        parts.setdefault(group, []).append(Part(feature.name, feature.meaning, known, log, log * share))
    logs[ONLINE] = math.log(corrected / mean)
    if mixed is not None:
        logs[mixed.reason] = math.log(last / corrected)
    terms = [Term(reason, log, log * share, _largest(parts.get(reason, ()))) for reason, log in logs.items()]
    terms.append(Term(LIMITS, left, left * share + served - last))
    return Explanation(base, FOUR_WEEKS, _ordered(terms), served)


def explain_fallback(fallback: Fallback, baseline_milli: int, served_milli: int) -> Explanation:
    """Explain a forecast that no trained model made: the profile of earlier weeks, and what its model made of it.

    >>> found = explain_fallback(Fallback.QUIET, 100, 150)
    >>> found.base, found.served, [(term.reason[:8], round(term.rides, 3)) for term in found.terms]
    (0.1, 0.15, [('few ride', 0.05)])
    """
    base, served = baseline_milli / 1000, served_milli / 1000
    log = math.log(max(served, LEAST_RIDES) / max(base, LEAST_RIDES))
    return Explanation(base, PROFILE, (Term(MODELS[fallback], log, served - base),), served)


def logarithmic_mean(a: float, b: float) -> float:
    """The logarithmic mean of two positive numbers: (a - b) / log(a / b), between them; a for a = b.

    Source:
        B. W. Ang (2005), The LMDI approach to decomposition analysis: a practical guide, Energy Policy 33: with these
        weights the effects of factors add up to the difference, without a rest.

    >>> logarithmic_mean(2.0, 2.0)
    2.0
    >>> round(logarithmic_mean(1.0, 4.0), 6)
    2.164043
    """
    log = math.log(a / b)
    if abs(log) < 1e-6:  # here the quotient loses digits; the error of the geometric mean is below 1e-13 of it
        return math.sqrt(a * b)
    return (a - b) / log


def _at_a_limit(mean: float) -> bool:
    return mean <= LEAST_RIDES or mean >= 1 / LEAST_RIDES


def _largest(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The parts that change anything, largest first."""
    return tuple(sorted((part for part in parts if part.log), key=lambda part: -abs(part.log)))


def _ordered(terms: Sequence[Term]) -> tuple[Term, ...]:
    return tuple(sorted(terms, key=lambda term: -abs(term.rides)))
