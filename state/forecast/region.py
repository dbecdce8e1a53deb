"""The fold of one region: how a closed slot changes its state, and the records that result.

`RegionFold.apply` is the only place that changes state: the live stream, a resume that folds recorded
slots again, a backtest and a replay all call it with the same closed slots and get the same outcomes.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from schemas.errors import ContractError, UsageError
from schemas.events.rides import UInt64s
from schemas.records.records import (
    CovariatesKnown,
    ExperimentStarted,
    PartitionsChanged,
    SlotScored,
    SlotStatus,
    SourceChanged,
    StateDigested,
    UniverseChanged,
)
from schemas.regions import US_PER_MIN, Region
from state.counting.slots import ClosedSlot, CountColumns, GapFound
from state.demand.calendar import Calendar
from state.demand.covariates import Covariates
from state.demand.history import CountHistory
from state.demand.other_measures import join_measures
from state.demand.seasons import expected_rides
from state.demand.tables import FOURTH_SINCE, SECOND_SINCE
from state.forecast.draft import Draft
from state.forecast.forecast import Forecaster
from state.forecast.routes import FALLBACK_OF, Role
from state.models.table import MODELS, ModelTable

Arrays = dict[str, npt.NDArray[np.generic]]

FOLD_VERSION = 6  # of a new region; FOLD_VERSIONS lists the changes
FOLD_VERSIONS = {
    1: "partial slots are scored and learned from as if they were whole",
    2: "partial slots are neither scored nor learned from; they stay lags",  # docs/adr/0010
    3: "without a model, a young region is served by its current level; silence before the first ride is not zero demand",
    4: "levels of demand are tracked for the features of new models; dispersion and corrections follow recent errors",
    5: "new models have more features; surges are followed per neighbourhood; an ensemble mixes forecasts by recent loss; the model "
    "of a parent region or of several regions stands in for a missing one",
    6: "profiles remember all weeks; a region without a model follows its profile, level and errors; weather is a feature where it is "
    "known; a challenger that fails ends its experiment",
}
UNOBSERVED_FROM = 14  # rides: with 14 expected, a Poisson count of none has a chance of one in a million
PARTIAL_FROM = 5  # rides expected of an excused partition
LOSING = (GapFound, SourceChanged, PartitionsChanged)  # findings after which rides of the slot, or of those before it, may be missing
DIGEST_EVERY_MIN = 60


def counted_whole(status: str, version: int) -> bool:
    """Whether a slot's count is used to score forecasts and to learn.

    An undercount is not low demand. It is still used as a lag: most rides are counted, and those of an excused partition
    come later.

    >>> counted_whole("partial", 1), counted_whole("partial", 2), counted_whole("unobserved", 1)
    (True, False, False)
    """
    return status == SlotStatus.OBSERVED or (status == SlotStatus.PARTIAL and version < 2)


@dataclass(frozen=True, slots=True)
class Issue:
    """One measure's forecasts, ready to be recorded."""

    measure: str
    model: bytes  # digest of the artefact in force, empty for none
    draft: Draft
    role: Role = Role.CHAMPION
    skipped: Mapping[str, str] = field(default_factory=dict)  # as in `Champion`

    @property
    def blamed(self) -> bytes:
        """Digest of the model that is not used for a while if this issue took too long: the newest one. Empty for none."""
        return self.draft.experiment.challenger if self.draft.experiment is not None else self.model


@dataclass(frozen=True, slots=True)
class SlotOutcome:
    """The result of folding one closed slot."""

    closed: ClosedSlot
    status: SlotStatus
    universe: UniverseChanged | None
    universe_version: int
    scores: tuple[SlotScored, ...]
    issues: tuple[Issue, ...]
    digested: StateDigested | None


@dataclass(frozen=True, slots=True)
class Champion:
    """The active model of one measure: digest and bytes of its artefact, both empty for none.

    Attributes:
        role: Whose model it is.
        skipped: As in `state.forecast.routes.Route`; and why the challenger of an experiment does not serve.
        challenge: The experiment beside it, with the challenger's artefact.
    """

    digest: bytes
    artefact: bytes
    role: Role = Role.CHAMPION
    skipped: Mapping[str, str] = field(default_factory=dict)
    challenge: tuple[ExperimentStarted, bytes] | None = None


NO_CHAMPION = Champion(b"", b"")


