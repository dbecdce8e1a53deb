"""Runs a challenger beside the served forecasts: over the same closed slots, for all cells, with the state that it would serve from."""

from collections.abc import Callable, Sequence

import numpy as np

from schemas.errors import ContractError
from schemas.forecasts.chunks import NUMBERS, ForecastColumns
from schemas.records.records import CovariatesKnown, SlotStatus
from schemas.regions import Region
from state.counting.slots import ClosedSlot
from state.decide.paired import CHALLENGER, CHAMPION, Pair, PairedLosses
from state.demand.covariates import Covariates
from state.demand.history import Arrays, CountHistory
from state.demand.other_measures import join_measures
from state.detect.paired_fairness import PairedFairness
from state.forecast.forecast import Forecaster
from state.forecast.region import counted_whole, settle_slots, track_levels, under

TIMED_ISSUES = 9
FAIRNESS = "fairness."  # prefix of the arrays of `Shadow.fairness`
COLUMNS = ("cells", *NUMBERS, "fallback")


class Shadow:
    """A challenger of one region and measure, and its paired losses.

    It serves nothing. Its forecasts are those that a region's fold would serve if the challenger were promoted at the first
    slot, since both start from the same state and see the same slots.

    Args:
        region: Its definition.
        measure: Number of the measure in the region.
        model: The challenger's artefact; None for the baseline.
        state: Arrays of the region's fold after the slot before the first, as in a snapshot.
        version: Of the fold at the first slot.
        block_slots: Length of a block of the paired losses.
        fairness: Compares classes of cells; None for a region without areas.
    """

    def __init__(
        self,
        region: Region,
        measure: int,
        model: bytes | None,
        state: Arrays,
        version: int,
        block_slots: int,
        fairness: PairedFairness | None = None,
    ) -> None:
        self.region, self.measure = region, measure
        self.next_slot = int(state["next_slot"][0])
        self.losses = PairedLosses(region.horizons_min, region.slot_min, block_slots)
        self.fairness = fairness
        self.histories = tuple(CountHistory(region) for _ in region.measures)
        join_measures(dict(zip(region.measures, self.histories, strict=True)))
        for number, history in enumerate(self.histories):
            history.from_arrays(under(state, f"history{number}."))
        self._history = self.histories[measure]  # the one that is forecast
        self._version = version
        self._covariates = Covariates()
        self._forecaster = Forecaster(region, region.measures[measure], known=self._covariates)
        self._forecaster.follow(version)
        self._forecaster.from_arrays(under(state, f"forecaster{measure}."))
        self._forecaster.use(model)
        self._forecaster.challenge(None)  # what the state holds of an experiment is of another model
        self._settle_slots = settle_slots(region)
        self._pairs: dict[int, Pair] = {}

    def take(self, closed: ClosedSlot, status: str, version: int, served: ForecastColumns, known: Sequence[CovariatesKnown] = ()) -> None:
        """Fold one slot: score the pairs whose window ended with it, and forecast beside what was served.

        Args:
            closed: The next slot.
            status: As recorded with it.
            version: Of the fold that closed it.
            served: The champion's forecasts, issued at its cut.
            known: The covariates of the region at its cut, as for `RegionFold.know`.
        Raises:
            ContractError: it is not the next slot.
        """
        slot, history, forecaster = closed.slot, self._history, self._forecaster
        if slot != self.next_slot:
            raise ContractError(f"shadow of region {self.region.id}: expected slot {self.next_slot}, got {slot}")
        self._covariates.follow(known)
        observed, whole = status != SlotStatus.UNOBSERVED, counted_whole(status, version)
        for each, counts, late in zip(self.histories, closed.counts, closed.corrections, strict=True):
            track_levels(each, version)
            if len(late):
                each.correct(late.slots, late.cells, late.counts)
            each.close(slot, counts.cells, counts.counts, observed=observed, whole=whole)
        self._version = version
        forecaster.follow(version)
        forecaster.score(history, slot, self._settle_slots)
        self._score(slot)
        draft = forecaster.issue(history, slot)
        forecaster.learn(history, slot)
        self._pairs[slot] = Pair(served, draft.columns)
        self.next_slot += 1

    def _score(self, slot: int) -> None:
        """Score the windows that ended with a slot by the counts known at its cut; those that are not whole say nothing."""
        history = self._history
        for i, h in enumerate(self.region.horizons):
            pair = self._pairs.get(slot - h)
            if pair is not None and history.whole(slot - h + 1, slot + 1):
                truth = history.window(slot - h + 1, slot + 1, history.columns_of(pair.champion.cells))
                self.losses.add(slot - h, i, pair, truth.astype(np.int64))
                if self.fairness is not None:
                    self.fairness.add(slot - h, i, pair.champion, pair.challenger, truth.astype(np.int64))
        self._pairs.pop(slot - self.region.horizons[-1], None)

    def issue_ms(self, model: bytes | None, clock: Callable[[], float]) -> float:
        """Median time of an issue of these cells by a model, after one that is not counted; changes nothing.

        Args:
            model: Artefact, None for the baseline.
            clock: Monotonic seconds.
        """
        forecaster = Forecaster(self.region, self.region.measures[self.measure], known=self._covariates)
        forecaster.follow(self._version)
        forecaster.use(model)
        forecaster.issue(self._history, self.next_slot - 1)
        times = []
        for _ in range(TIMED_ISSUES):
            start = clock()
            forecaster.issue(self._history, self.next_slot - 1)
            times.append(1000.0 * (clock() - start))
        return float(np.median(times))

    def to_arrays(self) -> Arrays:
        """The whole state, for keeping."""
        arrays: Arrays = {"next_slot": np.array([self.next_slot])}
        for number, history in enumerate(self.histories):
            arrays |= {f"history{number}.{name}": array for name, array in history.to_arrays().items()}
        arrays |= {f"forecaster{self.measure}.{name}": array for name, array in self._forecaster.to_arrays().items()}
        for slot, pair in self._pairs.items():
            for who, columns in ((CHAMPION, pair.champion), (CHALLENGER, pair.challenger)):
                arrays |= {f"pair.{slot}.{who}.{name}": getattr(columns, name) for name in COLUMNS}
        arrays |= {f"losses.{name}": array for name, array in self.losses.to_arrays().items()}
        fairness = self.fairness.to_arrays() if self.fairness is not None else {}
        return arrays | {f"{FAIRNESS}{name}": array for name, array in fairness.items()}

    def resume(self, kept: Arrays) -> None:
        """Go on where a shadow was kept; this one must have been made with the same arrays as `state`."""
        self.losses.from_arrays(under(kept, "losses."))
        if self.fairness is not None:
            self.fairness.from_arrays(under(kept, FAIRNESS))
        pairs = under(kept, "pair.")
        for slot in sorted({int(name.partition(".")[0]) for name in pairs}):
            both = [
                ForecastColumns(horizons_min=self.region.horizons_min, **{name: pairs[f"{slot}.{who}.{name}"] for name in COLUMNS})  # type: ignore[arg-type]
                for who in (CHAMPION, CHALLENGER)
            ]
            self._pairs[slot] = Pair(*both)
