"""Wake-ups: tell a reader that a log may have grown, without querying its rows.

With PostgreSQL every append sends NOTIFY at its commit, and the waiting connection uses LISTEN. SQLite counts the
commits to a file, and the count is read without a query on tables. Neither is guaranteed: readers check the log again
after a timeout in any case, so a broken connection costs time but loses nothing.
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

from ledger.store.limits import LISTENING
from ledger.store.statements import CHANNEL
from ledger.store.tables import Databases, connect_postgres
from schemas.errors import RidecastError

CHECK_S = 0.02  # interval between reads of SQLite's counter; a read takes microseconds
STOP_CHECK_S = 0.1  # interval at which a wait on a connection checks for a stop
NOTIFICATIONS_KEPT = 100  # by pg8000; beyond that it drops the oldest
BROKEN = (pg8000.Error, OSError, struct.error, ValueError)  # raised by pg8000 on a lost connection


class Stop(Protocol):
    """The part of `threading.Event` that ends waits on a stop request."""

    def is_set(self) -> bool:
        """Whether a stop was requested."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for a stop request, at most `timeout` seconds; returns whether there is one."""
        ...


class Wakeup(Protocol):
    """Reports that some logs may have grown since it was created, or since its last report."""

    def wait(self, stop: Stop, timeout_s: float) -> bool:
        """Wait until one of the logs may have grown, `stop` is set, or `timeout_s` seconds have passed.

        Returns:
            True if one may have grown. False is no guarantee: check the logs in any case.
        """
        ...

    def close(self) -> None:
        """Close its connections."""
        ...


def open_wakeup(stores: Databases, logs: Sequence[str]) -> Wakeup:
    """A wake-up for some logs; never raises if the database does not respond."""
    with suppress(RidecastError):
        for log in logs:
            engine = stores.engine_of(log, create=False)
            if engine is not None and engine.dialect.name != "sqlite":
                return Notifications(engine, logs)
    return CommitCounts(stores, logs)


class CommitCounts:
    """The wake-up for SQLite: reads the commit counter of each log's file on a connection that stays open."""

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
        """One number for each log: the count of commits to its file by other connections, -1 without a file."""
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
            return -1  # Errors of the file are reported when the reader queries its rows.


class Notifications:
    """The wake-up for PostgreSQL: a separate connection that listens; while it is broken, `wait` only waits."""

    def __init__(self, engine: Engine, logs: Sequence[str]) -> None:
        self._engine, self._logs = engine, frozenset(logs)
        self._socket: socket.socket | None = None
        self._connection: pg8000.legacy.Connection | None = None
        self._listen()

    def wait(self, stop: Stop, timeout_s: float) -> bool:
        """See `Wakeup`."""
        if self._connection is None and self._listen():
            return True  # Notifications sent while no connection listened are lost.
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
            parameters = self._engine.dialect.create_connect_args(self._engine.url)[1]
            self._socket, self._connection = connect_postgres(parameters, LISTENING)
            self._connection.execute_simple(f"LISTEN {CHANNEL}")
        except (RidecastError, *BROKEN):
            self.close()
            return False
        return True

    def _receive(self) -> None:
        """Receive notifications: pg8000 reads them before the response to a statement, so send an empty one."""
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
