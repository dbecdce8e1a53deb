"""Starts, stops and measures experiments: records in the control log, and losses from what a region's log says was served."""

import logging
from dataclasses import dataclass

from dataflows.jobs.learn import next_slot
from dataflows.jobs.promoting import OPERATOR, POLICY, story_of
from dataflows.jobs.shadowing import served_in
from dataflows.stream.record import closed_of
from dataflows.stream.stores import Stores
from ledger.views.append import append_shared
from ledger.views.closes import Close, closes
from ledger.views.control import ControlView
from ledger.views.experiments import PastExperiment, experiments_of
from ledger.views.model_story import named, stories_of
from ledger.views.regions import bootstrap_of, defined_by
from schemas.errors import ContractError, NotFound, UsageError
from schemas.records.records import (
    CONTROL_LOG,
    EndCause,
    ExperimentStarted,
    ExperimentStopped,
    ForecastIssued,
    RegionBootstrapped,
    SlotClosed,
    region_log,
)
from schemas.regions import DAY_MIN, Region
from state.decide.arm_losses import ABSOLUTE, ArmLosses, Compared
from state.decide.experiments import Finding
from state.forecast.arms import ARMS_SINCE, design_of
from state.models.table import load_trained

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How an experiment is to be run.

    Attributes:
        name: Its id; the start slot and the challenger's first digits if empty.
        seed: Of the assignment; region, measure and id if empty.
    """

    share_milli: int = 500
    block_min: int = 60
    levels: int = 0
    washout_min: int = 0
    days: int = 28
    loss: str = ABSOLUTE
    until_decided: bool = False
    name: str = ""
    seed: str = ""


def start_experiment(
    stores: Stores, digits: str, plan: Plan, *, author: str = OPERATOR, reason: str = "by command"
) -> tuple[ExperimentStarted, Region]:
    """Record the start of an experiment with the trained model of these first digits; it serves from the next block on.

    Raises:
        NotFound, UsageError: as `named`; or the artefact is missing.
        UsageError: there is no champion, it is held, another experiment runs, or the plan does not fit the region.
    """
    stores.ledger.admit_all()
    story, model = named(stories_of(stores.ledger), digits)
    place = f"region {story.region}, {story.measure}"
    boot = bootstrap_of(stores.ledger, story.region)
    region = defined_by(boot)
    control = ControlView(stores.ledger).latest()
    start = next_slot(stores, boot, stores.ledger.head(region_log(region.id)).size)
    if (version := control.fold_version(boot, start)) < ARMS_SINCE:
        said = f"{place}: expected version {ARMS_SINCE} of the fold for an experiment, got {version}"
        raise UsageError(said, remedy="run `ridecast ledger upgrade`")
    if not story.champion:
        raise UsageError(f"{place}: expected a champion to compare with, found none", remedy="promote a model")
    if model.model == story.champion:
        raise UsageError(f"model {model.model.hex()[:12]} is the champion of {place}: an experiment needs another model")
    if story.held is not None:
        raise UsageError(f"{place}: the champion is held: {story.held.reason}", remedy="end the hold with `ridecast hold --release`")
    if region.id in control.held:
        raise UsageError(f"{place}: held without models: {control.held[region.id].reason}", remedy="run `ridecast ledger release`")
    of_place = [one for one in experiments_of(stores.ledger) if (one.started.region, one.started.measure) == (region.id, story.measure)]
    if (running := next((one for one in of_place if is_running(one, start)), None)) is not None:
        said = f"{place}: experiment {running.started.experiment} is not over yet"
        raise UsageError(said, remedy="stop it with `ridecast experiment stop`")
    _usable(stores, region, model.model)
    started = _planned(plan, region, story.measure, story.champion, model.model, start, author, reason)
    if any(one.started.experiment == started.experiment for one in of_place):
        raise UsageError(f"--name: expected a new name, got {started.experiment!r}, which an earlier experiment has")
    append_shared(stores.ledger, CONTROL_LOG, started)
    return started, region


def is_running(one: PastExperiment, next_slot: int) -> bool:
    """Whether an experiment serves, or will."""
    return one.ended_index < 0 and next_slot < one.started.until_slot


def _usable(stores: Stores, region: Region, model: bytes) -> None:
    try:
        load_trained(stores.blobs.get(model), region.horizons)
    except NotFound as cause:
        raise NotFound(f"model {model.hex()}: its artefact is missing", remedy="train it again with `ridecast train`") from cause
    except ContractError as cause:
        raise UsageError(f"model {model.hex()[:12]}: it cannot serve region {region.id}: {cause}") from cause


def _planned(
    plan: Plan, region: Region, measure: str, champion: bytes, challenger: bytes, start: int, author: str, reason: str
) -> ExperimentStarted:
    for option, minutes in (("--block", plan.block_min), ("--washout", plan.washout_min)):
        if minutes % region.slot_min:
            raise UsageError(f"{option}: expected a multiple of the region's slots of {region.slot_min} min, got {minutes}")
    block = plan.block_min // region.slot_min
    if not 0 <= plan.washout_min < plan.block_min:
        raise UsageError(f"--washout: expected less than a block of {plan.block_min} min, got {plan.washout_min}")
    first = -(-start // max(block, 1)) * block
    name = plan.name or f"{first}-{challenger.hex()[:8]}"
    started = ExperimentStarted(
        region=region.id,
        measure=measure,
        experiment=name,
        champion=champion,
        challenger=challenger,
        seed=plan.seed or f"{region.id}/{measure}/{name}",
        share_milli=plan.share_milli,
        block_slots=block,
        levels=plan.levels,
        washout_slots=plan.washout_min // region.slot_min,
        start_slot=first,
        until_slot=first + max(1, plan.days * DAY_MIN // max(plan.block_min, 1)) * block,
        loss=plan.loss,
        until_decided=plan.until_decided,
        author=author,
        reason=reason,
    )
    design_of(started)  # refuses numbers that are out of range
    return started


def stop_experiment(
    stores: Stores,
    region: str,
    measure: str,
    *,
    author: str = OPERATOR,
    reason: str = "by command",
    cause: EndCause = EndCause.COMMAND,
    compared: Compared | None = None,
) -> ExperimentStopped:
    """Record the end of the experiment that runs, with what it found; the champion serves every cell from the next close on.

    Args:
        compared: What it found, if that is known already.
    Raises:
        NotFound: none runs.
    """
    stores.ledger.admit_all()
    story_of(stores, region, measure)
    boot = bootstrap_of(stores.ledger, region)
    size = stores.ledger.head(region_log(region)).size
    running = ControlView(stores.ledger).latest().experiments.get((region, measure))
    if running is None or next_slot(stores, boot, size) >= running.until_slot:
        raise NotFound(f"region {region}, {measure}: expected an experiment that runs, found none")
    found = compared if compared is not None else Measuring(stores, running).compared(size)
    at = found.at
    texts = ["" if at < 0 else f"{float(values[at]):.6g}" for values in (found.sequence.mean, found.sequence.lower, found.sequence.upper)]
    record = ExperimentStopped(
        region=region,
        measure=measure,
        experiment=running.experiment,
        cause=cause,
        finding=found.finding,
        blocks=len(found.blocks),
        change=texts[0],
        lower=texts[1],
        upper=texts[2],
        author=author,
        reason=reason,
    )
    append_shared(stores.ledger, CONTROL_LOG, record)
    return record


class Measuring:
    """The losses of one experiment, read from the region's log as far as it goes."""

    def __init__(self, stores: Stores, started: ExperimentStarted) -> None:
        self._stores, self.started = stores, started
        self._boot: RegionBootstrapped = bootstrap_of(stores.ledger, started.region)
        self.region = defined_by(self._boot)
        self._log = region_log(started.region)
        self._control = ControlView(stores.ledger)
        self.losses = ArmLosses(self.region, self.region.measures.index(started.measure), started)
        self._size = -1  # entries of the log that were read; -1 before its first slot

    def compared(self, size: int) -> Compared:
        """What the first `size` entries of the log say."""
        if self._size < 0:
            first = self._stores.ledger.entry(self._log, SlotClosed, self.started.start_slot, last=False)
            if first is None or first.index >= size:
                return self.losses.compared()
            self._size = first.index
        for close in closes(self._stores.ledger, self._log, self._size, size):
            self._take(close)
        self._size = size
        return self.losses.compared()

    def _take(self, close: Close) -> None:
        record, started = close.record, self.started
        if record.slot >= started.until_slot + self.region.horizons[-1]:
            return
        issued = [stored.record for stored in close.after if isinstance(stored.record, ForecastIssued)]
        ours = any(one.measure == started.measure and one.experiment == started.experiment for one in issued)
        try:
            served = served_in(self._stores, close, started.measure) if ours else None
        except NotFound:
            served = None  # expired: its block says too little
        version = self._control.at(record.control_size, record.control_root).fold_version(self._boot, record.slot)
        self.losses.take(closed_of(self.region, record, close.before, self._stores.blobs), record.status, version, served)


