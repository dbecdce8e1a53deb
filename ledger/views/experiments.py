"""Which experiment runs for a region and measure, by the control log; and every experiment that ever did, with how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass

from ledger.store.log import Ledger, Stored, holds
from schemas.errors import NotFound
from schemas.records.records import (
    CONTROL_LOG,
    ExperimentStarted,
    ExperimentStopped,
    ForecastIssued,
    ModelHeld,
    ModelPromoted,
    ModelRejected,
    Record,
    RegionHeld,
)

Place = tuple[str, str]  # region and measure
Running = dict[Place, ExperimentStarted]

KINDS = (ExperimentStarted, ExperimentStopped, ModelPromoted, ModelRejected, ModelHeld, RegionHeld)


@dataclass(frozen=True, slots=True)
class PastExperiment:
    """One experiment.

    Attributes:
        index: Of its start in the control log.
        ended_index: Of the record that ended it; -1 while there is none: it runs, or it ended at its longest duration.
        why: It ended, in words; empty while no record ended it.
        stopped: That record, if it is a stop.
    """

    index: int
    started: ExperimentStarted
    ended_index: int = -1
    why: str = ""
    stopped: ExperimentStopped | None = None

    def state(self, next_slot: int) -> str:
        """What it is for a region whose next slot is this one."""
        if self.ended_index >= 0:
            return f"ended: {self.why}"
        if next_slot >= self.started.until_slot:
            return "ended: its longest duration is over"
        return "runs" if next_slot >= self.started.start_slot else "begins with the next block"


def follow_record(running: Running, champions: Mapping[Place, bytes], stored: Stored[Record]) -> dict[Place, str]:
    """Start and end experiments as an entry of the control log says.

    Args:
        running: What runs before the entry; changed to what runs after it.
        champions: Digest of the champion per place before the entry.
    Returns:
        Place -> why its experiment ended.
    """
    if holds(stored, ExperimentStarted):
        began = stored.record
        place = began.region, began.measure
        before = running.get(place)
        # What a race with another process appended has no effect: one experiment at a time, and only beside its champion.
        free = before is None or before.until_slot <= began.start_slot
        if free and champions.get(place, b"") == began.champion:
            running[place] = began
        return {}
    ended = {place: why for place, one in running.items() if (why := _ends(stored, one))}
    for place in ended:
        del running[place]
    return ended


def _ends(stored: Stored[Record], one: ExperimentStarted) -> str:
    """Why an entry ends an experiment; empty if it does not."""
    if holds(stored, RegionHeld):
        return f"the region is held: {stored.record.reason}" if stored.record.region == one.region else ""
    if not isinstance(stored.record, ExperimentStopped | ModelPromoted | ModelRejected | ModelHeld):
        return ""
    record = stored.record
    if (record.region, record.measure) != (one.region, one.measure):
        return ""
    match record:
        case ExperimentStopped(experiment=one.experiment):
            return record.reason
        case ModelPromoted() if record.model != one.champion:
            return f"a new champion serves: {record.reason}"
        case ModelRejected(model=one.challenger):
            return f"the challenger was rejected: {record.reason}"
        case ModelHeld():
            return f"the champion is held: {record.reason}"
    return ""


def experiments_of(ledger: Ledger, control_size: int | None = None) -> list[PastExperiment]:
    """Every experiment that the control log started, in order; one that never came into force is left out."""
    size = ledger.head(CONTROL_LOG).size if control_size is None else control_size
    running: Running = {}
    champions: dict[Place, bytes] = {}
    found: dict[tuple[Place, str], PastExperiment] = {}
    for stored in ledger.read_kinds(CONTROL_LOG, 0, size, KINDS):
        before = dict(running)
        for place, why in follow_record(running, champions, stored).items():
            one = found[place, before[place].experiment]
            stopped = stored.record if holds(stored, ExperimentStopped) else None
            found[place, one.started.experiment] = PastExperiment(one.index, one.started, stored.index, why, stopped)
        if holds(stored, ModelPromoted):
            champions[stored.record.region, stored.record.measure] = stored.record.model
        if holds(stored, ExperimentStarted):
            began = stored.record
            if running.get((began.region, began.measure)) == began:
                found[(began.region, began.measure), began.experiment] = PastExperiment(stored.index, began)
    return list(found.values())


def experiment_named(ledger: Ledger, region: str, measure: str, name: str) -> PastExperiment:
    """One experiment by its id.

    Raises:
        NotFound: there is none of this id.
    """
    of_place = [one for one in experiments_of(ledger) if (one.started.region, one.started.measure) == (region, measure)]
    for one in of_place:
        if one.started.experiment == name:
            return one
    known = ", ".join(one.started.experiment for one in of_place) or "none"
    raise NotFound(f"experiment {name!r}: expected one of region {region}, {measure}: {known}")


def experiment_of(ledger: Ledger, issued: ForecastIssued) -> ExperimentStarted | None:
    """The experiment whose arms an issue served; None if it served none.

    Raises:
        NotFound: the control log does not have it.
    """
    if not issued.experiment:
        return None
    place = issued.region, issued.measure, issued.experiment
    for started in ledger.records(CONTROL_LOG, ExperimentStarted):
        if (started.region, started.measure, started.experiment) == place and issued.models[:2] == (started.champion, started.challenger):
            return started
    raise NotFound(f"experiment {issued.experiment!r}: an issue of slot {issued.slot} names it, and the control log does not start it")
