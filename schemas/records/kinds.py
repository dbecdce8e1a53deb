"""The table of record kinds, one row per kind: its log, its part of a close, its blobs, and how it is shown.

Code that treats kinds differently reads this table, so that a new kind needs only a class, a schema file and a row.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from schemas.errors import ContractError
from schemas.records.records import (
    AccessesCounted,
    Acknowledged,
    AlertChanged,
    AlertOpened,
    AlertResolved,
    AlertSilenced,
    BlobsExpired,
    CovariatesKnown,
    EntriesArchived,
    EnvironmentChanged,
    ExperimentStarted,
    ExperimentStopped,
    FlagSet,
    FoldChanged,
    ForecastIssued,
    HorizonShort,
    JobAbandoned,
    JobFailed,
    JobLeased,
    JobPaused,
    JobResumed,
    JobScheduled,
    JobSkipped,
    JobStarted,
    JobSucceeded,
    LogContinued,
    ModelHeld,
    ModelPromoted,
    ModelRejected,
    ModelReleased,
    ModelTrained,
    ParameterSet,
    PartitionsChanged,
    Record,
    RegionBootstrapped,
    RegionHalted,
    RegionHeld,
    RegionReleased,
    RunStarted,
    RunStopped,
    SchemaRecorded,
    SignalObserved,
    SlotClosed,
    SlotScored,
    SnapshotTaken,
    SourceChanged,
    SourceGap,
    StateDigested,
    UniverseChanged,
)


class LogFamily(StrEnum):
    """Which logs hold a kind."""

    ANY = "any"
    REGION = "region"
    CONTROL = "control"
    RUNS = "runs"
    ACCESS = "access"
    ALERTS = "alerts"
    JOBS = "jobs"


class ClosePart(StrEnum):
    """Position of an entry in a close."""

    NONE = "none"  # not part of a close
    BEFORE = "before"  # found since the last close
    SLOT = "slot"  # the slot itself
    AFTER = "after"  # a consequence of the slot


class BlobContent(StrEnum):
    """Contents of a blob that an entry names by its digest."""

    COUNTS = "counts"
    CHUNKS = "chunks"
    MODEL = "model"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of record.

    Attributes:
        record: Its class.
        log: Which logs hold it.
        version: Of its current schema.
        indexed: Fields by which a log finds it: `slot`, and `measure` as the subject.
        close: Its part of a close.
        floating: Whether its bytes contain floating-point results, which may differ in the last bit in another environment.
        archived: Whether `ledger archive` moves its payload to the archive.
        blobs: (field with one or more digests, contents of the blob).
        shown: Fields shown in a one-line summary, in order.
    """

    record: type[Record]
    log: LogFamily
    version: int = 1
    indexed: tuple[str, ...] = ()
    close: ClosePart = ClosePart.NONE
    floating: bool = False
    archived: bool = False
    blobs: tuple[tuple[str, BlobContent], ...] = ()
    shown: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the kind, as in schemas and databases."""
        return self.record.__name__


ROWS = (
    Kind(record=SchemaRecorded, log=LogFamily.ANY, shown=("kind", "version")),
    Kind(record=LogContinued, log=LogFamily.ANY, shown=("number", "database_size", "reason")),
    Kind(
        record=RegionBootstrapped,
        log=LogFamily.REGION,
        version=3,
        blobs=(("counts_blob", BlobContent.COUNTS),),
        shown=("until", "rides"),
    ),
    Kind(
        record=SlotClosed,
        log=LogFamily.REGION,
        indexed=("slot",),
        close=ClosePart.SLOT,
        archived=True,
        blobs=(("counts_blob", BlobContent.COUNTS),),
        shown=("slot", "status", "partitions"),
    ),
    Kind(
        record=UniverseChanged,
        log=LogFamily.REGION,
        indexed=("slot",),
        close=ClosePart.AFTER,
        archived=True,
        shown=("slot", "cells", "version"),
    ),
    Kind(
        record=ForecastIssued,
        log=LogFamily.REGION,
        version=4,
        indexed=("slot", "measure"),
        close=ClosePart.AFTER,
        floating=True,
        archived=True,
        blobs=(("blob", BlobContent.CHUNKS), ("models", BlobContent.MODEL)),
        shown=("target_us", "slot", "measure", "cells", "root"),
    ),
    Kind(
        record=SlotScored,
        log=LogFamily.REGION,
        indexed=("slot", "measure"),
        close=ClosePart.AFTER,
        floating=True,
        archived=True,
        shown=("slot", "measure", "settled"),
    ),
    Kind(
        record=StateDigested,
        log=LogFamily.REGION,
        indexed=("slot",),
        close=ClosePart.AFTER,
        floating=True,
        archived=True,
        shown=("slot",),
    ),
    Kind(record=SourceGap, log=LogFamily.REGION, close=ClosePart.BEFORE, shown=("partition", "from_offset", "to_offset")),
    Kind(record=HorizonShort, log=LogFamily.REGION, close=ClosePart.BEFORE, shown=("partition", "wanted_offset", "found_offset")),
    Kind(record=SourceChanged, log=LogFamily.REGION, indexed=("slot",), close=ClosePart.BEFORE, shown=("slot", "before", "after")),
    Kind(record=PartitionsChanged, log=LogFamily.REGION, indexed=("slot",), close=ClosePart.BEFORE, shown=("slot", "added", "removed")),
    Kind(record=EnvironmentChanged, log=LogFamily.REGION, indexed=("slot",), shown=("slot", "environment")),
    Kind(
        record=ModelTrained,
        log=LogFamily.CONTROL,
        indexed=("measure",),
        blobs=(("model", BlobContent.MODEL),),
        shown=("measure", "algorithm", "model"),
    ),
    Kind(
        record=ModelPromoted,
        log=LogFamily.CONTROL,
        version=3,
        indexed=("measure",),
        blobs=(("model", BlobContent.MODEL),),
        shown=("measure", "alias", "reason", "model"),
    ),
    Kind(
        record=ModelRejected,
        log=LogFamily.CONTROL,
        version=2,
        indexed=("measure",),
        blobs=(("model", BlobContent.MODEL),),
        shown=("measure", "reason", "model"),
    ),
    Kind(record=ModelHeld, log=LogFamily.CONTROL, indexed=("measure",), shown=("region", "measure", "reason")),
    Kind(record=ModelReleased, log=LogFamily.CONTROL, indexed=("measure",), shown=("region", "measure", "reason")),
    Kind(
        record=ExperimentStarted,
        log=LogFamily.CONTROL,
        indexed=("measure",),
        blobs=(("champion", BlobContent.MODEL), ("challenger", BlobContent.MODEL)),
        shown=("region", "measure", "experiment", "reason", "challenger"),
    ),
    Kind(
        record=ExperimentStopped,
        log=LogFamily.CONTROL,
        indexed=("measure",),
        shown=("region", "measure", "experiment", "finding", "reason"),
    ),
    Kind(record=CovariatesKnown, log=LogFamily.CONTROL, shown=("region", "names", "source")),
    Kind(record=ParameterSet, log=LogFamily.CONTROL, shown=("parameter", "region", "cell", "value", "reason")),
    Kind(record=FlagSet, log=LogFamily.CONTROL, shown=("flag", "definition", "reason")),
    Kind(record=FoldChanged, log=LogFamily.CONTROL, indexed=("slot",), shown=("region", "slot", "version")),
    Kind(record=RegionHeld, log=LogFamily.CONTROL, indexed=("slot",), shown=("region", "slot", "reason")),
    Kind(record=RegionReleased, log=LogFamily.CONTROL, shown=("region", "reason")),
    Kind(record=RunStarted, log=LogFamily.RUNS, shown=("command", "processes")),
    Kind(record=RunStopped, log=LogFamily.RUNS, shown=("run",)),
    Kind(record=RegionHalted, log=LogFamily.RUNS, indexed=("slot",), shown=("region", "slot", "reason")),
    Kind(
        record=SnapshotTaken,
        log=LogFamily.RUNS,
        indexed=("slot",),
        blobs=(("blob", BlobContent.SNAPSHOT),),
        shown=("region", "slot", "root"),
    ),
    Kind(record=BlobsExpired, log=LogFamily.RUNS, shown=("region", "retention", "count")),
    Kind(record=EntriesArchived, log=LogFamily.RUNS, shown=("log", "start", "stop")),
    Kind(record=AccessesCounted, log=LogFamily.ACCESS, shown=("from_us", "until_us", "dropped")),
    Kind(record=Acknowledged, log=LogFamily.ALERTS, shown=("log", "index", "outcome")),
    Kind(record=JobScheduled, log=LogFamily.JOBS, shown=("name", "job", "cron", "reason")),
    Kind(record=JobPaused, log=LogFamily.JOBS, shown=("name", "reason")),
    Kind(record=JobResumed, log=LogFamily.JOBS, shown=("name", "reason")),
    Kind(record=JobLeased, log=LogFamily.JOBS, shown=("name", "interval", "attempt", "token", "owner")),
    Kind(record=JobStarted, log=LogFamily.JOBS, shown=("run", "token")),
    Kind(record=JobSucceeded, log=LogFamily.JOBS, shown=("run", "token", "duration_ms")),
    Kind(record=JobFailed, log=LogFamily.JOBS, shown=("run", "token", "attempt", "error")),
    Kind(record=JobSkipped, log=LogFamily.JOBS, shown=("name", "first", "last", "why")),
    Kind(record=JobAbandoned, log=LogFamily.JOBS, shown=("run", "token", "why")),
    Kind(record=SignalObserved, log=LogFamily.ALERTS, indexed=("slot",), shown=("kind", "region", "subject", "firing")),
    Kind(record=AlertOpened, log=LogFamily.ALERTS, shown=("alert", "severity", "kind", "region", "subject")),
    Kind(record=AlertChanged, log=LogFamily.ALERTS, shown=("alert", "changed", "severity", "kind")),
    Kind(record=AlertResolved, log=LogFamily.ALERTS, shown=("alert", "reason", "into")),
    Kind(record=AlertSilenced, log=LogFamily.ALERTS, shown=("region", "kind", "subject", "until_us", "reason")),
)

KINDS = MappingProxyType({row.name: row for row in ROWS})


def kind_of_record(record: type[Record]) -> Kind:
    """The row of a class of records.

    Raises:
        ContractError: there is no row.

    >>> kind_of_record(SlotClosed).close.value
    'slot'
    """
    try:
        return KINDS[record.__name__]
    except KeyError:
        raise ContractError(f"{record.__name__}: expected a row in schemas/records/kinds.py, found none") from None


def names_in(*parts: ClosePart) -> tuple[str, ...]:
    """Names of the kinds in these parts of a close.

    >>> names_in(ClosePart.BEFORE)
    ('SourceGap', 'HorizonShort', 'SourceChanged', 'PartitionsChanged')
    """
    return tuple(row.name for row in ROWS if row.close in parts)
