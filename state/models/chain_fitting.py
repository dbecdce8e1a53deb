"""Fits the models of one horizon of a chain: first in a trial, which says how long to learn and how large the errors are.

The trial sees a part of the earlier rows; its errors over the later rows set the number of rounds and
the dispersion. Then one fit on all rows is what is served.
"""

from dataclasses import dataclass

import numpy as np

from schemas.events.rides import Bools, Float32s, Float64s
from state.models.boosted import load_booster
from state.models.chain import LEAST_ROUNDS, MOST_ROUNDS, TRIAL_PATIENCE, Link, tree_means
from state.models.fit_parameters import FitParameters
from state.models.glm import PENALTY, Glm, fit_glm


@dataclass(frozen=True, slots=True)
class Lesson:
    """The rows of one horizon.

    Attributes:
        features: float32[n, m].
        rides: float64[n], what came true.
        margin: float64[n], log of the profile.
        weights: float64[n], 1 on average.
    """

    features: Float32s
    rides: Float64s
    margin: Float64s
    weights: Float64s

    def where(self, wanted: Bools) -> "Lesson":
        """Some of the rows; a view of them where they follow one another, since features are hundreds of megabytes."""
        rows = np.flatnonzero(wanted)
        follow = len(rows) and rows[-1] - rows[0] + 1 == len(rows)
        kept = slice(rows[0], rows[-1] + 1) if follow else wanted
        return Lesson(self.features[kept], self.rides[kept], self.margin[kept], self.weights[kept])


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial found.

    Attributes:
        link: The models that were fitted to the early rows.
        means: float64[n], of the held out rows.
        rounds: For the fit on all rows.
    """

    link: Link
    means: Float64s
    rounds: int


def fit_link(lesson: Lesson, linear: tuple[int, ...], columns: tuple[int, ...], rounds: int, threads: int, fit: FitParameters) -> Link:
    """Fit one horizon; the same rows and number of threads give the same bytes.

    Args:
        linear, columns: Indices of the inputs of the linear model, and of the trees.
        fit: The parameters.
    """
    import xgboost

    glm = _linear(lesson, linear, fit)
    data = _matrix(lesson, columns, glm.log_means(lesson.features, lesson.margin), threads, fit)
    booster = xgboost.train(_parameters(threads, fit), data, rounds)
    return Link(glm, columns, bytes(booster.save_raw("ubj")), fit.tree_share, fit.tree_half_rides)


def try_link(early: Lesson, late: Lesson, linear: tuple[int, ...], columns: tuple[int, ...], threads: int, fit: FitParameters) -> Trial:
    """Fit early rows, and stop when the likelihood of the late rows no longer rises."""
    import xgboost

    glm = _linear(early, linear, fit)
    logs = glm.log_means(late.features, late.margin)
    if not len(late.rides):
        return Trial(Link(glm, columns, b""), np.exp(logs), MOST_ROUNDS)
    data = _matrix(early, columns, glm.log_means(early.features, early.margin), threads, fit)
    held_out = _matrix(late, columns, logs, threads, fit, data)
    booster = xgboost.train(
        _parameters(threads, fit),
        data,
        MOST_ROUNDS,
        evals=[(held_out, "late")],
        early_stopping_rounds=TRIAL_PATIENCE,
        verbose_eval=False,
    )
    best = booster.best_iteration + 1
    link = Link(glm, columns, bytes(booster[:best].save_raw("ubj")), fit.tree_share, fit.tree_half_rides)
    means = tree_means(load_booster(link.trees), columns, late.features, logs, link.shares(logs))
    return Trial(link, means, max(best, LEAST_ROUNDS))


def _linear(lesson: Lesson, linear: tuple[int, ...], fit: FitParameters) -> Glm:
    penalty = max(PENALTY, fit.penalty_share * float((lesson.weights * lesson.rides).sum()))
    return fit_glm(lesson.features, linear, lesson.rides, lesson.margin, lesson.weights, penalty)


def _parameters(threads: int, fit: FitParameters) -> dict[str, str | float]:
    return {**fit.booster(), "min_child_weight": fit.leaf_rides, "nthread": threads}


def _matrix(
    lesson: Lesson, columns: tuple[int, ...], logs: Float64s, threads: int, fit: FitParameters, ref: "object | None" = None
) -> "object":
    import xgboost

    return xgboost.QuantileDMatrix(
        np.ascontiguousarray(lesson.features[:, list(columns)]),
        label=lesson.rides,
        weight=lesson.weights,
        base_margin=logs.astype(np.float32),
        nthread=threads,
        max_bin=int(fit.booster()["max_bin"]),
        ref=ref,
    )
