"""Which blobs an entry names, and whether each is stored and matches what the entry records.

Pure except for reads: a `ReadBlobs` fetches the bytes, and the caller decides how many blobs are read in parallel.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.formats.merkle import root
from ledger.store.blobs import ReadBlobs, Retention
from schemas.errors import DamagedError, NotFound
from schemas.forecasts.chunks import chunks_in
from schemas.records.kinds import KINDS, BlobContent
from schemas.records.record_skim import Skimmed, skim
from schemas.records.records import Record, SlotCounts

COUNTS, CHUNKS, MODEL, SNAPSHOT = BlobContent.COUNTS, BlobContent.CHUNKS, BlobContent.MODEL, BlobContent.SNAPSHOT
RETENTIONS = {COUNTS: Retention.PERMANENT, CHUNKS: Retention.FORECAST, MODEL: Retention.MODEL, SNAPSHOT: Retention.SNAPSHOT}


@dataclass(frozen=True, slots=True)
class NamedBlob:
    """One blob that an entry names.

    Attributes:
        index: Index of the entry.
        what: counts, chunks, model or snapshot.
        digest: SHA-256 of its bytes.
        slot: Slot of the entry, which determines when chunks expire; None if it has none.
        root: Root over its chunks, as the entry records it; empty for other content, or when it is not to be recomputed.
    """

    index: int
    what: BlobContent
    digest: bytes
    slot: int | None = None
    root: bytes = b""

    @property
    def retention(self) -> Retention:
        """How long it is kept.

        >>> NamedBlob(7, CHUNKS, b"digest").retention.value
        'forecast'
        """
        return RETENTIONS[self.what]


@dataclass(frozen=True, slots=True)
class Fault:
    """A problem with one blob. If the blob is missing, the caller decides whether it may have expired."""

    named: NamedBlob
    what: str
    missing: bool = False


# Starts to check a batch of blobs; the returned function waits for the faults, so that a process pool can work in between.
CheckBlobs = Callable[[Sequence[NamedBlob]], Callable[[], Sequence[Fault]]]


def blobs_of_kind(kind: str) -> tuple[tuple[str, BlobContent], ...]:
    """(field, content) of each field of a record kind that names blobs; empty for a kind that this version does not know.

    >>> blobs_of_kind("ModelPromoted")
    (('model', <BlobContent.MODEL: 'model'>),)
    """
    return KINDS[kind].blobs if kind in KINDS else ()


def blobs_of_record(record: Record) -> tuple[tuple[str, bytes], ...]:
    """(content, digest) of each blob that a record names.

    >>> from schemas.records.records import ModelPromoted
    >>> blobs_of_record(ModelPromoted(region="nyc", measure="pickups", model=b"digest", alias="champion", reason="better"))
    ((<BlobContent.MODEL: 'model'>, b'digest'),)
    """
    kind = type(record).__name__
    return tuple((what, digest) for field, what in blobs_of_kind(kind) for digest in _digests(getattr(record, field)))


def blobs_of_entry(index: int, seen: Skimmed) -> list[NamedBlob]:
    """The blobs that an entry names, read from its skimmed bytes.

    >>> blobs_of_entry(7, Skimmed("ModelPromoted", None, "pickups", {"model": b"digest"}))
    [NamedBlob(index=7, what=<BlobContent.MODEL: 'model'>, digest=b'digest', slot=None, root=b'')]
    """
    return [
        NamedBlob(index, what, digest, seen.slot, seen.fields["root"] if what == CHUNKS else b"")
        for field, what in blobs_of_kind(seen.kind)
        for digest in _digests(seen.fields[field])
    ]


def check_blobs(blobs: ReadBlobs, batch: Sequence[NamedBlob]) -> list[Fault]:
    """Read blobs, hash them again, and compare them with what their entries record.

    Raises:
        StoreUnavailable: the store does not answer, so nothing can be checked.
    """
    faults = []
    for named in batch:
        try:
            fault = _content(named, blobs.get(named.digest))
        except NotFound:
            faults.append(Fault(named, f"its {named.what}, blob {named.digest.hex()}, is missing", missing=True))
            continue
        except DamagedError as damage:
            fault = f"its {named.what}: {damage}"
        if fault:
            faults.append(Fault(named, fault))
    return faults


def checks_here(blobs: ReadBlobs) -> CheckBlobs:
    """Check blobs immediately, in this process."""

    def check(batch: Sequence[NamedBlob]) -> Callable[[], Sequence[Fault]]:
        faults = check_blobs(blobs, batch)
        return lambda: faults

    return check


def _content(named: NamedBlob, data: bytes) -> str:
    """What is wrong with bytes whose digest is right; empty if nothing is."""
    if named.what == CHUNKS and named.root:
        found = root([hashlib.sha256(b"\0" + chunk).digest() for chunk in chunks_in(data)])  # as `leaf_hash`, without its call
        if found != named.root:
            return f"its chunks: expected root {named.root.hex()}, got {found.hex()}"
    elif named.what == COUNTS and (kind := skim(data).kind) != SlotCounts.__name__:
        return f"its counts, blob {named.digest.hex()}: expected {SlotCounts.__name__}, got {kind}"
    return ""


def _digests(value: Any) -> list[bytes]:
    """The digests in a field; an empty digest names no blob."""
    return [digest for digest in ([value] if isinstance(value, bytes) else value) if digest]
