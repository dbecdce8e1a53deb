"""Records of the `control` and `runs` logs: models, promotions, holds, rules and retention; processes, hosts and caches.

Records of regions, and the union of all, are in `schemas.records.records`, which re-exports these.
"""

from dataclasses import dataclass
from enum import StrEnum

# --- control -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTrained:
    """A model was trained; it serves only after it is promoted."""

    region: str
    measure: str
    model: bytes  # SHA-256 of the artefact blob
    algorithm: str
    features: tuple[str, ...]
    first_slot: int  # training data: slots [first_slot, until_slot)
    until_slot: int
    rows: int
    data_digest: bytes
    parameters: dict[str, str]
    metrics: dict[str, str]
    trained_on: tuple[bytes, ...] = ()  # root of the region's log at training, with its size in parameters


class Cause(StrEnum):
    """Why a model was promoted."""

    COMMAND = "command"  # somebody said so
    GATES = "gates"  # a trial in which it passed every gate
    ROLLBACK = "rollback"  # it served before, and its successor was worse


class Category(StrEnum):
    """What the gates of a trial asked for."""

    IMPROVEMENT = "improvement"  # evidence that the challenger is better
    REFIT = "refit"  # the champion's recipe on a week more data: no evidence that it is worse


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """The result of one gate of a trial; numbers as text with six digits, empty where nothing was measured."""

    gate: str
    passed: bool
    value: str
    bound: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPromoted:
    """From the next close on, this model serves as champion of its region and measure."""

    region: str
    measure: str
    model: bytes
    alias: str  # "champion"
    reason: str
    author: str = ""  # who decided: a role, or the opaque name of a key, never a person; "ridecast" for the policy
    cause: str = Cause.COMMAND
    replaced: bytes = b""  # the champion before; empty for none
    evidence: tuple[GateResult, ...] = ()
    category: str = ""  # a Category; empty for a command or a rollback


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRejected:
    """A challenger will not be promoted, or a champion was rolled back; training it again makes a new challenger."""

    region: str
    measure: str
    model: bytes
    author: str
    reason: str
    evidence: tuple[GateResult, ...] = ()
    category: str = ""  # a Category; empty for a command or a rollback, and in version 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHeld:
    """Until released, no model of a region and measure is promoted or rolled back but by command."""

    region: str
    measure: str
    author: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReleased:
    """Models of a region and measure are promoted and rolled back by themselves again."""

    region: str
    measure: str
    author: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldChanged:
    """From this slot on, a region is folded by another version of the fold."""

    region: str
    slot: int  # first slot that closes under this version
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionHeld:
    """From the next close on, a region is served without models: with one of them its fold failed."""

    region: str
    slot: int  # the slot whose fold failed, and the first that closes without models
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionReleased:
    """From the next close on, a region that was held uses its champions again."""

    region: str
    reason: str


# --- runs --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A process started to write; the only record with wall-clock time, host and environment."""

    run: str
    command: str
    started_at_us: int
    host: str
    environment: bytes
    packages: str
    source: str
    processes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStopped:
    """A process ended cleanly, with the sizes of the logs at that time."""

    run: str
    stopped_at_us: int
    sizes: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionHalted:
    """A run stopped closing slots of a region, because its fold fails even without models; its other regions go on."""

    run: str
    region: str
    slot: int  # the slot that did not close, -1 if the region did not start
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotTaken:
    """A snapshot of a region's state after a slot was stored; losing it costs only time."""

    region: str
    slot: int
    size: int  # of the region's log; these entries are in the state
    root: bytes
    blob: bytes
    environment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobsExpired:
    """Blobs past their retention time; recorded before they are removed."""

    region: str  # region of the chunks; empty for snapshots and orphans
    retention: str  # snapshot, forecast, or orphan for blobs that no entry names
    from_slot: int  # chunks of slots [from_slot, until_slot); both 0 for orphans
    until_slot: int
    count: int
    digests: bytes  # SHA-256 over the blobs' digests, ascending, concatenated


@dataclass(frozen=True, slots=True, kw_only=True)
class EntriesArchived:
    """Payloads of entries [start, stop) of a log, and blobs that they name, are only in the archive; hashes stay."""

    log: str
    start: int
    stop: int
    root: bytes  # of the log at size `stop`
    blobs: int
    digests: bytes  # SHA-256 over the blobs' digests, ascending, concatenated
