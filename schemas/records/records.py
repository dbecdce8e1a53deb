"""Every record that a log may hold, as a frozen dataclass.

Times inside records are event time (microseconds, UTC) or slots; hosts and run ids appear only in the records of the
`runs` log, wall-clock time only there, in `access`, `alerts` and `jobs`, and in what people set (`ParameterSet`,
`FlagSet`). True counts are in rides, forecasts and errors in 1/1000 ride. The encoding is in `schemas.records.record_codec`.
"""

import typing
from dataclasses import dataclass, field
from enum import StrEnum

from schemas.records.alert_records import (
    AlertChanged as AlertChanged,
    AlertOpened as AlertOpened,
    AlertResolved as AlertResolved,
    AlertSilenced as AlertSilenced,
    Cited as Cited,
    SignalObserved as SignalObserved,
)
from schemas.records.api_records import AccessCount as AccessCount, AccessesCounted as AccessesCounted, Acknowledged as Acknowledged
from schemas.records.control_records import (
    BlobsExpired as BlobsExpired,
    Category as Category,
    Cause as Cause,
    EntriesArchived as EntriesArchived,
    FoldChanged as FoldChanged,
    GateResult as GateResult,
    ModelHeld as ModelHeld,
    ModelPromoted as ModelPromoted,
    ModelRejected as ModelRejected,
    ModelReleased as ModelReleased,
    ModelTrained as ModelTrained,
    RegionHalted as RegionHalted,
    RegionHeld as RegionHeld,
    RegionReleased as RegionReleased,
    RunStarted as RunStarted,
    RunStopped as RunStopped,
    SnapshotTaken as SnapshotTaken,
)
from schemas.records.covariate_records import CovariatesKnown as CovariatesKnown
from schemas.records.experiment_records import (
    EndCause as EndCause,
    ExperimentStarted as ExperimentStarted,
    ExperimentStopped as ExperimentStopped,
)
from schemas.records.issue_records import (
    BandLevels as BandLevels,
    BandWeights as BandWeights,
    ForecastIssued as ForecastIssued,
    HorizonSpread as HorizonSpread,
    HorizonWeights as HorizonWeights,
)
from schemas.records.job_records import (
    CatchUp as CatchUp,
    JobAbandoned as JobAbandoned,
    JobFailed as JobFailed,
    JobLeased as JobLeased,
    JobPaused as JobPaused,
    JobResumed as JobResumed,
    JobScheduled as JobScheduled,
    JobSkipped as JobSkipped,
    JobStarted as JobStarted,
    JobSucceeded as JobSucceeded,
    Overlap as Overlap,
)
from schemas.records.parameter_records import FlagSet as FlagSet, ParameterSet as ParameterSet


class SlotStatus(StrEnum):
    """How reliable the counts of a closed slot are."""

    OBSERVED = "observed"
    PARTIAL = "partial"  # a gap or a change of the source, or an excused partition from which rides were expected
    UNOBSERVED = "unobserved"  # no rides although the profile expects many, or before the first ride: not zero demand


class Fallback(StrEnum):
    """Which model made a forecast; the position is the code in a chunk's column, so new members are appended."""

    NONE = "none"  # the cell's own regional model
    PARENT = "parent"  # the region's parent
    GLOBAL = "global"
    QUIET = "quiet"  # too few rides for a model: a profile shrunk towards the parent cell
    BASELINE = "baseline"  # no usable model: weekday x slot profile
    LEVEL = "level"  # no usable model: the current level of demand; before version 6 of the fold only with less than a week of history


FALLBACKS: tuple[Fallback, ...] = tuple(Fallback)
BY_MODEL = (Fallback.NONE, Fallback.PARENT, Fallback.GLOBAL)  # the others use no trained artefact


