"""From settled issues to measures of fairness: each issue's outcomes, by the classes of its cells and the local day."""

from collections.abc import Iterable

import numpy as np

from schemas.configuration.areas import Areas, Groups
from schemas.events.rides import Int64s, UInt64s
from schemas.forecasts.settled import SettledIssue
from schemas.records.records import FALLBACKS, Fallback
from schemas.regions import Region
from schemas.times import slot_end
from state.detect.fairness import FairnessSums, Outcomes
from state.models.chances import COVERED, UNDER, chance_within
from state.models.predictive import predictive

EVERY_CELL = ("", "all cells")  # a group that every cell is in; no areas file can name it
MILLI = 1000.0


class KnownGroups:
    """The groups of cells, found once for each cell.

    Args:
        areas: Of the region.
    """

    def __init__(self, areas: Areas) -> None:
        self.names = (EVERY_CELL, *areas.groups)
        self._areas = areas
        self._cells: UInt64s = np.empty(0, np.uint64)
        self._codes: Int64s = np.empty((1 + len(areas.attributes), 0), np.int64)

    def of(self, cells: UInt64s) -> Groups:
        """The groups of cells, uint64[n], ascending."""
        new = np.setdiff1d(cells, self._cells)
        if len(new):
            found = self._areas.of(new).codes
            codes = np.vstack([np.zeros((1, len(new)), np.int64), np.where(found < 0, found, found + 1)])
            every = np.concatenate([self._cells, new])
            order = np.argsort(every, kind="stable")
            self._cells, self._codes = every[order], np.hstack([self._codes, codes])[:, order]
        return Groups(self.names, self._codes[:, np.searchsorted(self._cells, cells)])


def count_issues(region: Region, areas: Areas, issues: Iterable[SettledIssue]) -> FairnessSums:
    """The sums of issues, day by day of the region's local time.

    Windows that were not observed as a whole are left out. A cell without a forecast counts as a forecast of no ride,
    in the windows in which it had one.
    """
    known = KnownGroups(areas)
    sums = FairnessSums(known.names, region.horizons_min)
    for issue in issues:
        add_issue(sums, known, region, issue)
    return sums


def add_issue(sums: FairnessSums, known: KnownGroups, region: Region, issue: SettledIssue) -> None:
    """Count one issue."""
    groups, day = known.of(issue.cells), slot_end(region, issue.slot).toordinal()
    for i, horizon_min in enumerate(issue.columns.horizons_min):
        if issue.whole[i] and horizon_min in sums.horizons_min:
            outcomes, counted = outcomes_of(issue, i)
            sums.add(day, sums.horizons_min.index(horizon_min), Groups(groups.names, groups.codes[:, counted]), outcomes)


def outcomes_of(issue: SettledIssue, i: int) -> tuple[Outcomes, Int64s]:
    """What came of one horizon of an issue, and the positions in `issue.cells` of its cells."""
    place = np.searchsorted(issue.cells, issue.columns.cells)
    forecast = np.zeros(len(issue.cells), np.bool_)
    forecast[place] = True
    counted = np.flatnonzero(forecast | (issue.truth[:, i] > 0))
    mean, median, dispersion = (_placed(issue, place, column[:, i])[counted] for column in _columns(issue))
    truth = issue.truth[counted, i]
    below, upto = predictive(issue.spread[i], mean, dispersion).around(truth)
    own = np.zeros(len(issue.cells), np.bool_)
    own[place] = issue.columns.fallback == FALLBACKS.index(Fallback.NONE)
    under, covered = (chance_within(below, upto, interval) for interval in (UNDER, COVERED))
    return Outcomes(truth.astype(np.float64), mean / MILLI, median / MILLI, under, covered, ~own[counted]), counted


def _columns(issue: SettledIssue) -> tuple[Int64s, Int64s, Int64s]:
    return issue.columns.mean, issue.columns.median, issue.columns.dispersion


def _placed(issue: SettledIssue, place: Int64s, column: Int64s) -> Int64s:
    """A column of the forecasts, 1/1000, for all cells of an issue; zero without a forecast."""
    out = np.zeros(len(issue.cells), np.int64)
    out[place] = column
    return out
