"""Levels of the other measures that a region counts, for the cells of one measure.

A table of features is fixed, and regions count different measures. So the other measures are grouped by what their events
say (`schemas.events.measures.Says`): the features of a group see the sum of its measures.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from schemas.events.measures import Says, measure_named
from schemas.events.rides import Float64s, Int64s
from state.demand.levels import HALF_LIVES_MIN

if TYPE_CHECKING:
    from state.demand.history import CountHistory
    from state.demand.windows import SlotWindows

SMALL_RIDES = 1.0  # added to both sides of a level
NEAR = 0  # index in `state.demand.around.KERNELS_KM`


class OtherMeasures:
    """Levels of the measures beside one history, for the cells of one build, after one closed slot."""

    def __init__(self, windows: "SlotWindows") -> None:
        self._w = windows
        self._found: dict[Says, Levels] = {}

    def of(self, says: Says) -> "Levels | None":
        """The levels of a group of measures; None if the region counts no other measure of this group."""
        if says not in self._found:
            beside = sorted(self._w.history.beside.items())
            histories = [history for name, history in beside if measure_named(name).says is says]
            if not histories:
                return None
            self._found[says] = Levels(self._w, histories)
        return self._found[says]


class Levels:
    """Log ratio of decayed counts to the decayed profile, summed over some histories: float64[half-lives, n] each."""

    def __init__(self, windows: "SlotWindows", histories: "list[CountHistory]") -> None:
        self._w, self._histories = windows, histories

    @cached_property
    def _everywhere(self) -> Float64s:
        """Counts, then profile, in every cell of the measure that is forecast: float64[cells, 2 * half-lives]."""
        cells = self._w.history.cells
        out = np.zeros((len(cells), 2 * len(HALF_LIVES_MIN)))
        for history in self._histories:
            _add(out, np.concatenate(history.levels.own).T, history.columns_of(cells))
        return out

    @cached_property
    def own(self) -> Float64s:
        """Of each cell."""
        return _log_ratio(self._everywhere[self._w.columns])

    @cached_property
    def near(self) -> Float64s:
        """Of the cells around each cell; those where the measure that is forecast has no ride are left out."""
        return _log_ratio(self._w.history.around(NEAR, self._w.columns, self._everywhere))

    @cached_property
    def parent(self) -> Float64s:
        """Of the parent cell of each cell."""
        history = self._w.history
        out = np.zeros((len(self._w.columns), 2 * len(HALF_LIVES_MIN)))
        cells = history.cells[self._w.columns]
        for other in self._histories:
            _add(out, np.concatenate(other.levels.parent).T, other.parents_of(cells))
        return _log_ratio(out)

    @cached_property
    def city(self) -> Float64s:
        """Of the region: float64[half-lives, 1]."""
        return _log_ratio(sum((np.concatenate(history.levels.city)[None] for history in self._histories), np.zeros(1)))


def _add(out: Float64s, rows: Float64s, places: Int64s) -> None:
    """Add the row at each place to the output; -1 is no row."""
    known = np.flatnonzero(places >= 0)
    out[known] += rows[places[known]]


def _log_ratio(rows: Float64s) -> Float64s:
    half_lives = len(HALF_LIVES_MIN)
    counts, profile = rows[:, :half_lives].T, rows[:, half_lives:].T
    return np.asarray(np.log((counts + SMALL_RIDES) / (profile + SMALL_RIDES)), np.float64)


def join_measures(histories: Mapping[str, "CountHistory"]) -> None:
    """Let each history of a region see those of the other measures: measure -> history."""
    for measure, history in histories.items():
        history.beside = {name: other for name, other in histories.items() if name != measure}
