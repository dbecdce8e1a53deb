"""The forecaster of one region and measure: it issues forecasts at a slot's cut, scores them, and learns from the errors.

Its state depends only on the history and on its earlier issues; `use` sets the model. Scores use the
served integers, so that anyone can recompute them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from schemas.errors import ContractError
from schemas.events.rides import Bools, Float64s, Int64s, UInt8s
from schemas.forecasts.chunks import NUMBERS, ForecastColumns
from schemas.records.records import FALLBACKS, ExperimentStarted, Fallback, HorizonSpread, SlotScored
from schemas.regions import Region
from state.demand.calendar import Calendar
from state.demand.covariates import NONE_KNOWN, Covariates
from state.demand.history import Arrays, CountHistory
from state.forecast.arms import Arms
from state.forecast.draft import Draft
from state.forecast.issued import Issued, IssuedQueue
from state.forecast.mixing import NO_MIX, mix_of
from state.forecast.scoring import Scores, outcome_of
from state.models.intervals import LOWER_MILLI, MEDIAN_MILLI, UPPER_MILLI, quantiles
from state.models.level import STAND_IN_H, Level
from state.models.predictive import joined, predictive
from state.models.protocol import Correction, Corrector, MeanModel, Outcome, SlotView, Watcher
from state.models.quiet import quiet_cells
from state.models.spread import Spread
from state.models.stand_in import labelled
from state.models.table import MODELS, ModelTable, Trained, load_trained, untrained

MILLI = 1000
ARM_FEATURES_SINCE = 6  # version of the fold from which issues name the features of a challenger with another feature table
SPREAD_SINCE = 4  # version of the fold from which dispersion and quantile levels are learned; see state.models.spread


class Forecaster:
    """Forecasts of one region and measure.

    The owner closes a slot in the history, then calls `score`, `issue` and `learn` for it, in this order.

    Args:
        models: Table of the mean models and correctors.
        version: Of the fold, as in `state.forecast.region.FOLD_VERSIONS`; `follow` changes it.
        known: The covariates of the region; their owner keeps them up to date.
    """

    def __init__(self, region: Region, measure: str, models: ModelTable = MODELS, version: int = 1, known: Covariates = NONE_KNOWN) -> None:
        self.region = region
        self.measure = measure
        self.calendar = Calendar(region)
        self.horizons, self._covariates = region.horizons, known
        self._table = models
        self._queue = IssuedQueue(region.horizons_min, ())
        self._correctors: dict[str, Corrector] = {}  # in force, by the name of their rows, in the order of the table
        self._scatter = Spread(len(region.horizons), self.calendar.day_slots)
        self._scores = Scores()
        self._outcomes: dict[str, list[Outcome]] = {}  # between score and learn of the same slot
        self._trained: Trained | None = None
        self._arms = Arms(lambda: Forecaster(region, measure, models, self._version, known))
        self._label = Fallback.NONE
        self._version = 0
        self.follow(version)
        self.use(None)

    def follow(self, version: int) -> None:
        """Use this version of the fold from the next slot on, with the models that it introduces."""
        if version != self._version:
            self._version = version
            self._make_models()
        self._put_in_force(version)

    def _put_in_force(self, version: int) -> None:
        """Keep the correctors of a version of the fold, and add those that it introduces."""
        rows = [row for row in self._table.correctors if row.in_force(version)]
        if self._correctors.keys() == {row.name for row in rows}:
            return
        known = self._correctors
        self._correctors = {row.name: known.get(row.name) or row.make(len(self.horizons), self.calendar.day_slots) for row in rows}
        self._queue.rows = rows

    def use(self, model: bytes | None, fallback: Fallback = Fallback.NONE) -> None:
        """Serve this artefact from the next issue on; None serves the baseline.

        Args:
            fallback: How its forecasts are labelled.
        Raises:
            DamagedError: the bytes are not an artefact.
            ContractError: it was trained for other features or horizons.
        """
        self._trained = load_trained(model, self.horizons) if model is not None else None
        self._label = fallback
        self._make_models()

    def challenge(self, experiment: tuple[ExperimentStarted, bytes] | None) -> None:
        """Let an experiment with this artefact as challenger be in force from the next close on; raises as `use` does."""
        self._arms.challenge(experiment, self._version, self._own_arrays)

    def _make_models(self) -> None:
        trained = self._trained
        about = trained.about if trained is not None else untrained(self.horizons)
        made = (row.make(about, trained) for row in self._table.means if row.since <= self._version)
        models = (labelled(mean_model, self._label) for mean_model in made if mean_model is not None)
        first = (Level(len(self.horizons), STAND_IN_H),) if trained is not None and self._label is not Fallback.NONE else ()
        self._models: tuple[MeanModel, ...] = (*first, *models)
        self._dispersion_milli = about.dispersion_milli
        self._stated = tuple(
            HorizonSpread(
                horizon_min=h,
                dispersion_milli=about.dispersion_milli[i],
                quiet_dispersion_milli=about.quiet_dispersion_milli[i],
                lower_milli=LOWER_MILLI,
                upper_milli=UPPER_MILLI,
            )
            for i, h in enumerate(self.region.horizons_min)
        )

    # --- issue ---------------------------------------------------------------------------------

    def issue(self, history: CountHistory, slot: int) -> Draft:
        """Forecast every cell of the universe for the windows that start at the end of a closed slot."""
        view = self._view(history, slot)
        parts = self._divide(view)
        means = np.empty((len(view.columns), len(self.horizons)))
        fallback = np.empty(len(view.columns), np.uint8)
        for model, rows in parts:
            fallback[rows] = FALLBACKS.index(model.fallback)
            if len(rows):
                means[rows] = model.forecast(view, rows)
        own = _corrected(parts)
        means[own], corrections = self._correct(view, own, means[own])
        seen_by_arm = self._arms.serve(history, slot, history.cells[view.columns], _owned(parts, len(means)), means)
        spread = self._spread()
        served = self._columns(view, means, fallback, parts, spread)
        self._queue.push(Issued(slot, served, own, corrections, spread if self._learns_spread else ()), history, view.columns)
        counts = np.bincount(fallback, minlength=len(FALLBACKS)).tolist()
        features = view.feature_bytes()
        of_arm = seen_by_arm.feature_bytes() if seen_by_arm is not None and self._version >= ARM_FEATURES_SINCE else b""
        return Draft(
            columns=served,
            features=features,
            arm_features=b"" if of_arm == features else of_arm,
            spread=spread,
            fallbacks={FALLBACKS[code].value: counts[code] for code in range(len(FALLBACKS)) if counts[code]},
            weights_milli=self._weights_milli(),
            experiment=self._arms.running(slot),
            mix=mix_of(self._correctors.values(), self.region.horizons_min) if len(own) else NO_MIX,
        )

    def skip_issue(self, history: CountHistory, slot: int) -> SlotView:
        """Keep only the part of an issue that is learned from later; the other served numbers are replaced by zeros.

        Returns:
            What the models saw.
        """
        view = self._view(history, slot)
        parts = [(model, rows) for model, rows in self._divide(view) if model.corrected or self._learns_spread]
        shape = (len(view.columns), len(self.horizons))
        means = np.empty(shape)
        for model, rows in parts:
            if len(rows):
                means[rows] = model.forecast(view, rows)
        own = _corrected(parts)
        corrected, corrections = self._correct(view, own, means[own])
        numbers = dict.fromkeys(NUMBERS, np.zeros(shape, np.int64))
        if self._learns_spread:
            means[own] = corrected
            self._arms.serve(history, slot, history.cells[view.columns], _owned(parts, len(means)), means)
            numbers |= {"mean": _milli(means), "dispersion": self._dispersions(_milli(means), parts)}
        none = ForecastColumns(
            cells=history.cells[view.columns], horizons_min=self.region.horizons_min, fallback=np.zeros(len(means), np.uint8), **numbers
        )
        spread = self._spread() if self._learns_spread else ()
        self._queue.push(Issued(slot, none, own, corrections, spread), history, view.columns)
        return view

    def _view(self, history: CountHistory, slot: int) -> SlotView:
        columns = history.universe(slot)
        return SlotView(history, self.calendar, slot, columns, quiet_cells(history, self.calendar, slot, columns), self._covariates)

    def _divide(self, view: SlotView) -> "list[_Part]":
        """The rows that each mean model serves.

        Raises:
            ContractError: no model of the table serves one of the cells.
        """
        left = np.ones(len(view.columns), np.bool_)
        parts = []
        for model in self._models:
            mine = left & model.serves(view)
            left ^= mine
            parts.append((model, np.flatnonzero(mine)))
        if left.any():
            raise ContractError(f"region {self.region.id}: expected a model for every cell, got none for {int(left.sum())} cells")
        return parts

    def _correct(self, view: SlotView, own: Int64s, means: Float64s) -> tuple[Float64s, Mapping[str, Correction]]:
        """The means of some cells after every corrector, and the inputs and outputs of each corrector."""
        corrections: dict[str, Correction] = {}
        if not len(own):
            return means, corrections
        cells, plain = view.history.cells[view.columns[own]], means
        for name, corrector in self._correctors.items():
            if isinstance(corrector, Watcher):
                corrector.watch(view, own, means, plain)
            inputs = corrector.inputs(cells, means, self._dispersion_milli)
            corrections[name] = Correction(means, inputs, corrector.predict(inputs))
            means = corrector.correct(means, corrections[name].predicted, self._dispersion_milli)
        return means, corrections

    def _weights_milli(self) -> dict[str, int]:
        """Weights of the correctors in an issue; zero while no model's means are corrected."""
        fields = {row.name: row.weight_field for row in self._queue.rows if row.weight_field is not None}
        corrected = any(model.corrected for model in self._models)
        return {field: self._correctors[name].weight_milli if corrected else 0 for name, field in fields.items()}

    @property
    def _learns_spread(self) -> bool:
        return self._version >= SPREAD_SINCE

    def _spread(self) -> tuple[HorizonSpread, ...]:
        """The predictive distribution of each horizon, for the header of an issue."""
        if not self._learns_spread:
            return self._stated
        return tuple(replace(stated, bands=bands) for stated, bands in zip(self._stated, self._scatter.bands(), strict=True))

    def _dispersions(self, mean_milli: Int64s, parts: "list[_Part]") -> Int64s:
        """Dispersion of every cell and horizon, 1/1000: int64[n, n_horizons]."""
        out = np.empty(mean_milli.shape, np.int64)
        for model, rows in parts:
            for i, stated in enumerate(model.dispersion_milli):
                out[rows, i] = self._scatter.dispersion_milli(i, mean_milli[rows, i], stated) if self._learns_spread else stated
        return out

    def _columns(
        self, view: SlotView, means: Float64s, fallback: UInt8s, parts: "list[_Part]", spread: tuple[HorizonSpread, ...]
    ) -> ForecastColumns:
        mean_milli = _milli(means)
        dispersion = self._dispersions(mean_milli, parts)
        median, lower, upper = (np.empty(means.shape, np.int64) for _ in range(3))
        if self._learns_spread:  # From the served integers, so that anyone gets the same.
            law = joined([predictive(of, mean_milli[:, i], dispersion[:, i]) for i, of in enumerate(spread)])
            lower[:], median[:], upper[:] = (law.quantiles() * MILLI).reshape(*means.T.shape, 3).T
        for i in range(len(spread)) if not self._learns_spread else ():
            for model, rows in parts:
                for out, probability in ((median, MEDIAN_MILLI), (lower, LOWER_MILLI), (upper, UPPER_MILLI)):
                    out[rows, i] = quantiles(means[rows, i], model.dispersion_milli[i], probability) * MILLI
        return ForecastColumns(
            cells=view.history.cells[view.columns],
            horizons_min=self.region.horizons_min,
            mean=mean_milli,
            median=median,
            lower=lower,
            upper=upper,
            dispersion=dispersion,
            baseline=_milli(view.baseline),
            fallback=fallback,
        )

    # --- score ---------------------------------------------------------------------------------

    def score(self, history: CountHistory, slot: int, settle_slots: int) -> tuple[SlotScored, ...]:
        """Score the forecasts whose window ended with this slot, and again those that settle now.

        A window that contains an outage, or a slot known to be undercounted, is neither scored nor learned from.
        """
        scored = []
        self._outcomes = {name: [] for name in self._correctors}
        self._scatter.forget()
        for settled, ended in ((False, slot), (True, slot - settle_slots)):
            rows = []
            for i, h in enumerate(self.horizons):
                issued = self._queue.at(ended - h)
                if issued is not None and history.whole(ended - h + 1, ended + 1):
                    truth = history.window(ended - h + 1, ended + 1, self._queue.columns(ended - h, history))
                    score = self._scores.of(issued, i, truth)
                    rows.append(score.row)
                    if issued.spread and not settled:
                        self._scatter.observe(i, issued.columns.mean[:, i], issued.columns.dispersion[:, i], truth, score.chances)
                    for name in self._correctors.keys() & issued.corrections.keys() if not settled else ():
                        self._outcomes[name].append(outcome_of(issued, name, i, truth))
            if rows:
                scored.append(SlotScored(region=self.region.id, measure=self.measure, slot=ended, settled=settled, rows=tuple(rows)))
        self._arms.score(history, slot, settle_slots)
        for name, corrector in self._correctors.items():
            corrector.observe(self._outcomes[name], self._dispersion_milli)
        self._queue.forget_inputs(slot - self.horizons[-1])
        self._queue.drop_before(first := slot - settle_slots - self.horizons[-1] + 1)
        self._scores.drop_before(first)
        return tuple(scored)

    # --- learn ---------------------------------------------------------------------------------

    def learn(self, history: CountHistory, slot: int) -> None:
        """Learn from the windows that ended with this slot."""
        self._arms.learn(history, slot)
        for name, corrector in self._correctors.items():
            corrector.learn(self._outcomes.get(name, []), self._dispersion_milli)
        self._outcomes = {}
        if slot % self.calendar.day_slots == 0:
            issued = self._queue.at(slot)
            for corrector in self._correctors.values():
                corrector.keep_only(issued.columns.cells if issued is not None else history.cells[:0])

    # --- keeping -------------------------------------------------------------------------------

    def to_arrays(self) -> Arrays:
        """The state, which `from_arrays` restores bit for bit; the model itself is not included."""
        return self._own_arrays() | self._arms.to_arrays()

    def _own_arrays(self) -> Arrays:
        return self._queue.to_arrays() | self._learned_arrays()

    def means_of(self, slot: int) -> Float64s:
        """Means of the issue of a slot that is not settled yet, rides: float64[n, n_horizons].

        Raises:
            ContractError: there is no such issue.
        """
        issued = self._queue.at(slot)
        if issued is None:
            raise ContractError(f"region {self.region.id}: expected the issue of slot {slot}, which is not kept")
        return issued.columns.mean / MILLI

    def from_arrays(self, arrays: Arrays) -> None:
        """Restore the state that `to_arrays` returned; call `use` with the same model first."""
        self._scores = Scores()
        kept = [row for row in self._table.correctors if any(name.startswith(f"{row.name}_") for name in arrays)]
        self._correctors = {}
        # The arrays may be of a later version than the one that this forecaster was made with: `follow` comes after them.
        self._put_in_force(max([self._version, *(row.since for row in kept)]))
        self._queue.from_arrays(arrays)
        for row in kept:
            if row.name in self._correctors:
                self._correctors[row.name].from_arrays(arrays)
        if "spread_levels" in arrays:
            self._scatter.from_arrays(arrays)
        self._arms.from_arrays(arrays)

    def digest(self) -> bytes:
        """SHA-256 over the state."""
        return hashlib.sha256(self._queue.digest() + arrays_digest(self._learned_arrays()) + self._arms.digest()).digest()

    def _learned_arrays(self) -> Arrays:
        arrays = {name: array for corrector in self._correctors.values() for name, array in corrector.to_arrays().items()}
        return arrays | self._scatter.to_arrays() if self._learns_spread else arrays


_Part = tuple[MeanModel, Int64s]  # a mean model and the rows that it serves, ascending


def _corrected(parts: list[_Part]) -> Int64s:
    """Rows whose means are corrected, ascending."""
    return np.sort(np.concatenate([np.empty(0, np.int64), *(rows for model, rows in parts if model.corrected)]))


def _owned(parts: list[_Part], n: int) -> Bools:
    """Which of n rows a model serves as the cells' own: bool[n]."""
    own = np.zeros(n, np.bool_)
    for model, rows in parts:
        own[rows] = model.fallback is Fallback.NONE
    return own


def arrays_digest(arrays: Arrays) -> bytes:
    """SHA-256 of named arrays: name, type, shape and bytes of each, in order of names."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.digest()


def _milli(values: Float64s) -> Int64s:
    return np.rint(values * MILLI).astype(np.int64)