# --- every log ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaRecorded:
    """The schema of later entries with this fingerprint; recorded before the first of them.

    The first one in a log is this record's own schema. Its text comes last and is plain JSON, so that it can be found
    in the bytes without prior knowledge, and checked with its fingerprint.
    """

    kind: str  # name of the record, or of the schema of a blob's contents
    version: int
    fingerprint: bytes  # CRC-64-AVRO, as in bytes 3 to 10 of an entry
    sha256: bytes  # of the text
    text: str  # the schema in Avro's parsing canonical form


@dataclass(frozen=True, slots=True, kw_only=True)
class LogContinued:
    """An operator accepted that this log and its checkpoint do not match; from here on it has a new origin."""

    log: str
    number: int  # 2 the first time; the origin is ridecast/<instance>@<number>/<log>
    checkpoint_origin: str  # as in the old checkpoint, valid or not; empty and zero if it could not be read
    checkpoint_size: int
    checkpoint_root: bytes
    evidence: bytes  # SHA-256 of the old checkpoint file, which is kept
    database_size: int  # size found: the index of this entry, or of the schemas recorded right before it
    database_root: bytes
    reason: str


# --- region/<id> -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file of history: its name without folders, the digest of its bytes, and its rows."""

    name: str
    sha256: bytes
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionBootstrapped:
    """History was counted, once; live counting starts exactly at `start_slot`."""

    region: str
    definition: str  # the region as canonical JSON
    until: str  # local date, YYYY-MM-DD
    first_slot: int  # first slot of the history; equals start_slot without history
    start_slot: int  # first slot counted live
    rides: int
    counts_blob: bytes  # SHA-256 of a `SlotCounts` blob; empty without history
    files: tuple[SourceFile, ...] = ()
    dedup_horizon_events: int = 1_000_000  # per partition
    skew_s: int = 300
    fold_version: int = 1  # of `state.forecast.region` at the start; `FoldChanged` changes it
    evidence_events: int = 1  # so many events of a window must have reached a time before it cuts a slot
    evidence_window_events: int = 1  # accepted events of a partition in a window
    hold_s: int = 0  # a ride that is further ahead is not counted; 0: no bound
    others_ok: bool = False  # events of other regions are uncounted; before version 3 they were rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class CountTable:
    """Sparse counts, sorted by (slot, cell), as parallel columns; slots and cells are delta-coded."""

    measure: str
    slots: tuple[int, ...]  # first value, then differences
    cells: tuple[int, ...]  # first value, then differences
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionCut:
    """One partition's events of one slot: offsets [previous cut, cut), and how many were accepted, rejected and counted.

    received = accepted + duplicate + sum(rejected.values()), always.
    accepted = counted + sum(uncounted.values()), where counted includes corrections.
    """

    partition: int
    cut: int  # first offset not below the cut
    largest_us: int  # evidenced time below the cut, -1 for none; the largest accepted one where one event is evidence enough
    open_from: int  # lowest offset below the cut that holds a ride of a later slot or is still needed as evidence, else the cut
    excused: bool
    received: int
    accepted: int
    duplicate: int
    counted: int
    rejected: dict[str, int] = field(default_factory=dict)
    uncounted: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotClosed:
    """The counts of one slot as known at its cut, and the corrections since the last close."""

    region: str
    slot: int
    status: str
    partitions: tuple[PartitionCut, ...]
    counts: tuple[CountTable, ...]  # one per measure that has any; empty when in counts_blob
    corrections: tuple[CountTable, ...]  # late rides of earlier slots; empty when in counts_blob
    counts_blob: bytes  # SHA-256 of a `SlotCounts` blob when both exceed 32 KB together, else empty
    control_size: int
    control_root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotCounts:
    """Counts and corrections of a slot that were too large for its entry; a blob, not an entry."""

    counts: tuple[CountTable, ...]
    corrections: tuple[CountTable, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UniverseChanged:
    """The set of forecast cells changed after this slot."""

    region: str
    slot: int
    version: int  # 1 after the first
    cells: int  # number of cells after the change
    added: tuple[int, ...]  # ascending, delta-coded
    retired: tuple[int, ...]  # ascending, delta-coded


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """Pooled errors of one horizon; milli = 1/1000 ride, squares in 1/1,000,000."""

    horizon_min: int
    cells: int
    truth: int
    forecast_mean_milli: int
    abs_error_milli: int  # of the median
    square_error_micro: int  # of the mean
    baseline_abs_error_milli: int
    baseline_square_error_micro: int
    # Without bands in the issue: cells whose true count was in [lower, upper]. With bands: the number of cells expected
    # to be covered by a randomised interval of exactly 80 %, rounded; see docs/accuracy.md.
    covered: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotScored:
    """Errors of the forecasts whose window ended with this slot; `settled` is the final score, with late rides."""

    region: str
    measure: str
    slot: int
    settled: bool
    rows: tuple[ScoreRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDigested:
    """The fold's state after a slot, so that a resumed fold can be checked."""

    region: str
    slot: int
    integers: bytes  # SHA-256 over the integer state
    models: bytes  # SHA-256 over the floating-point state; comparable in the same environment only


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceGap:
    """Events that the source no longer has: offsets [from_offset, to_offset) were never read."""

    region: str
    partition: int
    from_offset: int
    to_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonShort:
    """Deduplication restarted with less than its horizon, because the source no longer has the events."""

    region: str
    partition: int
    wanted_offset: int
    found_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceChanged:
    """The rides come from another log: offsets of the old one end with the slot before, the new one is read from its lowest."""

    region: str
    slot: int  # the first slot that is closed with it
    before: str  # identity of the log that was read before, as in `RunStarted.source`
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionsChanged:
    """The ride log has other partitions; added ones are read from offset 0, their rides of closed slots are corrections."""

    region: str
    slot: int  # the first slot that is closed with them
    added: tuple[int, ...]  # ascending
    removed: tuple[int, ...]  # ascending; only together with SourceChanged


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentChanged:
    """The run continues in another environment; from here on, floating-point state may differ in the last bit."""

    region: str
    slot: int
    environment: bytes  # digest


Record = (
    SchemaRecorded
    | LogContinued
    | RegionBootstrapped
    | SlotClosed
    | UniverseChanged
    | ForecastIssued
    | SlotScored
    | StateDigested
    | SourceGap
    | HorizonShort
    | SourceChanged
    | PartitionsChanged
    | EnvironmentChanged
    | ModelTrained
    | ModelPromoted
    | ModelRejected
    | ModelHeld
    | ModelReleased
    | ExperimentStarted
    | ExperimentStopped
    | CovariatesKnown
    | ParameterSet
    | FlagSet
    | FoldChanged
    | RegionHeld
    | RegionReleased
    | RunStarted
    | RunStopped
    | RegionHalted
    | SnapshotTaken
    | BlobsExpired
    | EntriesArchived
    | AccessesCounted
    | Acknowledged
    | JobScheduled
    | JobPaused
    | JobResumed
    | JobLeased
    | JobStarted
    | JobSucceeded
    | JobFailed
    | JobSkipped
    | JobAbandoned
    | SignalObserved
    | AlertOpened
    | AlertChanged
    | AlertResolved
    | AlertSilenced
)

RECORDS: tuple[type[Record], ...] = typing.get_args(Record)
BLOB_RECORDS = (CountTable, SlotCounts)


REGION_LOGS = "region/"  # what the names of regions' logs begin with


def region_log(region: str) -> str:
    """Name of a region's log.

    >>> region_log("nyc")
    'region/nyc'
    """
    return f"{REGION_LOGS}{region}"


def region_in(log: str) -> str | None:
    """Name of the region whose log this is; None for another log.

    >>> region_in("region/nyc"), region_in("control")
    ('nyc', None)
    """
    return log.removeprefix(REGION_LOGS) if log.startswith(REGION_LOGS) else None


CONTROL_LOG = "control"
RUNS_LOG = "runs"
ACCESS_LOG = "access"
ALERTS_LOG = "alerts"
JOBS_LOG = "jobs"
