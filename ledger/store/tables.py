"""The tables of the ledger, and how SQLite and PostgreSQL are opened for them.

Only the payloads, the leaf hashes and a log's row are authoritative. Kind, slot and subject are an index over payloads,
and `nodes` saves reading a million leaf hashes for one proof; `ledger.check.verify` recomputes both.
"""

import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import pg8000.legacy
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from ledger.store.files import locked, make_folder, sync_folder
from ledger.store.limits import WRITING, Limits, notice_silence
from ledger.store.tls import postgres_url, refused, secured, server_error, tls_error
from schemas.errors import AccessRefused, DamagedError, RidecastError, StoreUnavailable

METADATA = sa.MetaData()

LOGS = sa.Table(
    "logs",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("frontier", sa.LargeBinary, nullable=False),  # ledger.formats.merkle.Frontier.to_bytes
)

ENTRIES = sa.Table(
    "entries",
    METADATA,
    sa.Column("log_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("slot", sa.BigInteger),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("leaf", sa.LargeBinary, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Index("entries_by_kind", "log_id", "kind", "index"),
    sa.Index("entries_by_slot", "log_id", "slot", "kind", "subject", "index"),
)

NODES = sa.Table(
    "nodes",
    METADATA,
    sa.Column("log_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

BLOBS = sa.Table(
    "blobs",
    METADATA,
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("retention", sa.Text, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
)

OWNER = sa.Table(
    "owner",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),  # always 1: a database has one ledger
    sa.Column("key", sa.Text, nullable=False),  # verifier key of who signs its checkpoints
    sa.Column("checkpoints", sa.Text, nullable=False),  # the folder that has them, on the machine that wrote this row
)

BUSY_TIMEOUT_S = 30  # how long a writer waits for another; appending a close takes milliseconds
POOL_CONNECTIONS = 5  # kept open while idle
OVERFLOW_CONNECTIONS = 45  # of SQLite; Starlette runs up to 40 threads
SHRINK_S = 86_400.0  # rewriting a large table takes hours
# SQLite's error messages for a damaged file; missing tables and columns count, as they are created when a file is opened.
DAMAGE = ("malformed", "not a database", "no such table", "no such column", "decode to UTF-8", "unsupported file format", "already exists")
# PostgreSQL's codes for credentials that it does not accept (class 28), and for rights that do not suffice (42501).
REFUSED = re.compile(r"28\w{3}|42501")
SCHEMA_LOCK = 0x52494445  # arbitrary key for pg_advisory_xact_lock; "RIDE"


# Error messages of SQLite, PostgreSQL and the system -> remedy.
ADVICE = (
    (("File too large",), "files of this process may not be so long: raise the limit (ulimit -f), then try again"),
    (
        ("disk is full", "No space left on device", "Disk quota exceeded"),
        "the disk is full: free some space, then try again; no acknowledged data is lost",
    ),
    (
        ("readonly database", "read-only", "Read-only file system", "Permission denied", "unable to open database file"),
        "the disk is read-only, or this user may not write to it: mount it writable, or give home to the user that runs Ridecast",
    ),
    (
        ("Connection refused",),
        "no server listens there: check that the database is running, and its address, then try again; no acknowledged data is lost",
    ),
    (
        ("Connection reset", "Broken pipe", "network error", "57P0"),
        "the database connection was lost: check that the database is running, then try again; no acknowledged data is lost",
    ),
    (
        ("timed out", "57014", "no answer within"),
        "the database does not answer in time: check that it is running and reachable, then try again; no acknowledged data is lost",
    ),
    (
        ("database is locked", "lock timeout", "55P03"),
        "another process holds the lock of this log: stop it if it is suspended or hung, then try again",
    ),
)


class Databases(Protocol):
    """The databases that store logs."""

    def engine_of(self, log: str, *, create: bool) -> Engine | None:
        """The engine of a log's database; None if the database does not exist and `create` is false."""

    def names(self) -> tuple[str, ...]:
        """Names of the logs that may exist, sorted."""

    def close(self) -> None:
        """Close all connections."""


class SqliteDatabases:
    """One SQLite file per log, so that writers of different logs never wait for each other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._engines: dict[str, Engine] = {}
        self._lock = Lock()

    def engine_of(self, log: str, *, create: bool) -> Engine | None:
        """See `Databases`."""
        engine = self._engines.get(log)
        if engine is not None:
            return engine
        path = self._folder / f"{file_stem(log)}.sqlite"
        with self._lock:
            if log not in self._engines and (create or path.exists()):
                self._engines[log] = _open_sqlite(path)
            return self._engines.get(log)

    def names(self) -> tuple[str, ...]:
        """See `Databases`."""
        return tuple(sorted(path.stem.replace("__", "/", 1) for path in self._folder.glob("*.sqlite")))

    def close(self) -> None:
        """See `Databases`."""
        with self._lock:
            for engine in self._engines.values():
                engine.dispose()
            self._engines.clear()


class PostgresDatabases:
    """One PostgreSQL database for all logs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def engine_of(self, log: str, *, create: bool) -> Engine | None:
        """See `Databases`."""
        return self._engine

    def names(self) -> tuple[str, ...]:
        """See `Databases`."""
        with reading(self._engine, "logs") as connection:
            return tuple(connection.scalars(sa.select(LOGS.c.name).order_by(LOGS.c.name)))

    def close(self) -> None:
        """See `Databases`."""
        self._engine.dispose()


def file_stem(log: str) -> str:
    """A log's name as the stem of a file name.

    >>> file_stem("region/nyc")
    'region__nyc'
    """
    return log.replace("/", "__", 1)


def display_name(log: str) -> str:
    """A log's name in messages.

    >>> display_name("region/nyc")
    'region nyc'
    """
    return log.replace("/", " ")


def database_engine(url: str, limits: Limits = WRITING) -> Engine:
    """An engine for PostgreSQL; creates missing tables.

    Args:
        url: postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with TLS as its query says (`ledger.store.tls`).
        limits: Of its connections; a call that exceeds them raises StoreUnavailable, and its connection is dropped.
    Raises:
        UsageError: not the address of a PostgreSQL database, or an unknown parameter.
        StoreUnavailable: the server does not answer, or refuses the connection.
    """
    engine = _postgres_engine(postgres_url(url), limits)
    with translated("database"), _disposed_on_failure(engine), engine.begin() as connection:
        # Without the lock, two processes that start together would both find no table, and one would fail.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SCHEMA_LOCK)))
        METADATA.create_all(connection)
        # Databases of the first release lack this column; their blobs count as stored now.
        if all(column["name"] != "stored_at" for column in sa.inspect(connection).get_columns("blobs")):
            connection.exec_driver_sql("ALTER TABLE blobs ADD COLUMN stored_at timestamptz NOT NULL DEFAULT now()")
    return engine


@contextmanager
def _disposed_on_failure(engine: Engine) -> Iterator[None]:
    try:
        yield
    except BaseException:
        engine.dispose()
        raise


def _postgres_engine(url: str | sa.URL, limits: Limits) -> Engine:
    engine = sa.create_engine(
        url,
        pool_size=min(POOL_CONNECTIONS, limits.connections),
        max_overflow=max(0, limits.connections - POOL_CONNECTIONS),
        pool_timeout=limits.answer_s,
        skip_autocommit_rollback=True,
        hide_parameters=True,
    )

    def connect(_dialect: object, _record: object, _arguments: object, parameters: dict[str, Any]) -> Any:
        return connect_postgres(parameters, limits)[1]

    def prepare(connection: object, _record: object) -> None:
        # The server gives up first, so that it does not go on with a statement that nobody waits for. Without the lock's
        # timeout, a writer suspended inside a transaction would block all others without an error that names the cause.
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute(f"SET statement_timeout = {int(900 * limits.answer_s)}")
        cursor.execute(f"SET lock_timeout = {int(1000 * min(BUSY_TIMEOUT_S, 0.8 * limits.answer_s))}")
        cursor.close()
        connection.commit()  # type: ignore[attr-defined]

    event.listen(engine, "handle_error", _mark_disconnect)
    event.listen(engine, "do_connect", connect)
    event.listen(engine, "connect", prepare)
    return engine


def _open_sqlite(path: Path) -> Engine:
    with translated(path.name):
        make_folder(path.parent)
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(path)),  # A path in a text would end at a ? or a #.
            isolation_level="AUTOCOMMIT",  # Reads need no transaction; `writing` starts one with BEGIN IMMEDIATE.
            connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
            pool_size=POOL_CONNECTIONS,
            max_overflow=OVERFLOW_CONNECTIONS,
            hide_parameters=True,
        )
        event.listen(engine, "connect", _prepare_sqlite)
        # Unlike other statements, the switch to WAL does not wait for a busy database.
        with locked(path.parent / ".lock"), engine.connect() as connection:
            METADATA.create_all(connection, tables=[LOGS, ENTRIES, NODES, OWNER])
            sync_folder(path.parent)
    return engine


def _prepare_sqlite(connection: object, _record: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # In WAL mode, NORMAL could lose the last commits in a power failure.
    cursor.close()


def connect_postgres(parameters: Mapping[str, Any], limits: Limits = WRITING) -> tuple[socket.socket, pg8000.legacy.Connection]:
    """A connection of pg8000 and its socket, which does not delay the end of a large statement.

    Each wait for the server is limited: a call that exceeds the limit raises TimeoutError and leaves the connection unusable.

    Raises:
        StoreUnavailable: no server answers at the address.
    """
    host, port = parameters.get("host") or "localhost", int(parameters.get("port") or 5432)
    try:
        connected = socket.create_connection((host, port), limits.connect_s)
        # pg8000 leaves Nagle's algorithm on: the tail of a statement waits for a delayed acknowledgement, 44 ms on loopback.
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        notice_silence(connected, limits)
    except OSError as cause:
        raise StoreUnavailable(f"database {host}:{port}: {cause}{advice(str(cause))}") from cause
    try:
        connected, left = secured(connected, host, port, parameters)
        connection = pg8000.legacy.Connection(**left, sock=connected)
        connected.settimeout(limits.answer_s)
        return connected, connection
    except (TimeoutError, ConnectionError) as cause:
        connected.close()
        text = f"no answer within {limits.connect_s:g} s" if isinstance(cause, TimeoutError) else f"network error: {cause}"
        raise StoreUnavailable(f"database {host}:{port}: {text}{advice(text)}") from cause
    except BaseException as error:
        connected.close()
        told = server_error(error)
        if told is not None and told is not error:
            raise told from error
        if (
            not isinstance(error, RidecastError) and (of_tls := tls_error(error)) is not None
        ):  # with TLS 1.3 a server refuses our certificate after the handshake
            raise refused(of_tls, f"database {host}:{port}", parameters) from error
        raise


def _mark_disconnect(context: sa.engine.ExceptionContext) -> None:
    # 57P01..57P03: the server is shutting down or starting up. SQLAlchemy only detects pg8000's network errors.
    # After a timeout the answer may still come: the connection must not be used for another statement.
    if isinstance(context.original_exception, OSError) or "57P0" in str(context.original_exception):
        context.is_disconnect = True


@contextmanager
def reading(engine: Engine, what: str) -> Iterator[Connection]:
    """A connection on which every statement is a separate transaction."""
    with translated(what), engine.connect() as connection:
        if engine.dialect.name != "sqlite":
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        yield connection


@contextmanager
def unhurried(engine: Engine, what: str) -> Iterator[Connection]:
    """As `reading`, for maintenance that takes hours."""
    if engine.dialect.name == "sqlite":
        with reading(engine, what) as connection:
            yield connection
        return
    patient = _postgres_engine(engine.url, Limits(WRITING.connect_s, SHRINK_S, 1))
    try:
        with reading(patient, what) as connection:
            yield connection
    finally:
        patient.dispose()


@contextmanager
def writing(engine: Engine, what: str) -> Iterator[Connection]:
    """A transaction; on SQLite it takes the write lock at the start, so that it cannot fail half-way for lack of it."""
    with translated(what), engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Translate errors of the driver and the disk into Ridecast's errors.

    Raises:
        DamagedError: SQLite reports that its file is damaged.
        AccessRefused: PostgreSQL does not accept our credentials, or our rights do not suffice.
        StoreUnavailable: any other error of the driver or the disk.
    """
    try:
        yield
    except SQLAlchemyError as cause:
        text = str(getattr(cause, "orig", None) or cause)
        if any(words in text for words in DAMAGE):
            raise DamagedError(f"{what}: the database file is damaged: {text}") from cause
        kind = AccessRefused if REFUSED.fullmatch(code_of(cause)) else StoreUnavailable
        raise kind(f"{what}: database error: {text}{advice(text)}") from cause
    except UnicodeDecodeError as cause:  # invalid text in SQLite's file
        raise DamagedError(f"{what}: the database file is damaged: {cause}") from cause
    except OSError as cause:
        raise StoreUnavailable(f"{what}: {cause}{advice(str(cause))}") from cause


def code_of(error: BaseException) -> str:
    """PostgreSQL's five-letter code of an error, empty if it has none."""
    told = getattr(getattr(error, "orig", None) or error, "args", ())
    return str(told[0].get("C", "")) if told and isinstance(told[0], dict) else ""


def advice(text: str) -> str:
    """The remedy for an error of the driver or the system, to append to a message; empty if none is known.

    >>> advice("database or disk is full")
    '; the disk is full: free some space, then try again; no acknowledged data is lost'
    """
    return next((f"; {remedy}" for words, remedy in ADVICE if any(word in text for word in words)), "")
