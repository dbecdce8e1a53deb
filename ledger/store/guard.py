"""How lost commits are detected: a checkpoint file outside the database for each log, and the boot rule.

A checkpoint is signed and written within a second of an append, after the stored entries have been read back and hashed again.
Boot rule: before the first append of a process, the database must be consistent with the checkpoint. Otherwise a database that
lost its last commits, or was restored from an old copy, would be continued unnoticed.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from sqlalchemy.engine import Engine

from ledger.formats.checkpoint import Checkpoint
from ledger.formats.merkle import Frontier, leaf_hash
from ledger.store.checkpoint_files import WAY_OUT, CheckpointFiles, Key
from ledger.store.files import locked, make_folder
from ledger.store.ownership import Ownership
from ledger.store.statements import entries
from ledger.store.tables import Databases, display_name, reading, translated
from schemas.errors import BootRefused, DamagedError, LedgerError, StoreUnavailable

SPACING_S = 0.5  # between two rounds of checkpoints; a round takes a few flushes, so checkpoints follow within a second
PATIENCE_S = 10.0  # for another process that holds the lock of a checkpoint; writing one takes milliseconds
PAGE_ENTRIES = 1_000  # read back per page

REPAIR = (
    "Appends are refused. Stored entries were altered on disk: `ridecast ledger verify` lists every damaged entry; "
    "restore a copy that verifies"
)


class Readable(Protocol):
    """The part of a ledger that the guard needs."""

    def frontier(self, log: str) -> Frontier:
        """The stored frontier."""

    def frontier_at(self, log: str, size: int) -> Frontier:
        """The frontier at a size, from stored hashes."""

    def number(self, log: str) -> int:
        """The number of a log's origin."""

    def opened(self, log: str) -> tuple[Engine, int]:
        """Engine and row id of a log."""

    def bytes_of(self, log: str, index: int, leaf: bytes, payload: bytes) -> bytes:
        """An entry's bytes, from the database or the archive."""

    def logs(self) -> tuple[str, ...]:
        """Names of the logs that have entries."""