class RegionFold:
    """State of one region between slots.

    Args:
        region: Its definition.
        start_slot: First slot counted live.
        version: Of the fold, as in FOLD_VERSIONS; `follow` changes it.
        models: Table of models for its forecasters.
    """

    def __init__(self, region: Region, start_slot: int, version: int = FOLD_VERSION, models: ModelTable = MODELS) -> None:
        self.region = region
        self.next_slot = start_slot
        self._calendar = Calendar(region)
        self.histories = tuple(CountHistory(region) for _ in region.measures)
        join_measures(dict(zip(region.measures, self.histories, strict=True)))
        self._covariates = Covariates()
        self.forecasters = tuple(Forecaster(region, measure, models, known=self._covariates) for measure in region.measures)
        self.follow(version)
        self.universe_version = 0
        self._universe: UInt64s = np.empty(0, np.uint64)
        self._champions = dict.fromkeys(region.measures, NO_CHAMPION)

    def remember(self, history: Iterable[tuple[int, tuple[CountColumns, ...]]]) -> None:
        """Add counts of slots before the start, in order: (slot, counts per measure)."""
        for _ in remembering(self.histories, self._calendar, history):
            pass

    def use(self, champions: Mapping[str, Champion]) -> None:
        """Use these models from the next slot on: measure -> champion."""
        for forecaster in self.forecasters:
            champion, before = champions.get(forecaster.measure, NO_CHAMPION), self._champions[forecaster.measure]
            if (champion.digest, champion.role) != (before.digest, before.role):
                forecaster.use(champion.artefact if champion.digest else None, FALLBACK_OF[champion.role])
            self._champions[forecaster.measure] = champion
            forecaster.challenge(champion.challenge)

    def know(self, covariates: Sequence[CovariatesKnown]) -> None:
        """Use the covariates of these records, all of the region that the control log has, from the next slot on."""
        self._covariates.follow(covariates)

    def follow(self, version: int) -> None:
        """Use this version of the fold from the next slot on.

        Raises:
            UsageError: this code does not know the version.
        """
        if version not in FOLD_VERSIONS:
            raise UsageError(
                f"region {self.region.id}: expected version {min(FOLD_VERSIONS)} to {max(FOLD_VERSIONS)} of the fold, "
                f"got {version}; a newer Ridecast wrote this ledger, use that version"
            )
        self.version = version
        for history in self.histories:
            track_levels(history, version)
        for forecaster in self.forecasters:
            forecaster.follow(version)

    def apply(self, closed: ClosedSlot) -> SlotOutcome:
        """Fold one closed slot: count, score, forecast, learn.

        Raises:
            ContractError: it is not the next slot.
        """
        status, universe = self._count(closed)
        scores: list[SlotScored] = []
        issues: list[Issue] = []
        for history, forecaster in zip(self.histories, self.forecasters, strict=True):
            scores += forecaster.score(history, closed.slot, self.settle_slots)
            draft = forecaster.issue(history, closed.slot)
            used = self._champions[forecaster.measure]
            issues.append(Issue(forecaster.measure, used.digest, draft, used.role, used.skipped))
            forecaster.learn(history, closed.slot)
        end_min = (closed.slot + 1) * self.region.slot_us // US_PER_MIN
        digested = self.digest(closed.slot) if end_min % DIGEST_EVERY_MIN == 0 else None
        return SlotOutcome(closed, status, universe, self.universe_version, tuple(scores), tuple(issues), digested)

    def fast_forward(self, closed: ClosedSlot) -> SlotOutcome:
        """Fold one closed slot without issues and scores: much faster, and later forecasts are the same as after `apply`.

        The forecasts served at this slot are not computed: scores and digests are correct again `memory_slots` slots later.

        Raises:
            ContractError: it is not the next slot.
        """
        status, universe = self._count(closed)
        for history, forecaster in zip(self.histories, self.forecasters, strict=True):
            forecaster.score(history, closed.slot, self.settle_slots)
            forecaster.skip_issue(history, closed.slot)
            forecaster.learn(history, closed.slot)
        return SlotOutcome(closed, status, universe, self.universe_version, (), (), None)

    @property
    def settle_slots(self) -> int:
        """How long to wait for late rides, slots."""
        return settle_slots(self.region)

    @property
    def memory_slots(self) -> int:
        """How long the numbers of an issue are kept, slots: until its last window has settled."""
        return self.settle_slots + self.region.horizons[-1]

    def _count(self, closed: ClosedSlot) -> tuple[SlotStatus, UniverseChanged | None]:
        if closed.slot != self.next_slot:
            raise ContractError(f"region {self.region.id}: expected slot {self.next_slot}, got {closed.slot}")
        status = self._status(closed)
        observed = status is not SlotStatus.UNOBSERVED
        whole = counted_whole(status, self.version)
        for history, counts, late in zip(self.histories, closed.counts, closed.corrections, strict=True):
            if len(late):
                history.correct(late.slots, late.cells, late.counts)
            history.close(closed.slot, counts.cells, counts.counts, observed=observed, whole=whole)
        self.next_slot += 1
        return status, self._change_universe(closed.slot)

    def _status(self, closed: ClosedSlot) -> SlotStatus:
        gap = any(isinstance(finding, LOSING) for finding in closed.findings)
        excused = any(cut.excused for cut in closed.cuts)
        silent = not any(len(counts) for counts in closed.counts)
        expected = _expected(self.histories, self._calendar, closed.slot) if silent or excused else 0.0
        if silent and expected >= UNOBSERVED_FROM:
            return SlotStatus.UNOBSERVED
        if silent and self.version >= 3 and not any(len(history.cells) for history in self.histories):
            return SlotStatus.UNOBSERVED  # Nothing is known yet: the stream may not have started.
        if gap or (excused and expected / len(closed.cuts) >= PARTIAL_FROM):
            return SlotStatus.PARTIAL
        return SlotStatus.OBSERVED

    def _change_universe(self, slot: int) -> UniverseChanged | None:
        found = [history.cells[history.universe(slot)] for history in self.histories]
        cells = found[0] if len(found) == 1 else np.unique(np.concatenate(found))
        if np.array_equal(cells, self._universe):
            return None
        added = np.setdiff1d(cells, self._universe, assume_unique=True)
        retired = np.setdiff1d(self._universe, cells, assume_unique=True)
        self._universe = cells
        self.universe_version += 1
        return UniverseChanged(
            region=self.region.id,
            slot=slot,
            version=self.universe_version,
            cells=len(cells),
            added=_deltas(added),
            retired=_deltas(retired),
        )

    def digest(self, slot: int) -> StateDigested:
        """Digests of the state after a slot."""
        integers = hashlib.sha256()
        models = hashlib.sha256()
        for history, forecaster in zip(self.histories, self.forecasters, strict=True):
            integers.update(history.digest())
            models.update(forecaster.digest() + history.levels_digest())
        integers.update(self.universe_version.to_bytes(8, "big") + self._universe.astype(">u8").tobytes())
        return StateDigested(region=self.region.id, slot=slot, integers=integers.digest(), models=models.digest())

    def to_arrays(self) -> Arrays:
        """The state as arrays, for a snapshot."""
        arrays: Arrays = {
            "next_slot": np.array([self.next_slot]),
            "universe": self._universe,
            "universe_version": np.array([self.universe_version]),
            "champions": np.array([self._champions[m].digest.hex() for m in self.region.measures], dtype="S64"),
        }
        for number, (history, forecaster) in enumerate(zip(self.histories, self.forecasters, strict=True)):
            arrays |= {f"history{number}.{name}": array for name, array in history.to_arrays().items()}
            arrays |= {f"forecaster{number}.{name}": array for name, array in forecaster.to_arrays().items()}
        return arrays

    def from_arrays(self, arrays: Arrays, champions: Mapping[str, Champion]) -> None:
        """Restore the state of a snapshot; `champions` are the models that it names (see `champions_of`)."""
        self.next_slot = int(arrays["next_slot"][0])
        self._universe = arrays["universe"].astype(np.uint64)
        self.universe_version = int(arrays["universe_version"][0])
        self.use(champions)
        for number, (history, forecaster) in enumerate(zip(self.histories, self.forecasters, strict=True)):
            history.from_arrays(under(arrays, f"history{number}."))
            forecaster.from_arrays(under(arrays, f"forecaster{number}."))


