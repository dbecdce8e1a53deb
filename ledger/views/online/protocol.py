"""The contract of the online store: the newest forecasts of every region, one cell or all, without reading the ledger.

It is a cache that can be rebuilt from the ledger. An issue replaces an older one and never a newer one, in
whatever order several publishers write. A store may outlive its ledger: what it holds of another ledger is replaced,
see `ledger.views.identity`.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from schemas.errors import DamagedError
from schemas.forecasts.chunks import Blob, unpack_blob
from schemas.records.record_codec import decode
from schemas.records.records import ForecastIssued


@dataclass(frozen=True, slots=True)
class StoredIssue:
    """One issue as the ledger holds it.

    Attributes:
        index: Of its entry in the region's log.
        entry: Payload of that entry, a `ForecastIssued`.
        blob: Its chunks, packed by `schemas.forecasts.chunks.pack_blob`; empty for an issue without cells.
        number: Of the log's origin: a log that was continued starts again at lower indexes.
    """

    index: int
    entry: bytes
    blob: bytes
    number: int = 1

    @property
    def place(self) -> tuple[int, int]:
        """Orders issues by age: number of the log's origin, then index."""
        return self.number, self.index


class StoredCell(NamedTuple):
    """The part of an issue that holds one cell.

    Attributes:
        entry: Payload of the issue's entry.
        log_index: Of that entry in the region's log.
        chunk: Bytes of the chunk that holds the cell.
    """

    entry: bytes
    log_index: int
    chunk: bytes


@dataclass(frozen=True, slots=True)
class HeldIssue:
    """Which issue a store holds: number of the log's origin, index of the entry, and its payload."""

    number: int
    index: int
    entry: bytes

    @property
    def place(self) -> tuple[int, int]:
        """See `StoredIssue.place`."""
        return self.number, self.index


class OnlineStore(Protocol):
    """The newest issue of every region and measure."""

    def put(self, issue: StoredIssue, instead_of: HeldIssue | None = None) -> bool:
        """Replace the issue of its region and measure, atomically for readers.

        Args:
            issue: The new one.
            instead_of: An issue that is replaced even if it counts as newer, because it is not of this ledger.
        Returns:
            False if the stored issue is the same or newer: nothing was changed.
        Raises:
            DamagedError: the entry is not a `ForecastIssued`, or the blob does not hold chunks.
            StoreUnavailable: the store does not respond.
        """
        ...

    def get(self, region: str, measure: str) -> StoredIssue | None:
        """The newest issue, or None before the first."""
        ...

    def cell(self, region: str, measure: str, cell: int) -> StoredCell | None:
        """The chunk of the newest issue that holds a cell; None if the issue does not forecast the cell."""
        ...

    def newest(self, region: str, measure: str) -> tuple[int, int]:
        """(number, index) of the newest issue, (0, -1) before the first."""
        ...

    def held(self, region: str, measure: str) -> HeldIssue | None:
        """Which issue is stored, or None before the first."""
        ...


def place_of(issue: StoredIssue) -> tuple[str, str]:
    """(region, measure) of an issue.

    Raises:
        DamagedError: its entry is not a `ForecastIssued`.
    """
    record = decode(issue.entry)
    if not isinstance(record, ForecastIssued):
        raise DamagedError(f"online store: expected a ForecastIssued, got {type(record).__name__}")
    return record.region, record.measure


def chunks_of(issue: StoredIssue) -> Blob:
    """The chunks of an issue.

    Raises:
        DamagedError: its blob does not hold chunks.
    """
    return unpack_blob(issue.blob) if issue.blob else Blob((), np.empty(0, np.uint64))
