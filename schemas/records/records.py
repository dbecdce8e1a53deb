"""What the ledger says: every record that a log may hold, as a frozen dataclass.

Times inside records are event time (microseconds, UTC) or slots; wall-clock time, hosts and run ids appear only in
the records of the `runs` log. Demand is in rides for truth, in 1/1000 ride for forecasts and errors. How records
become bytes is in `schemas.records.record_codec`.
"""

import typing
from dataclasses import dataclass, field
from enum import StrEnum

from schemas.records.control_records import (
    BlobsExpired as BlobsExpired,
    EntriesArchived as EntriesArchived,
    FoldChanged as FoldChanged,
    ModelPromoted as ModelPromoted,
    ModelTrained as ModelTrained,
    RunStarted as RunStarted,
    RunStopped as RunStopped,
    SnapshotTaken as SnapshotTaken,
)


class SlotStatus(StrEnum):
    """How far a closed slot can be believed."""

    OBSERVED = "observed"
    PARTIAL = "partial"  # a source gap, or an excused partition from which rides were expected
    UNOBSERVED = "unobserved"  # no ride where the profile expects many: an outage, not zero demand


class Fallback(StrEnum):
    """Which model made a forecast, best first; the order is the code in a chunk's column."""

    NONE = "none"  # the cell's own regional model
    PARENT = "parent"  # the region's parent
    GLOBAL = "global"
    QUIET = "quiet"  # too few rides for a model: a profile shrunk towards the parent cell
    BASELINE = "baseline"  # no usable model: weekday x slot profile


FALLBACKS: tuple[Fallback, ...] = tuple(Fallback)


# --- every log ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaRecorded:
    """How the entries behind it that carry this fingerprint are read; it stands before the first of them.

    The first of a log is this record's own. Its text comes last and is plain JSON, so that a reader who knows
    nothing finds it in the bytes, and that it is the right one shows by its fingerprint.
    """

    kind: str  # name of the record, or of the schema of what a blob holds
    version: int
    fingerprint: bytes  # CRC-64-AVRO, as in the third to tenth byte of an entry
    sha256: bytes  # of the text
    text: str  # the schema in Avro's parsing canonical form


@dataclass(frozen=True, slots=True, kw_only=True)
class LogContinued:
    """Somebody accepted that this log and its checkpoint do not belong together; from here on it has a new origin."""

    log: str
    number: int  # 2 the first time; the origin is ridecast/<instance>@<number>/<log>
    checkpoint_origin: str  # what the old checkpoint said, believed or not; empty and zero when it could not be read
    checkpoint_size: int
    checkpoint_root: bytes
    evidence: bytes  # SHA-256 of the old checkpoint file, which is kept
    database_size: int  # what was there: the index of this entry, or of the schemas that stand right before it
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
    """History became counts, once; live counting starts exactly at `start_slot`."""

    region: str
    definition: str  # the region as canonical JSON
    until: str  # local date, YYYY-MM-DD
    first_slot: int  # first slot of the history; equals start_slot when there is none
    start_slot: int  # first slot counted live
    rides: int
    counts_blob: bytes  # SHA-256 of a `SlotCounts` blob; empty when there is no history
    files: tuple[SourceFile, ...] = ()
    dedup_horizon_events: int = 1_000_000  # per partition
    skew_s: int = 300
    fold_version: int = 1  # of `state.forecast.region` at the start; `FoldChanged` moves it


@dataclass(frozen=True, slots=True, kw_only=True)
class CountTable:
    """Sparse counts, sorted by (slot, cell), as parallel columns; slots and cells are delta-coded."""

    measure: str
    slots: tuple[int, ...]  # first value, then differences
    cells: tuple[int, ...]  # first value, then differences
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionCut:
    """What one partition gave to one slot: offsets [previous cut, cut) and what happened to each event.

    received = accepted + duplicate + sum(rejected.values()), always.
    accepted = counted + sum(uncounted.values()), where counted includes corrections.
    """

    partition: int
    cut: int  # first offset not below the cut
    largest_us: int  # largest accepted event time below the cut, -1 for none
    open_from: int  # lowest offset below the cut that holds a ride of a later slot, else the cut
    excused: bool
    received: int
    accepted: int
    duplicate: int
    counted: int
    rejected: dict[str, int] = field(default_factory=dict)
    uncounted: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotClosed:
    """The counts of one slot as known at its cut, and the corrections that came meanwhile."""

    region: str
    slot: int
    status: str
    partitions: tuple[PartitionCut, ...]
    counts: tuple[CountTable, ...]  # one per measure that has any; empty when in counts_blob
    corrections: tuple[CountTable, ...]  # rides of earlier slots; empty when in counts_blob
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
    """The set of cells that are forecast for changed after this slot."""

    region: str
    slot: int
    version: int  # 1 after the first
    cells: int  # how many there are now
    added: tuple[int, ...]  # ascending, delta-coded
    retired: tuple[int, ...]  # ascending, delta-coded


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonSpread:
    """The predictive distribution of one horizon: negative binomial, variance = mean + dispersion x mean^2."""

    horizon_min: int
    dispersion_milli: int  # of cells with a model or the baseline
    quiet_dispersion_milli: int  # of cells too quiet for either
    lower_milli: int  # probability of the lower quantile, 1/1000
    upper_milli: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastIssued:
    """Forecasts of one measure for every cell, issued at a slot's cut; the numbers lie in a blob of chunks."""

    region: str
    measure: str
    slot: int  # the closed slot; target = its end
    target_us: int
    horizons_min: tuple[int, ...]
    models: tuple[bytes, ...]  # digests of the artefacts in force, empty for baseline only
    features_digest: bytes  # SHA-256 of the float32 matrix, rows in cell order
    family: str  # "negative_binomial"
    spread: tuple[HorizonSpread, ...]
    cells: int
    chunks: int
    root: bytes  # RFC 6962 tree over the chunks
    blob: bytes  # SHA-256
    fallbacks: dict[str, int]  # how many cells each served
    universe_version: int
    slot_status: str
    online_weight_milli: int = 0  # share of the online correction in the mean, 1/1000


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
    covered: int  # cells whose truth lay in [lower, upper]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotScored:
    """Forecasts whose window ended with this slot met their truth; `settled` after late rides were waited for."""

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
    """Events that the source no longer holds: offsets [from_offset, to_offset) were never read."""

    region: str
    partition: int
    from_offset: int
    to_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonShort:
    """Deduplication restarted with less than its horizon, because the source no longer holds it."""

    region: str
    partition: int
    wanted_offset: int
    found_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentChanged:
    """The run goes on in another environment; floating-point state may differ in the last bit from here."""

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
    | EnvironmentChanged
    | ModelTrained
    | ModelPromoted
    | FoldChanged
    | RunStarted
    | RunStopped
    | SnapshotTaken
    | BlobsExpired
    | EntriesArchived
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
