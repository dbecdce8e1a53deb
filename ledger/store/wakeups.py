"""How a reader learns that a log may have grown, without asking for its rows.

PostgreSQL tells it: every append notifies at its commit, and the waiting connection listens. SQLite counts the commits
to a file, and the count costs no query. Neither is a promise: whoever waits looks again after a while in any case, so a
connection that breaks costs time and loses nothing.
"""

import select
import socket
import sqlite3
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import pg8000
import pg8000.legacy
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import PoolProxiedConnection

from ledger.store.statements import CHANNEL
from ledger.store.tables import Databases, connect_postgres
from schemas.errors import RidecastError

CHECK_S = 0.02  # how often SQLite's counter is looked at; one look takes microseconds
STOP_CHECK_S = 0.1  # how often a wait on a connection looks whether to stop
NOTIFICATIONS_KEPT = 100  # by pg8000; behind that the oldest are dropped
BROKEN = (pg8000.Error, OSError, struct.error, ValueError)  # what pg8000 raises on a connection that went away


class Stop(Protocol):
    """What `threading.Event` promises, so that a wait ends when somebody wants to stop."""

    def is_set(self) -> bool:
        """Whether to stop."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until told to stop, at most so many seconds; whether it was told."""
        ...


class Wakeup(Protocol):
    """Tells that some logs may have grown since it was made, or since it last told so."""

    def wait(self, stop: Stop, timeout_s: float) -> bool:
        """Wait until one of the logs may have grown, for `timeout_s` at most, or until told to stop.

        Returns:
            True when one may have grown. False says nothing: look in any case.
        """
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


def open_wakeup(stores: Databases, logs: Sequence[str]) -> Wakeup:
    """What tells of the growth of some logs; it never raises for a database that does not answer."""
    with suppress(RidecastError):
        for log in logs:
            engine = stores.engine_of(log, create=False)
            if engine is not None and engine.dialect.name != "sqlite":
                return Notifications(engine, logs)
    return CommitCounts(stores, logs)


class CommitCounts:
    """The wake-up of SQLite: the counter of commits that each log's file has, read on a connection that stays open."""

    def __init__(self, stores: Databases, logs: Sequence[str]) -> None:
        self._stores = stores
        self._connections: dict[str, PoolProxiedConnection | None] = dict.fromkeys(logs)
        self._counts = self._read()

    def wait(self, stop: Stop, timeout_s: float) -> bool:
        """See `Wakeup`."""
        left_s = timeout_s
        while not self._changed():
            if left_s <= 0 or stop.wait(min(CHECK_S, left_s)):
                return False
            left_s -= CHECK_S
        return True

    def close(self) -> None:
        """See `Wakeup`."""
        for log, connection in self._connections.items():
            self._connections[log] = None
            if connection is not None:
                connection.close()

    def _changed(self) -> bool:
        before, self._counts = self._counts, self._read()
        return before != self._counts

    def _read(self) -> list[int]:
        """One number for each log: how often its file was committed to by others, -1 while there is no file."""
        return [self._count(log) for log in self._connections]

    def _count(self, log: str) -> int:
        try:
            connection = self._connections[log]
            if connection is None:
                engine = self._stores.engine_of(log, create=False)
                if engine is None:
                    return -1
                connection = self._connections[log] = engine.raw_connection()
            cursor = connection.cursor()
            # It changes with each commit of another connection, in any process, and reads no row.
            cursor.execute("PRAGMA data_version")
            row = cursor.fetchone()
            return int(row[0]) if row is not None else -1
        except (RidecastError, SQLAlchemyError, sqlite3.Error):
            return -1  # What is wrong with the file is for the reader to say, who asks for its rows.


class Notifications:
    """The wake-up of PostgreSQL: a connection of its own that listens; while it is broken, a wait is only a wait."""

    def __init__(self, engine: Engine, logs: Sequence[str]) -> None:
        self._engine, self._logs = engine, frozenset(logs)
        self._socket: socket.socket | None = None
        self._connection: pg8000.legacy.Connection | None = None
        self._listen()

    def wait(self, stop: Stop, timeout_s: float) -> bool:
        """See `Wakeup`."""
        if self._connection is None and self._listen():
            return True  # What came while nobody listened was not heard.
        left_s = timeout_s
        while not stop.is_set():
            if self._heard():
                return True
            if left_s <= 0:
                return False
            slice_s = min(STOP_CHECK_S, left_s)
            left_s -= slice_s
            if self._socket is None:
                stop.wait(slice_s)
            elif _readable(self._socket, slice_s):
                self._receive()
        return False

    def close(self) -> None:
        """See `Wakeup`."""
        connection, self._connection, self._socket = self._connection, None, None
        if connection is not None:
            with suppress(*BROKEN):
                connection.close()

    def _listen(self) -> bool:
        try:
            self._socket, self._connection = connect_postgres(self._engine.dialect.create_connect_args(self._engine.url)[1])
            self._connection.execute_simple(f"LISTEN {CHANNEL}")
        except (RidecastError, *BROKEN):
            self.close()
            return False
        return True

    def _receive(self) -> None:
        """Take in what the server sent: pg8000 reads notifications in front of the answer to a statement; this one is empty."""
        try:
            assert self._connection is not None  # opened and closed together with the socket
            self._connection.execute_simple("")
        except BROKEN:
            self.close()

    def _heard(self) -> bool:
        if self._connection is None:
            return False
        notes = self._connection.notifications
        heard = len(notes) >= NOTIFICATIONS_KEPT or any(log in self._logs for _, _, log in notes)
        notes.clear()
        return heard


def _readable(connected: socket.socket, timeout_s: float) -> bool:
    poll = select.poll()  # `select.select` refuses descriptors above 1,023, which a busy API reaches.
    poll.register(connected, select.POLLIN)
    return bool(poll.poll(1000 * timeout_s))