def track_levels(history: CountHistory, version: int) -> None:
    """Let a history track levels, and older weeks, if that version of the fold has them."""
    if version >= SECOND_SINCE:
        history.track(older=version >= FOURTH_SINCE)
    else:
        history.untrack()


def settle_slots(region: Region) -> int:
    """How long a region waits for late rides, slots."""
    return region.settle_lateness_s // (60 * region.slot_min)


def remembering(
    histories: Sequence[CountHistory], calendar: Calendar, past: Iterable[tuple[int, tuple[CountColumns, ...]]]
) -> Iterator[tuple[int, tuple[CountColumns, ...], bool]]:
    """Add past counts to histories, one per measure, and tell outages from zero demand in silent slots.

    Args:
        past: (slot, counts per measure), in order.
    Yields:
        (slot, counts per measure, whether it was observed), after each slot is added.
    """
    for slot, counts in past:
        silent = not any(len(columns) for columns in counts)
        observed = not (silent and _expected(histories, calendar, slot) >= UNOBSERVED_FROM)
        for history, columns in zip(histories, counts, strict=True):
            history.close(slot, columns.cells, columns.counts, observed=observed)
        yield slot, counts, observed


def _expected(histories: Sequence[CountHistory], calendar: Calendar, slot: int) -> float:
    """Rides that the profile expects in a slot, over all cells and measures."""
    return sum(expected_rides(history, calendar, slot) for history in histories)


def champions_of(arrays: Arrays, measures: Iterable[str]) -> dict[str, bytes]:
    """Digests of the models that a snapshot was made with: measure -> digest."""
    texts = [bytes(value).decode() for value in arrays["champions"].astype("S64")]
    return {measure: bytes.fromhex(text) for measure, text in zip(measures, texts, strict=True) if text}


def under(arrays: Arrays, prefix: str) -> Arrays:
    """The arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _deltas(ascending: UInt64s) -> tuple[int, ...]:
    values = ascending.astype(np.int64)
    return tuple(np.diff(values, prepend=0).tolist())