class Guard:
    """Writes the checkpoints of one ledger in a separate thread, and admits appends.

    Args:
        ledger: The ledger to guard.
        stores: Its databases.
        folder: Folder of the checkpoint files.
        instance: Part of every origin.
        clock: Monotonic seconds; sets the interval between checkpoints.
        signer: The private key; for a ledger that is only read, a function that finds the public key.
    """

    def __init__(
        self, ledger: Readable, stores: Databases, folder: Path, *, instance: str, clock: Callable[[], float], signer: Key
    ) -> None:
        self._ledger = ledger
        self.files = CheckpointFiles(folder, instance, signer)
        self.ownership = Ownership(stores, self.files, ledger.logs)
        self._clock = clock
        self._checked: dict[str, Frontier] = {}  # per admitted log: the entries read back and hashed by this process
        self._grown: set[str] = set()
        self._failure: LedgerError | StoreUnavailable | None = None
        self._closing = False
        self._thread: threading.Thread | None = None
        self._wake = threading.Condition()
        self._writing = threading.RLock()  # one round at a time; never taken while holding _wake

    # --- for the ledger ---------------------------------------------------------------------------

    def admit(self, log: str) -> None:
        """Return if the log may be appended to, raise otherwise.

        Raises:
            BootRefused: the checkpoint is ahead of the database, contradicts it, or belongs to another log.
            DamagedError: entries stored since the last checkpoint read back altered.
            StoreUnavailable: the checkpoint cannot be written.
        """
        if self._failure is not None:
            self.flush()  # Raises again, or clears the failure.
        if log not in self._checked:
            with self._writing:
                if log not in self._checked:
                    self._boot(log)

    def appended(self, log: str) -> None:
        """Schedule a checkpoint for a log that grew."""
        with self._wake:
            self._grown.add(log)
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="ledger-checkpoints", daemon=True)
                self._thread.start()
            self._wake.notify()

    def flush(self) -> None:
        """Write every checkpoint that is due; raises the same errors as `admit`."""
        with self._writing:
            with self._wake:
                due, self._grown = sorted(self._grown), set()
                self._failure = None
            for position, log in enumerate(due):
                try:
                    self._write(log)
                except (LedgerError, StoreUnavailable) as failure:
                    with self._wake:
                        self._grown.update(due[position:])
                        self._failure = failure
                    raise

    def close(self) -> None:
        """Write due checkpoints and stop the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        self.flush()

    def read(self, log: str) -> Checkpoint | None:
        """The checkpoint file of a log, if there is one.

        Raises:
            BootRefused: it cannot be parsed, is not signed by the known key, or belongs to another log or instance.
        """
        known = self.files.read(log, self._number(log))
        return known[1] if known is not None else None

    def note(self, log: str) -> str | None:
        """The signed note of a log's checkpoint, byte for byte; with cosignatures unless the cosigned copy is older.

        Raises:
            BootRefused: as `read`.
        """
        known, cosigned = self.files.read(log, self._number(log)), self._cosigned(log)
        if cosigned is not None and (known is None or cosigned[1].size >= known[1].size):
            return cosigned[0]
        return known[0] if known is not None else None

    def cosigned(self, log: str) -> Checkpoint | None:
        """The newest cosigned checkpoint of a log; None if the copy is damaged or has a previous origin."""
        found = self._cosigned(log)
        return found[1] if found is not None else None

    def _cosigned(self, log: str) -> tuple[str, Checkpoint] | None:
        with suppress(BootRefused):
            return self.files.read(log, self._number(log), cosigned=True)
        return None

    def path(self, log: str) -> Path:
        """Path of a log's checkpoint."""
        return self.files.path(log)

    def cosigned_path(self, log: str) -> Path:
        """Path of the copy of a log's checkpoint with cosignatures."""
        return self.files.cosigned_path(log)

    @contextmanager
    def continuing(self, log: str) -> Iterator[None]:
        """Allow one append without the boot rule, then write a new checkpoint; only for `ledger.store.continuing`.

        Raises:
            DamagedError: the database contradicts itself, so it cannot be continued.
        """
        path = self.path(log)
        with translated(str(path)):
            make_folder(path.parent)
        with self._writing, translated(str(path)), locked(path.with_suffix(".lock"), PATIENCE_S):
            checked = Frontier()
            self._read_back(log, checked, self._ledger.frontier(log))
            self._checked[log] = checked
            try:
                yield
                self._read_back(log, checked, self._ledger.frontier(log))
                self.files.write(log, self._number(log), checked.size, checked.root())
                self.ownership.take_over(log)
            except BaseException:
                del self._checked[log]
                raise

    def _number(self, log: str) -> int:
        try:
            return self._ledger.number(log)
        except DamagedError as cause:
            raise BootRefused(f"{display_name(log)}: the log's origin cannot be read from the database ({cause}). {WAY_OUT}") from cause

    # --- the boot rule ----------------------------------------------------------------------------

    def _boot(self, log: str) -> None:
        self.files.signer(log)
        with translated(str(self.files.folder)):
            make_folder(self.files.folder)
        known = self.read(log)
        self.ownership.require(log)
        stored = self._ledger.frontier(log)
        checked = Frontier()
        cosigned = self.cosigned(log)
        if cosigned is not None:
            self._agreed(log, cosigned, stored.size, self.cosigned_path(log).name)
        if known is not None:
            checked = self._agreed(log, known, stored.size, self.path(log).name)
        elif stored.size == 0:
            # A log has a checkpoint before its first entry, so a missing file is always a fault.
            self._write(log)
        if stored.size > checked.size:
            # A crash between an append and its checkpoint, or a missing file: read all entries back now.
            self._read_back(log, checked, stored)
            self._grown.add(log)
        elif stored.root() != checked.root():
            raise BootRefused(f"{display_name(log)}: the stored root at size {stored.size} contradicts the stored entries. {REPAIR}")
        self.ownership.claim(log)
        self._checked[log] = checked

    def _agreed(self, log: str, known: Checkpoint, size: int, name: str) -> Frontier:
        """The database's frontier at a checkpoint's size; raises unless the two are consistent."""
        if known.size > size:
            raise BootRefused(
                f"{display_name(log)}: the checkpoint is ahead of the database: {name} has size {known.size}, the database {size}. "
                f"{WAY_OUT}"
            )
        try:
            frontier = self._ledger.frontier_at(log, known.size)
        except DamagedError as cause:
            raise BootRefused(
                f"{display_name(log)}: the root at size {known.size} cannot be computed to compare with {name} ({cause}). {WAY_OUT}"
            ) from cause
        if frontier.root() != known.root:
            raise BootRefused(
                f"{display_name(log)}: the database (size {size}) contradicts {name} at size {known.size}: "
                f"expected root {known.root.hex()}, got {frontier.root().hex()}. {WAY_OUT}"
            )
        return frontier

    # --- writing ----------------------------------------------------------------------------------

    def _run(self) -> None:
        last_s = self._clock() - SPACING_S
        while True:
            with self._wake:
                while not self._closing and not self._grown:
                    self._wake.wait()
                if self._closing:
                    return
                wait_s = min(SPACING_S, last_s + SPACING_S - self._clock())  # limits the wait if the clock goes back
                if wait_s > 0:
                    self._wake.wait_for(lambda: self._closing, wait_s)
                    if self._closing:
                        return
            # `flush` stores the failure in _failure: the next append retries and raises it to its caller.
            with suppress(LedgerError, StoreUnavailable):
                self.flush()
            last_s = self._clock()

    def _write(self, log: str) -> None:
        """Read back the entries since the last checkpoint, then replace the file if the log grew."""
        path = self.path(log)
        with translated(str(path)), locked(path.with_suffix(".lock"), PATIENCE_S):
            known = self.read(log)  # Another process may have written a later checkpoint of this log.
            stored = self._ledger.frontier(log)
            checked = self._checked.get(log, Frontier()).copy()
            if known is not None and known.size > stored.size:
                raise BootRefused(
                    f"{display_name(log)}: the database was rolled back from {known.size} to {stored.size} entries. {WAY_OUT}"
                )
            if known is not None and known.size > checked.size:
                self._read_back(log, checked, Frontier(known.size), until_root=known.root)
            self._read_back(log, checked, stored)
            if known is None or known.size < stored.size:
                self.files.write(log, self._number(log), checked.size, checked.root())
            self._checked[log] = checked

    def _read_back(self, log: str, checked: Frontier, stored: Frontier, until_root: bytes | None = None) -> None:
        """Extend a frontier by the stored payloads, and raise unless the result equals the stored one."""
        for index, leaf, payload in raw_entries(self._ledger, log, checked.size, stored.size):
            found = leaf_hash(payload)
            if index != checked.size or found != leaf:
                raise DamagedError(f"{display_name(log)}: entry {checked.size} reads back altered. {REPAIR}")
            checked.append(found)
        expected = until_root if until_root is not None else stored.root()
        if checked.size != stored.size or checked.root() != expected:
            raise DamagedError(
                f"{display_name(log)}: stored entries read back altered: expected size {stored.size}, root {expected.hex()}, "
                f"got size {checked.size}, root {checked.root().hex()}. {REPAIR}"
            )


def raw_entries(ledger: Readable, log: str, start: int, stop: int) -> Iterator[tuple[int, bytes, bytes]]:
    """(index, stored leaf hash, payload) of the entries stored in [start, stop), unchecked, page by page."""
    if start >= stop:
        return
    engine, log_id = ledger.opened(log)
    while start < stop:
        bounds = {"log_id": log_id, "start": start, "stop": stop, "limit": PAGE_ENTRIES}
        with reading(engine, log) as connection:
            page = connection.execute(entries(of_kind=False), bounds).all()
        if not page:
            return
        for row in page:
            yield row[0], row[4], ledger.bytes_of(log, row[0], row[4], row[5])
        start = page[-1][0] + 1
