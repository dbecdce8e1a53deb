"""Records of processes without a signing key, on disk until a process with the key appends them to the ledger.

A spool is a folder of segments. A segment is written atomically (to a temporary file, flushed, then linked under the
next number), so that a crash leaves all of it or none. Many processes may write; one appends, see
`ledger.store.spool_append`. A spool is bounded: when it is full, writers get `SpoolFull`.
"""

import hashlib
import json
import os
import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ledger.store.files import make_folder, sync_folder, write_durably
from ledger.store.log import Head
from schemas.errors import ContractError, DamagedError, StoreUnavailable

FOLDER = "spool"  # in the home
MAGIC = b"ridecast spool 2\n"
NAMELESS = b"ridecast spool 1\n"  # of earlier releases: it names no ledger
WRITER_ID_BYTES = 16
LARGEST_SPOOL_BYTES = 16 << 20  # a day of one busy API process, while no process appends
LARGEST_SEGMENT_BYTES = 1 << 20
PLAN = "appending.json"  # the current or last append; it is kept, so that no number is used twice
_SEGMENT = re.compile(r"[0-9]{20}\.segment")
_DIGEST_BYTES = 32
_LENGTH_BYTES = 4
_NUMBER_BYTES = 8
_HEADER_BYTES = len(MAGIC) + _NUMBER_BYTES + WRITER_ID_BYTES
_LEDGER_BYTES = _NUMBER_BYTES + _DIGEST_BYTES  # a size, and the root at it


class SpoolFull(StoreUnavailable):
    """The spool has reached its size limit, because no process appends it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One write: its number, the digest of its bytes, and the payloads in order.

    Attributes:
        ledger: A size and root of the log `runs` of the ledger that it is for; None if it names none.
    """

    number: int
    digest: bytes
    payloads: tuple[bytes, ...]
    ledger: Head | None = None


def segment_paths(folder: Path) -> list[Path]:
    """Paths of the segments in order of their numbers; empty if there is no spool."""
    try:
        return sorted(path for path in folder.iterdir() if _SEGMENT.fullmatch(path.name))
    except FileNotFoundError:
        return []


def read_segment(path: Path) -> Segment:
    """Read and check a segment.

    Raises:
        DamagedError: its header or digest does not match its content.
    """
    data = path.read_bytes()
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    number = int(path.stem)
    starts = [magic + number.to_bytes(_NUMBER_BYTES, "big") for magic in (MAGIC, NAMELESS)]
    if not body.startswith(tuple(starts)) or hashlib.sha256(body).digest() != digest:
        raise DamagedError(f"spool segment {path.name}: its header or digest does not match its content")
    payloads, at, ledger = list[bytes](), _HEADER_BYTES, None
    if body.startswith(MAGIC):
        at += _LEDGER_BYTES
        size, root = body[_HEADER_BYTES : at - _DIGEST_BYTES], body[at - _DIGEST_BYTES : at]
        ledger = Head(int.from_bytes(size, "big"), root)
    while at < len(body):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(body[at:start], "big")
        payloads.append(body[start:at])
    return Segment(number, digest, tuple(payloads), ledger)


class Spool:
    """Writes segments; thread-safe.

    Args:
        folder: Folder of the spool, created with the first segment.
        writer_id: 16 random bytes of this process, so that no two segments have the same bytes.
        ledger: The log `runs` of the ledger that it is for, as it is now: its entries differ in every ledger.
        largest_bytes: Size limit of all segments together.
    """

    def __init__(self, folder: Path, writer_id: bytes, largest_bytes: int = LARGEST_SPOOL_BYTES, ledger: Head | None = None) -> None:
        if len(writer_id) != WRITER_ID_BYTES:
            raise ContractError(f"spool: expected a writer id of {WRITER_ID_BYTES} bytes, got {len(writer_id)}")
        self._folder, self._writer_id, self._largest_bytes = folder, writer_id, largest_bytes
        self._magic = NAMELESS if ledger is None else MAGIC
        self._for = b"" if ledger is None else ledger.size.to_bytes(_NUMBER_BYTES, "big") + ledger.root
        self._lock = threading.Lock()
        self._last = -1

    def put(self, payloads: Sequence[bytes]) -> int:
        """Write a segment; it is durable when this returns.

        Args:
            payloads: Exact bytes of each record, in order; together at most LARGEST_SEGMENT_BYTES.
        Returns:
            The segment's number.
        Raises:
            SpoolFull: the spool would exceed its size limit; nothing is written.
            StoreUnavailable: the disk write fails.
            ContractError: there is nothing to write, or too much for one segment.
        """
        frames = b"".join(len(payload).to_bytes(_LENGTH_BYTES, "big") + payload for payload in payloads)
        if not payloads or len(frames) > LARGEST_SEGMENT_BYTES:
            raise ContractError(f"spool: expected 1 to {LARGEST_SEGMENT_BYTES} bytes of records at once, got {len(frames)}")
        with self._lock:
            try:
                return self._write(frames)
            except OSError as cause:
                raise StoreUnavailable(f"spool {self._folder}: {cause.strerror}") from cause

    def _write(self, frames: bytes) -> int:
        make_folder(self._folder)
        used = 0
        for path in segment_paths(self._folder):
            with suppress(FileNotFoundError):  # Appended and removed meanwhile.
                used += path.stat().st_size
        if used + len(frames) > self._largest_bytes:
            raise SpoolFull(
                f"spool {self._folder}: it holds {used} bytes of at most {self._largest_bytes}",
                remedy="is `ridecast run` stopped, or without its key?",
            )
        number = max(self._last, self._last_number()) + 1
        beside = self._folder / f".{self._writer_id.hex()}.tmp"
        while True:
            # The bytes include number and writer, so that no two segments have the same digest, whatever their records.
            body = self._magic + number.to_bytes(_NUMBER_BYTES, "big") + self._writer_id + self._for + frames
            _write_flushed(beside, body + hashlib.sha256(body).digest())
            try:
                os.link(beside, self._folder / segment_name(number))
                break
            except FileExistsError:
                number += 1
        beside.unlink()
        sync_folder(self._folder)
        self._last = number
        return number

    def _last_number(self) -> int:
        """The highest number in use: of an existing segment, or of the one appended last."""
        paths = segment_paths(self._folder)  # Before the plan: a segment removed in between is in the plan.
        plan = read_plan(self._folder)
        return max([int(path.stem) for path in paths[-1:]] + [plan.number if plan else -1], default=-1)


@dataclass(frozen=True, slots=True)
class AppendPlan:
    """The segment to append, and the size of each log before it, so that the same append can be repeated after a crash."""

    number: int
    digest: bytes
    sizes: dict[str, int]


def read_plan(folder: Path) -> AppendPlan | None:
    """The plan of the current or last append; None before the first.

    Raises:
        DamagedError: the file does not hold a plan.
    """
    try:
        found = json.loads((folder / PLAN).read_bytes())
        return AppendPlan(
            int(found["number"]), bytes.fromhex(found["digest"]), {str(log): int(size) for log, size in found["sizes"].items()}
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as cause:
        raise DamagedError(f"spool {folder / PLAN}: expected the plan of an append, found something else") from cause


def write_plan(folder: Path, plan: AppendPlan) -> None:
    """Replace the plan durably.

    Raises:
        OSError: the disk write fails.
    """
    members = {"number": plan.number, "digest": plan.digest.hex(), "sizes": plan.sizes}
    write_durably(folder / PLAN, json.dumps(members, sort_keys=True).encode())


def segment_name(number: int) -> str:
    """Name of a segment's file."""
    return f"{number:020d}.segment"


def _write_flushed(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
