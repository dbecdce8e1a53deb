"""The fairness of a challenger beside that of the champion, issue by issue: what the gate before a promotion needs."""

import numpy as np

from schemas.configuration.areas import Areas
from schemas.errors import ContractError
from schemas.events.rides import Int64s
from schemas.forecasts.chunks import ForecastColumns
from schemas.forecasts.settled import SettledIssue
from schemas.records.records import GateResult, HorizonSpread
from schemas.regions import Region
from state.demand.history import Arrays
from state.detect.fairness import LEAST_DAYS, FairnessSums
from state.detect.fairness_gate import NAME, gate
from state.detect.outcomes import KnownGroups, add_issue
from state.models.intervals import LOWER_MILLI, UPPER_MILLI

SEED = 1  # of the intervals: the same trial gives the same verdict


class PairedFairness:
    """Sums of both forecasters over the same issues.

    Args:
        region: Its definition.
        areas: With the classes to compare.
    """

    def __init__(self, region: Region, areas: Areas) -> None:
        self._region, self._known = region, KnownGroups(areas)
        self._sums = tuple(FairnessSums(self._known.names, region.horizons_min) for _ in range(2))

    def add(self, slot: int, i: int, champion: ForecastColumns, challenger: ForecastColumns, truth: Int64s) -> None:
        """Count one horizon of an issue.

        Args:
            slot: At whose cut both were issued.
            i: Which horizon.
            champion, challenger: Of the same n cells.
            truth: int64[n], rides in the window, which was observed as a whole.
        Raises:
            ContractError: the two are not of the same cells.
        """
        if not np.array_equal(champion.cells, challenger.cells):
            raise ContractError(f"fairness, slot {slot}: expected both forecasts of {len(champion)} cells, got {len(challenger)} others")
        h = len(champion.horizons_min)
        spread = before_recalibration(champion.horizons_min)
        whole, rides = np.arange(h) == i, np.repeat(truth[:, None], h, axis=1)
        for sums, columns in zip(self._sums, (champion, challenger), strict=True):
            add_issue(sums, self._known, self._region, SettledIssue(slot, columns, spread, columns.cells, rides, whole))

    def verdict(self) -> GateResult:
        """What the gate says so far; a trial of too few days has not passed yet."""
        champion, challenger = self._sums
        if len(champion.days) < LEAST_DAYS:
            said = f"not judged yet: {len(champion.days)} of {LEAST_DAYS} days"
            return GateResult(gate=NAME, passed=False, value="", bound="", sentence=said)
        return gate(champion, challenger, seed=SEED)

    def to_arrays(self) -> Arrays:
        """The sums, for keeping."""
        days = self._sums[0].days
        kept = {f"sums{which}": sums.of_days(days) for which, sums in enumerate(self._sums)}
        return {"names": self._names(), "days": np.array(days, np.int64), **kept}

    def continues(self, arrays: Arrays) -> bool:
        """Whether arrays are sums of the same classes; those of other areas cannot go on."""
        return set(arrays) == {"names", "days", "sums0", "sums1"} and np.array_equal(arrays["names"], self._names())

    def from_arrays(self, arrays: Arrays) -> None:
        """Go on with the sums that `to_arrays` returned.

        Raises:
            ContractError: they are sums of other classes.
        """
        if not self.continues(arrays):
            raise ContractError("fairness: expected sums of the same classes, got others")
        for which, sums in enumerate(self._sums):
            sums.take(arrays["days"].tolist(), arrays[f"sums{which}"].astype(np.float64))

    def _names(self) -> "np.ndarray[tuple[int, ...], np.dtype[np.str_]]":
        return np.array(self._known.names, np.str_)


def before_recalibration(horizons_min: tuple[int, ...]) -> tuple[HorizonSpread, ...]:
    """The header of an issue whose distributions are those of its chunks: a shadow has no other."""
    return tuple(
        HorizonSpread(horizon_min=one, dispersion_milli=0, quiet_dispersion_milli=0, lower_milli=LOWER_MILLI, upper_milli=UPPER_MILLI)
        for one in horizons_min
    )
