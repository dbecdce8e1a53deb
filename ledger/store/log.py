"""Append-only logs, the only persistent state of Ridecast: append, read, find; on SQLite or PostgreSQL.

Each log is one RFC 6962 tree. Records are defined in `schemas.records.records`; the checkpoint outside the database and
the boot rule are in `ledger.store.guard`; `ledger.check.verify` checks that the stored bytes still match the hashes.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeGuard, TypeVar, cast, overload

from sqlalchemy.engine import Connection, Engine, Row

from ledger.formats.merkle import EMPTY_ROOT, TILE_HEIGHT, Frontier, leaf_hash, root
from ledger.store import statements
from ledger.store.archive import Archive, is_archived, missing
from ledger.store.checkpoint_files import Key
from ledger.store.guard import Guard
from ledger.store.holding import hold
from ledger.store.tables import Databases, PostgresDatabases, SqliteDatabases, database_engine, display_name, reading, unhurried, writing
from ledger.store.wakeups import Wakeup, open_wakeup
from schemas.errors import VERIFY_LEDGER, ContractError, DamagedError, DivergenceError, ExpectedSizeError, NotFound
from schemas.records.record_codec import decode, place_in
from schemas.records.records import LogContinued, Record

LARGEST_ENTRY_BYTES = 65_535  # C2SP tlog-tiles: an entry bundle gives an entry's size in two bytes
PAGE_ENTRIES = 1_000  # entries fetched per page by `scan`; at most 64 MB
ANOTHER_WRITER = (
    "Another process is writing this log or has taken it over: stop all writers but one and restart it; it resumes at the end of "
    "the log. If there was no other writer, a rerun produced different records: run `ridecast ledger verify`"
)
LOG_NAME = re.compile(r"[a-z][a-z0-9_-]*(/[a-z][a-z0-9_-]*)?")


@dataclass(frozen=True, slots=True)
class Head:
    """The size of a log and the root of its tree."""

    size: int
    root: bytes


R = TypeVar("R", bound=Record)
R_co = TypeVar("R_co", bound=Record, covariant=True)


@dataclass(frozen=True, slots=True)
class Stored(Generic[R_co]):
    """One stored entry of a log. Only the payload is hashed; kind, slot and subject are derived from it."""

    log: str
    index: int
    kind: str
    slot: int | None
    subject: str
    payload: bytes

    @property
    def record(self) -> R_co:
        """The decoded payload; it is decoded at each call.

        Raises:
            DamagedError: this version of Ridecast cannot read the payload; a newer version may have written it.
        """
        return cast(R_co, decode(self.payload))


def holds(stored: Stored[Record], kind: type[R]) -> TypeGuard[Stored[R]]:
    """Whether an entry is of a kind; if so, its `record` has that type.

    >>> holds(Stored("control", 0, "ModelPromoted", None, "pickups", b""), LogContinued)
    False
    """
    return stored.kind == kind.__name__


def open_embedded(home: Path, *, instance: str, clock: Callable[[], float], signer: Key) -> "Ledger":
    """A ledger of SQLite files, `home/ledger/*.sqlite`, with its checkpoints in `home/checkpoints`.

    Args:
        home: Folder of the embedded stores; created when the first entry is appended.
        instance: Part of every log's origin.
        clock: Monotonic seconds; sets the interval between checkpoints.
        signer: Signs the checkpoints; readers pass a function that finds the public key.
    """
    return Ledger(SqliteDatabases(home / "ledger"), home / "checkpoints", instance=instance, clock=clock, signer=signer)


def open_database(url: str, checkpoints_dir: Path, *, instance: str, clock: Callable[[], float], signer: Key) -> "Ledger":
    """A ledger in PostgreSQL, with its checkpoints in a folder outside the database.

    Raises:
        UsageError: the address is not a PostgreSQL address.
        StoreUnavailable: the server does not answer.
    """
    return Ledger(PostgresDatabases(database_engine(url)), checkpoints_dir, instance=instance, clock=clock, signer=signer)


class Ledger:
    """The logs of one instance. Threads may share it; each process opens its own.

    Every method raises StoreUnavailable if the database does not answer. An append may then have succeeded or
    not: repeat it with the same content, which has no effect if it succeeded.
    """

    def __init__(self, stores: Databases, checkpoints_dir: Path, *, instance: str, clock: Callable[[], float], signer: Key) -> None:
        self._stores = stores
        self._ids: dict[str, int] = {}
        self.archive: Archive | None = None  # holds the bytes of old entries; set by the code that opens the ledger
        self.guard = Guard(self, stores, checkpoints_dir, instance=instance, clock=clock, signer=signer)

    # --- append ---------------------------------------------------------------------------------

    def append(self, log: str, expected_size: int, payloads: Sequence[bytes]) -> Head:
        """Append entries; they are durable when this returns.

        Args:
            log: Name of the log, such as `region/nyc`; its first append creates it.
            expected_size: Size of the log before the append, as the writer knows it.
            payloads: Exact bytes of each entry, at most LARGEST_ENTRY_BYTES each.
        Returns:
            Head of the log directly after these entries. If they are already stored, nothing is written.
        Raises:
            DivergenceError: different content is stored there: a second writer, or a rerun with a different result.
            ExpectedSizeError: the log is shorter than expected, or has only some of these entries.
            BootRefused: the checkpoint outside the database contradicts the database (first append only).
            ContractError: an entry is too large, or the log's name is invalid.
        """
        if not LOG_NAME.fullmatch(log):
            raise ContractError(f"log name: expected lower-case letters, digits, - and _, with at most one /, got {log!r}")
        rows: list[statements.EntryValues] = []
        for position, payload in enumerate(payloads):
            if len(payload) > LARGEST_ENTRY_BYTES:
                raise ContractError(
                    f"{display_name(log)}: entry {expected_size + position}: expected at most {LARGEST_ENTRY_BYTES} bytes, "
                    f"got {len(payload)}"
                )
            kind, slot, subject = place_in(payload)
            rows.append({"kind": kind, "slot": slot, "subject": subject, "leaf": leaf_hash(payload), "payload": payload})
        self.guard.admit(log)
        engine = self._stores.engine_of(log, create=True)
        assert engine is not None  # create=True
        with writing(engine, log) as connection:
            log_id, frontier = statements.lock_log(connection, log)
            if frontier.size != expected_size:
                self._require_rerun(connection, log, log_id, frontier.size, expected_size, [row["leaf"] for row in rows])
            elif rows:
                statements.insert_entries(connection, log_id, frontier, rows)
        if frontier.size == expected_size + len(rows):
            head = Head(frontier.size, frontier.root())
        else:
            head = Head(expected_size + len(rows), self.root_at(log, expected_size + len(rows)))
        self.guard.appended(log)
        return head

    def _require_rerun(self, connection: Connection, log: str, log_id: int, size: int, expected_size: int, leaves: list[bytes]) -> None:
        """Return if exactly these entries are stored at [expected_size, expected_size + n), raise otherwise."""
        sizes = f"{display_name(log)}: expected size {expected_size}, got {size}"
        if expected_size > size:
            raise ExpectedSizeError(f"{sizes}. {ANOTHER_WRITER}")
        stop = min(size, expected_size + len(leaves))
        found = connection.execute(statements.leaves(), {"log_id": log_id, "start": expected_size, "stop": stop}).scalars()
        for index, (ours, theirs) in enumerate(zip(leaves, found, strict=False), expected_size):
            if ours != theirs:
                raise DivergenceError(f"{sizes}, with other content at index {index}. {ANOTHER_WRITER}")
        if stop < expected_size + len(leaves):
            raise ExpectedSizeError(f"{sizes}, with the first {stop - expected_size} of these {len(leaves)} entries. {ANOTHER_WRITER}")

    # --- read -----------------------------------------------------------------------------------

    def logs(self) -> tuple[str, ...]:
        """Names of the logs that have entries, sorted."""
        return tuple(name for name in self._stores.names() if self.head(name).size)

    def head(self, log: str) -> Head:
        """Size and root of a log; a log without entries has size 0."""
        frontier = self.frontier(log)
        return Head(frontier.size, frontier.root())

    def frontier(self, log: str) -> Frontier:
        """The stored frontier of a log."""
        engine = self._stores.engine_of(log, create=False)
        if engine is None:
            return Frontier()
        with reading(engine, log) as connection:
            row = connection.execute(statements.log_row(), {"name": log}).one_or_none()
        return Frontier.from_bytes(row.size, row.frontier) if row else Frontier()

    def frontier_at(self, log: str, size: int) -> Frontier:
        """The frontier of a log at a size, from stored hashes.

        Raises:
            NotFound: the log is shorter.
            DamagedError: hashes are missing.
        """
        frontier = Frontier()
        if size == 0:
            return frontier
        engine, log_id = self.opened(log)
        with reading(engine, log) as connection:
            for level in range((size.bit_length() - 1) // TILE_HEIGHT * TILE_HEIGHT, -1, -TILE_HEIGHT):
                bounds = {"log_id": log_id, "level": level, "start": frontier.size >> level, "stop": size >> level}
                for node in connection.execute(statements.nodes() if level else statements.leaves(), bounds).scalars():
                    frontier.grow(level, node)
        if frontier.size != size:
            known = self.head(log).size
            if size > known:
                raise NotFound(f"{display_name(log)}: expected a size up to {known}, got {size}")
            raise DamagedError(f"{display_name(log)}: expected the hashes of {size} entries, got {frontier.size}")
        return frontier

    def root_at(self, log: str, size: int) -> bytes:
        """Root of a log at a size; raises the same errors as `frontier_at`."""
        return self.frontier_at(log, size).root() if size else EMPTY_ROOT

    def node(self, log: str, level: int, index: int) -> bytes:
        """Root of a perfect subtree, for proofs (`ledger.formats.merkle.inclusion_path`).

        Raises:
            NotFound: the log has no such subtree.
        """
        engine, log_id = self.opened(log)
        stored = level // TILE_HEIGHT * TILE_HEIGHT
        count = 1 << level - stored
        bounds = {"log_id": log_id, "level": stored, "start": index * count, "stop": (index + 1) * count}
        with reading(engine, log) as connection:
            hashes = connection.execute(statements.nodes() if stored else statements.leaves(), bounds).scalars().all()
        if len(hashes) != count:
            raise NotFound(f"{display_name(log)}: no complete subtree at level {level}, index {index}")
        return root(hashes)

    @overload
    def read(self, log: str, start: int, stop: int | None = None, *, limit: int | None = None) -> list[Stored[Record]]: ...
    @overload
    def read(self, log: str, start: int, stop: int | None, kind: type[R], limit: int | None = None) -> list[Stored[R]]: ...
    @overload
    def read(self, log: str, start: int, stop: int | None = None, *, kind: type[R], limit: int | None = None) -> list[Stored[R]]: ...
    def read(self, log: str, start: int, stop: int | None = None, kind: type[R] | None = None, limit: int | None = None) -> list[Stored[R]]:
        """Entries with start <= index < stop, in order; if given, only of one kind and at most `limit`.

        Raises:
            DamagedError: an entry's bytes do not match its stored hash.
        """
        return self.read_kinds(log, start, stop, () if kind is None else (kind,), limit)

    def read_kinds(self, log: str, start: int, stop: int | None, kinds: Collection[type], limit: int | None = None) -> list[Stored[Any]]:
        """As `read`, of several kinds; of all when none is given."""
        known = self._known(log)
        if known is None:
            return []
        engine, log_id = known
        bounds = {"log_id": log_id, "start": start, "stop": 1 << 62 if stop is None else stop, "limit": 1 << 62 if limit is None else limit}
        wanted = {"kinds": [kind.__name__ for kind in kinds]} if kinds else {}
        with reading(engine, log) as connection:
            return [self._stored(log, row) for row in connection.execute(statements.entries(bool(kinds)), bounds | wanted)]

    @overload
    def scan(self, log: str, start: int = 0, stop: int | None = None) -> Iterator[Stored[Record]]: ...
    @overload
    def scan(self, log: str, start: int, stop: int | None, kind: type[R]) -> Iterator[Stored[R]]: ...
    @overload
    def scan(self, log: str, start: int = 0, stop: int | None = None, *, kind: type[R]) -> Iterator[Stored[R]]: ...
    def scan(self, log: str, start: int = 0, stop: int | None = None, kind: type[R] | None = None) -> Iterator[Stored[Any]]:
        """Like `read`, in constant memory: entries are fetched page by page, and the log may grow during the scan."""
        while page := self._page(log, start, stop, kind):
            yield from page
            start = page[-1].index + 1

    def _page(self, log: str, start: int, stop: int | None, kind: type[R] | None) -> Sequence[Stored[Any]]:
        if kind is None:
            return self.read(log, start, stop, limit=PAGE_ENTRIES)
        return self.read(log, start, stop, kind, PAGE_ENTRIES)

    def records(self, log: str, kind: type[R], start: int = 0, stop: int | None = None) -> Iterator[R]:
        """The records of one kind among the entries [start, stop), in order and in constant memory."""
        return (stored.record for stored in self.scan(log, start, stop, kind))

    def find(self, log: str, kind: type[R], slot: int | None = None, subject: str | None = None) -> R | None:
        """The last record of a kind, and of a slot and subject if given; None if there is none."""
        stored = self.entry(log, kind, slot, subject)
        return stored.record if stored is not None else None

    def entry(self, log: str, kind: type[R], slot: int | None = None, subject: str | None = None, last: bool = True) -> Stored[R] | None:
        """Like `find`, but returns the whole entry, the last or the first."""
        known = self._known(log)
        if known is None:
            return None
        engine, log_id = known
        values = {"log_id": log_id, "kind": kind.__name__, "slot": slot, "subject": subject}
        with reading(engine, log) as connection:
            row = connection.execute(statements.finder(slot is not None, subject is not None, last), values).one_or_none()
        return self._stored(log, row) if row else None

    def number(self, log: str) -> int:
        """The number of a log's origin: the one in its last `LogContinued`, otherwise 1."""
        record = self.find(log, LogContinued)
        return record.number if record is not None else 1

    def held(self, log: str, who: str, patience_s: float) -> AbstractContextManager[None]:
        """Be the only process that forecasts into a log, until the end of the context or of this process.

        Args:
            log: Name of the log.
            who: Description of this process, shown to others that want to hold the log.
            patience_s: How long to wait for another process; it may be ending.
        Raises:
            BootRefused: another process holds it; the text says which.
        """
        return hold(self._stores, log, who, patience_s)

    def wakeup(self, *logs: str) -> Wakeup:
        """What tells that one of some logs may have grown, for `ledger.views.follow`; close it before the ledger."""
        return open_wakeup(self._stores, logs)

    # --- keep -----------------------------------------------------------------------------------

    def admit_all(self) -> None:
        """Compare every log with its checkpoint, because records of logs that are only read are acted on too.

        Raises:
            BootRefused: a log is behind its checkpoint, or contradicts it.
        """
        for log in sorted({*self._stores.names(), *self.guard.files.logs()}):
            self.guard.admit(log)

    def flush(self) -> None:
        """Write the checkpoint of every log that grew, now."""
        self.guard.flush()

    def close(self) -> None:
        """Write pending checkpoints and close all connections."""
        try:
            self.guard.close()
        finally:
            self._stores.close()

    def opened(self, log: str) -> tuple[Engine, int]:
        """The engine and the row id of a log, for readers of raw rows (`ledger.store.guard`, `ledger.check.verify`).

        Raises:
            NotFound: there is no such log.
        """
        known = self._known(log)
        if known is None:
            raise NotFound(f"{display_name(log)}: no such log; existing logs: {', '.join(self._stores.names()) or 'none'}")
        return known

    def bytes_of(self, log: str, index: int, leaf: bytes, payload: bytes) -> bytes:
        """An entry's bytes, from the archive if they were removed from the database; the hash is not checked.

        Raises:
            StoreUnavailable: they are archived, but the archive is not available.
            DamagedError: the archive does not contain them.
        """
        if not is_archived(leaf, payload):
            return payload
        if self.archive is None:
            raise missing(log, index, "")
        return self.archive.payload(log, index)

    def drop_payloads(self, log: str, stop: int, kinds: Sequence[str]) -> None:
        """Empty the payloads of some kinds below an index; the caller must ensure that an archive has them."""
        engine, log_id = self.opened(log)
        for start in range(0, stop, PAGE_ENTRIES):
            with writing(engine, log) as connection:
                bounds = {"of_log": log_id, "start": start, "stop": min(start + PAGE_ENTRIES, stop), "kinds": list(kinds), "none": b""}
                connection.execute(statements.emptied(), bounds)

    def shrink(self, log: str) -> None:
        """Return the space of removed payloads to the disk; this blocks writers of the database."""
        engine, _ = self.opened(log)
        with unhurried(engine, log) as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("VACUUM")
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            else:
                connection.exec_driver_sql("VACUUM (FULL) entries")

    def _known(self, log: str) -> tuple[Engine, int] | None:
        engine = self._stores.engine_of(log, create=False)
        if engine is None:
            return None
        if log not in self._ids:
            with reading(engine, log) as connection:
                row = connection.execute(statements.log_row(), {"name": log}).one_or_none()
            if row is None:
                return None
            self._ids[log] = row.id  # A log's id never changes, so it is cached.
        return engine, self._ids[log]

    def _stored(self, log: str, row: Row[int, str, int | None, str, bytes, bytes]) -> Stored[Any]:
        index, kind, slot, subject, leaf, stored = row
        payload = stored or self.bytes_of(log, index, leaf, stored)
        if leaf_hash(payload) != leaf:
            raise DamagedError(f"{display_name(log)}: entry {index} does not match its stored hash", remedy=VERIFY_LEDGER)
        return Stored(log, index, kind, slot, subject, payload)
