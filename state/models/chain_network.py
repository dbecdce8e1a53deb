"""Adds a network to the models of all horizons of a chain, if a trial shows that held-out rows are forecast better with it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from schemas.events.rides import Bools, Float64s
from state.models.boosted import load_booster
from state.models.chain import Link, tree_means
from state.models.chain_fitting import Lesson, Trial
from state.models.deviance import deviance
from state.models.fit_parameters import FitParameters
from state.models.network import LoadedNetwork, Network
from state.models.network_fitting import fit_network

MOST_ROUNDS_BESIDE = 20  # of the trees beside a network: ten more cost as much time as the network, for less


def try_network(
    early: Sequence[Lesson], late: Sequence[Lesson], trials: Sequence[Trial], columns: tuple[int, ...], fit: FitParameters
) -> list[Trial]:
    """The trials with a network that was fitted to the early rows, or as they are if the late rows are forecast no better with it.

    Args:
        early, late: Of each horizon; the early ones have the same rows.
        trials: Of each horizon, on these rows.
        columns: Indices of the network's inputs.
        fit: The parameters; without a share for it there is no network.
    """
    if not fit.network_share:
        return list(trials)
    tried = add_network(early, [trial.link for trial in trials], columns, fit)
    found = []
    for i, (trial, link, rows) in enumerate(zip(trials, tried, late, strict=True)):
        found.append(Trial(link, _means(link, rows, i), min(trial.rounds, MOST_ROUNDS_BESIDE)))
    before, after = (loss_of(late, [trial.means for trial in of]) for of in (trials, found))
    return found if after < before else list(trials)


def add_network(lessons: Sequence[Lesson], links: Sequence[Link], columns: tuple[int, ...], fit: FitParameters) -> list[Link]:
    """The links with a network beside their trees, which give it a part of their share; as they are if it has no rows to learn from.

    Args:
        lessons: Of each horizon, of the same rows.
    """
    first = lessons[0]
    if not fit.network_share or not columns or not len(first.rides):
        return list(links)
    rides = np.stack([lesson.rides for lesson in lessons], axis=1)
    logs = np.stack([link.glm.log_means(of.features, of.margin) for link, of in zip(links, lessons, strict=True)], axis=1)
    network = fit_network(
        first.features, columns, rides, logs, first.weights, share=fit.tree_share * fit.network_share, decay=fit.network_decay
    )
    return [beside(link, network, fit) for link in links]


def some_of(lessons: Sequence[Lesson], wanted: Bools) -> list[Lesson]:
    """Some rows of the lessons of all horizons, with one copy of their features."""
    first = lessons[0].where(wanted)
    return [first, *(Lesson(first.features, of.rides[wanted], of.margin[wanted], first.weights) for of in lessons[1:])]


def beside(link: Link, network: Network, fit: FitParameters) -> Link:
    """A link whose trees give a part of their share to a network; the last of many rounds are left out."""
    booster = load_booster(link.trees)
    few = booster.num_boosted_rounds() <= MOST_ROUNDS_BESIDE
    trees = link.trees if few else bytes(booster[:MOST_ROUNDS_BESIDE].save_raw("ubj"))
    return replace(link, trees=trees, share=fit.tree_share * (1.0 - fit.network_share), network=network)


def _means(link: Link, lesson: Lesson, i: int) -> Float64s:
    """Means of rows with the output of horizon i of the network."""
    logs = link.glm.log_means(lesson.features, lesson.margin)
    added = None if link.network is None else link.network_shares(logs) * LoadedNetwork(link.network).logs(lesson.features)[:, i]
    return tree_means(load_booster(link.trees), link.columns, lesson.features, logs, link.shares(logs), added)


def loss_of(lessons: Sequence[Lesson], means: Sequence[Float64s]) -> float:
    """Deviance as a share of the profile's, averaged over the horizons."""
    return float(
        np.mean([deviance(of.rides, m) / max(deviance(of.rides, np.exp(of.margin)), 1e-9) for of, m in zip(lessons, means, strict=True)])
    )
