"""Which blobs an entry names, and whether each is there and is what the entry promises.

Pure but for reading: where blobs lie is said by a `ReadBlobs`, and how many are read at once by whoever calls.
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
        index: Of the entry.
        what: counts, chunks, model or snapshot.
        digest: SHA-256 of its bytes.
        slot: Of the entry, which says when chunks expire; None when it has none.
        root: Over its chunks, as the entry promises; empty for all else, and where it is not to be derived.
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
    """What is wrong with a blob; whether it may have expired is for others to say when it is only missing."""

    named: NamedBlob
    what: str
    missing: bool = False


# A batch of blobs -> what is wrong with them, when it is asked for: a pool of processes works meanwhile.
CheckBlobs = Callable[[Sequence[NamedBlob]], Callable[[], Sequence[Fault]]]


def blobs_of_kind(kind: str) -> tuple[tuple[str, BlobContent], ...]:
    """(field, content) of each field of a kind that names blobs; none for a kind that this version does not know.

    >>> blobs_of_kind("ModelPromoted")
    (('model', <BlobContent.MODEL: 'model'>),)
    """
    return KINDS[kind].blobs if kind in KINDS else ()


def blobs_of_record(record: Record) -> tuple[tuple[str, bytes], ...]:
    """(what it is, digest) of each blob that a record names.

    >>> from schemas.records.records import ModelPromoted
    >>> blobs_of_record(ModelPromoted(region="nyc", measure="pickups", model=b"digest", alias="champion", reason="better"))
    ((<BlobContent.MODEL: 'model'>, b'digest'),)
    """
    kind = type(record).__name__
    return tuple((what, digest) for field, what in blobs_of_kind(kind) for digest in _digests(getattr(record, field)))


def blobs_of_entry(index: int, seen: Skimmed) -> list[NamedBlob]:
    """The blobs that an entry names, from a look at its bytes.

    >>> blobs_of_entry(7, Skimmed("ModelPromoted", None, "pickups", {"model": b"digest"}))
    [NamedBlob(index=7, what=<BlobContent.MODEL: 'model'>, digest=b'digest', slot=None, root=b'')]
    """
    return [
        NamedBlob(index, what, digest, seen.slot, seen.fields["root"] if what == CHUNKS else b"")
        for field, what in blobs_of_kind(seen.kind)
        for digest in _digests(seen.fields[field])
    ]


def check_blobs(blobs: ReadBlobs, batch: Sequence[NamedBlob]) -> list[Fault]:
    """Read blobs, hash them again, and hold them against what their entries promise.

    Raises:
        StoreUnavailable: the store does not answer, so nothing can be said.
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
    """Check blobs at once, in this very process."""

    def check(batch: Sequence[NamedBlob]) -> Callable[[], Sequence[Fault]]:
        faults = check_blobs(blobs, batch)
        return lambda: faults

    return check


def _content(named: NamedBlob, data: bytes) -> str:
    """What is wrong with bytes that hash well; empty when nothing is."""
    if named.what == CHUNKS and named.root:
        found = root([hashlib.sha256(b"\0" + chunk).digest() for chunk in chunks_in(data)])  # as `leaf_hash`, without its call
        if found != named.root:
            return f"its chunks hash to the root {found.hex()}, it promises {named.root.hex()}"
    elif named.what == COUNTS and (kind := skim(data).kind) != SlotCounts.__name__:
        return f"its counts, blob {named.digest.hex()}: expected {SlotCounts.__name__}, got {kind}"
    return ""


def _digests(value: Any) -> list[bytes]:
    """The digests of a field; an empty one names nothing."""
    return [digest for digest in ([value] if isinstance(value, bytes) else value) if digest]
