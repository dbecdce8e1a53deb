"""Champions, experiments, holds, parameters and fold versions in force: the control log folded up to any size."""

from dataclasses import dataclass, field, replace

from ledger.store.log import Head, Ledger, holds
from ledger.views.experiments import KINDS as OF_EXPERIMENTS, follow_record
from ledger.views.follow import Batch, Change, Follower, Place
from ledger.views.parameters import Place as ParameterPlace, follow_parameter
from schemas.records.records import (
    CONTROL_LOG,
    CovariatesKnown,
    ExperimentStarted,
    FoldChanged,
    ModelPromoted,
    ParameterSet,
    RegionBootstrapped,
    RegionHeld,
    RegionReleased,
)

KINDS = (*OF_EXPERIMENTS, CovariatesKnown, FoldChanged, ParameterSet, RegionReleased)


@dataclass(frozen=True, slots=True)
class Control:
    """The control log up to one size: its root, the champion's digest per (region, measure), and how regions are folded.

    Attributes:
        held: Regions that are served without their champions, with the record that says why.
        experiments: The experiment of each (region, measure) that no record has ended.
        covariates: What became known of each region from outside, in order.
        parameters: What is set, by name, region and cell; `state.decide.parameters` finds the value for a region in it.
    """

    size: int
    root: bytes
    champions: dict[tuple[str, str], bytes] = field(default_factory=dict)
    folds: dict[str, tuple[FoldChanged, ...]] = field(default_factory=dict)
    held: dict[str, RegionHeld] = field(default_factory=dict)
    experiments: dict[tuple[str, str], ExperimentStarted] = field(default_factory=dict)
    covariates: dict[str, tuple[CovariatesKnown, ...]] = field(default_factory=dict)
    parameters: dict[ParameterPlace, ParameterSet] = field(default_factory=dict)

    def champion(self, region: str, measure: str) -> bytes:
        """Digest of the model that serves a measure; empty for the baseline."""
        return b"" if region in self.held else self.champions.get((region, measure), b"")

    def covariates_of(self, region: str) -> tuple[CovariatesKnown, ...]:
        """What became known of a region from outside; the same tuple while there is no more of it."""
        return self.covariates.get(region, ())

    def fold_version(self, boot: RegionBootstrapped, slot: int) -> int:
        """Version of the fold that closes a slot of a region: the last one recorded for that slot or an earlier one."""
        versions = [changed.version for changed in self.folds.get(boot.region, ()) if changed.slot <= slot]
        return versions[-1] if versions else boot.fold_version


class ControlView:
    """Follows the control log; reads only entries that are not folded yet."""

    def __init__(self, ledger: Ledger) -> None:
        self._follower = Follower(ledger, CONTROL_LOG, kinds=KINDS)
        self._now = Control(0, b"")

    def latest(self) -> Control:
        """The control log as it is now; folded again from the start if it was rolled back or continued."""
        for batch in self._follower.catch_up():
            if batch.change is Change.NONE:
                self._take(batch, batch.head)
            else:
                self._restart(Place(batch.next.number, 0), batch.head)
        return self._now

    def at(self, size: int, root: bytes) -> Control:
        """The control log as a slot cited it."""
        cited = Head(size, root)
        if size < self._now.size:
            self._restart(Place(self._follower.place.number, 0), cited)
        while (batch := self._follower.step_to(cited)) is not None:
            self._take(batch, cited)
        if root != self._now.root:
            self._now = replace(self._now, root=root)
        return self._now

    def _restart(self, place: Place, head: Head) -> None:
        self._follower.move(place)
        self._now = Control(0, head.root)

    def _take(self, batch: Batch, head: Head) -> None:
        champions, folds, held = dict(self._now.champions), dict(self._now.folds), dict(self._now.held)
        experiments, covariates = dict(self._now.experiments), dict(self._now.covariates)
        parameters = dict(self._now.parameters)
        for stored in batch.entries:
            follow_record(experiments, champions, stored)
            if holds(stored, ModelPromoted):
                record = stored.record
                champions[record.region, record.measure] = record.model
            elif holds(stored, FoldChanged):
                changed = stored.record
                folds[changed.region] = (*folds.get(changed.region, ()), changed)
            elif holds(stored, RegionHeld):
                held[stored.record.region] = stored.record
            elif holds(stored, CovariatesKnown):
                covariates[stored.record.region] = (*covariates.get(stored.record.region, ()), stored.record)
            elif holds(stored, ParameterSet):
                follow_parameter(parameters, stored.record)
            elif holds(stored, RegionReleased):
                held.pop(stored.record.region, None)
        self._now = Control(batch.next.index, head.root, champions, folds, held, experiments, covariates, parameters)
        self._follower.move(batch.next)
