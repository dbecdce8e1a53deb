"""What `control` and `runs` say: models, promotions, rules and retention; processes, hosts and caches.

Records of regions, and the union of all, are in `schemas.records.records`, which gives these out too.
"""

from dataclasses import dataclass

# --- control -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTrained:
    """A model exists; it serves only when promoted."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPromoted:
    """From the next close on, this model serves as champion of its region and measure."""

    region: str
    measure: str
    model: bytes
    alias: str  # "champion"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldChanged:
    """A region is folded by another version of the rules, from this slot on."""

    region: str
    slot: int  # first slot that closes under it
    version: int


# --- runs --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A process began to write; the only place for wall-clock time, host and environment."""

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
    """A process ended cleanly, with the sizes that the logs had then."""

    run: str
    stopped_at_us: int
    sizes: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotTaken:
    """A cache of a region's state after a slot exists; losing it costs time only."""

    region: str
    slot: int
    size: int  # of the region's log, whose entries are folded in
    root: bytes
    blob: bytes
    environment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobsExpired:
    """Blobs whose time is over; written before they are removed."""

    region: str  # whose chunks; empty for snapshots and orphans
    retention: str  # snapshot, forecast, or orphan for what no entry names
    from_slot: int  # chunks of slots [from_slot, until_slot); both 0 for orphans
    until_slot: int
    count: int
    digests: bytes  # SHA-256 over the blobs' digests, ascending, one behind the other


@dataclass(frozen=True, slots=True, kw_only=True)
class EntriesArchived:
    """Payloads of entries [start, stop) of a log, and blobs that they name, lie in the archive only; hashes stayed."""

    log: str
    start: int
    stop: int
    root: bytes  # of the log at size `stop`
    blobs: int
    digests: bytes  # SHA-256 over the blobs' digests, ascending, one behind the other