class Deciding:
    """Stops the experiments of one region that were started to run until they find a difference."""

    def __init__(self, stores: Stores, region: Region) -> None:
        self._stores, self._region = stores, region
        self._control = ControlView(stores.ledger)
        self._measuring: dict[str, Measuring] = {}

    def take(self, slot: int, size: int) -> list[ExperimentStopped]:
        """Look at the experiments whose block has just ended, and stop those that have decided.

        Args:
            slot: That closed last.
            size: Of the region's log after it.
        """
        stopped = []
        for measure in self._region.measures:
            started = self._control.latest().experiments.get((self._region.id, measure))
            if started is None or not started.until_decided or (slot + 1 - self._region.horizons[-1]) % started.block_slots:
                continue
            if measure not in self._measuring or self._measuring[measure].started != started:
                self._measuring[measure] = Measuring(self._stores, started)
            found = self._measuring[measure].compared(size)
            if found.finding is not Finding.UNDECIDED and slot + 1 < started.until_slot:
                reason, place = f"decided: {found.sentence()}", (self._region.id, measure)
                try:
                    record = stop_experiment(self._stores, *place, author=POLICY, reason=reason, cause=EndCause.DECIDED, compared=found)
                except NotFound as ended:  # meanwhile: by a command, by a failure, or because this learner lags behind the region
                    log.info("region %s, %s: experiment %s: %s; %s", *place, started.experiment, reason, ended)
                    continue
                stopped.append(record)
                log.info("region %s, %s: experiment %s: %s", *place, started.experiment, reason)
        return stopped
