"""The SQL statements of the ledger, each built once, the same for SQLite and PostgreSQL."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple, TypedDict

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.sql import Select

from ledger.formats.merkle import TILE_HEIGHT, Frontier
from ledger.store.tables import ENTRIES, LOGS, NODES, OWNER

CHANNEL = "ridecast_log"  # on which PostgreSQL tells the names of logs that grew


class EntryValues(TypedDict):
    """The columns of one entry that do not depend on its place in the log."""

    kind: str
    slot: int | None
    subject: str
    leaf: bytes
    payload: bytes


class Owner(NamedTuple):
    """Who signs the ledger of a database.

    Attributes:
        key: Its verifier key, as text.
        checkpoints: The folder of its checkpoints.
    """

    key: str
    checkpoints: str


@cache
def log_row() -> Select[int, int, bytes]:
    """(id, size, frontier) of the log :name."""
    return sa.select(LOGS.c.id, LOGS.c.size, LOGS.c.frontier).where(LOGS.c.name == sa.bindparam("name"))


@cache
def leaves() -> Select[bytes]:
    """Leaf hashes of :log_id with :start <= index < :stop, in order."""
    return sa.select(ENTRIES.c.leaf).where(*_bounds(ENTRIES)).order_by(ENTRIES.c.index)


@cache
def nodes() -> Select[bytes]:
    """Hashes of the nodes of :log_id at :level with :start <= index < :stop, in order."""
    return sa.select(NODES.c.hash).where(NODES.c.level == sa.bindparam("level"), *_bounds(NODES)).order_by(NODES.c.index)


@cache
def numbered_nodes() -> Select[int, bytes]:
    """(index, hash) of the nodes of :log_id at :level with :start <= index < :stop."""
    return sa.select(NODES.c.index, NODES.c.hash).where(NODES.c.level == sa.bindparam("level"), *_bounds(NODES))


@cache
def stray_nodes() -> Select[int, int]:
    """(level, index) of up to 20 nodes of :log_id outside the tree of the log :name at its size."""
    size = sa.select(LOGS.c.size).where(LOGS.c.name == sa.bindparam("name")).scalar_subquery()
    inside = (NODES.c.level % TILE_HEIGHT == 0, NODES.c.level > 0, NODES.c.level < 63, NODES.c.index >= 0)
    behind = NODES.c.index >= size.op(">>")(NODES.c.level)
    mine = NODES.c.log_id == sa.bindparam("log_id")
    return sa.select(NODES.c.level, NODES.c.index).where(mine, sa.not_(sa.and_(*inside)) | behind).limit(sa.literal_column("20"))


@cache
def entries(of_kind: bool) -> Select[int, str, int | None, str, bytes, bytes]:
    """Entries of :log_id with :start <= index < :stop, of :kinds if requested, in order, at most :limit."""
    found = sa.select(*_ENTRY).where(*_bounds(ENTRIES)).order_by(ENTRIES.c.index).limit(sa.bindparam("limit", type_=sa.BigInteger))
    return found.where(ENTRIES.c.kind.in_(sa.bindparam("kinds", expanding=True))) if of_kind else found


@cache
def emptied() -> sa.Update:
    """Replace the payloads of :of_log with :start <= index < :stop of :kinds by :none."""
    mine = ENTRIES.c.log_id == sa.bindparam("of_log")  # An update reserves the names of columns.
    here = sa.and_(ENTRIES.c.index >= sa.bindparam("start"), ENTRIES.c.index < sa.bindparam("stop"))
    return (
        sa.update(ENTRIES)
        .where(mine, here, ENTRIES.c.kind.in_(sa.bindparam("kinds", expanding=True)))
        .values(payload=sa.bindparam("none", type_=sa.LargeBinary))
    )


@cache
def finder(of_slot: bool, of_subject: bool, last: bool) -> Select[int, str, int | None, str, bytes, bytes]:
    """The last or first entry of :log_id of :kind, and of :slot and :subject if requested."""
    found = sa.select(*_ENTRY).where(ENTRIES.c.log_id == sa.bindparam("log_id"), ENTRIES.c.kind == sa.bindparam("kind"))
    if of_slot:
        found = found.where(ENTRIES.c.slot == sa.bindparam("slot"))
    if of_subject:
        found = found.where(ENTRIES.c.subject == sa.bindparam("subject"))
    return found.order_by(ENTRIES.c.index.desc() if last else ENTRIES.c.index).limit(1)


@cache
def extent() -> Select[int, bytes, int, int]:
    """(size, frontier, number of entries, largest index or -1) of the log :name with :log_id, in one snapshot."""
    mine = ENTRIES.c.log_id == sa.bindparam("log_id")
    count = sa.select(sa.func.count()).where(mine).scalar_subquery()
    largest = sa.select(sa.func.coalesce(sa.func.max(ENTRIES.c.index), -1)).where(mine).scalar_subquery()
    return sa.select(LOGS.c.size, LOGS.c.frontier, count, largest).where(LOGS.c.name == sa.bindparam("name"))


def owner(connection: Connection) -> Owner | None:
    """Who signs the ledger of a database; None if no owner is recorded."""
    row = connection.execute(sa.select(OWNER.c.key, OWNER.c.checkpoints)).one_or_none()
    return Owner(row.key, row.checkpoints) if row is not None else None


def own(connection: Connection, claimed: Owner, *, replace: bool) -> None:
    """Record the owner of a database; without `replace` only if it has none."""
    if replace:
        connection.execute(sa.delete(OWNER))
    insert = sqlite.insert(OWNER) if connection.dialect.name == "sqlite" else postgresql.insert(OWNER)
    connection.execute(insert.on_conflict_do_nothing(), {"id": 1, "key": claimed.key, "checkpoints": claimed.checkpoints})


def lock_log(connection: Connection, log: str) -> tuple[int, Frontier]:
    """Lock a log's row until the end of the transaction and return its id and frontier; creates the row of a new log."""
    row = connection.execute(_locked_row(), {"name": log}).one_or_none()
    if row is None:
        # Two writers may create a log at once: the second finds the first one's row, and waits for it.
        connection.execute(_begin_log(connection.dialect.name), {"name": log, "size": 0, "frontier": b""})
        row = connection.execute(_locked_row(), {"name": log}).one()
    return row.id, Frontier.from_bytes(row.size, row.frontier)


def insert_entries(connection: Connection, log_id: int, frontier: Frontier, rows: Sequence[EntryValues]) -> None:
    """Store entries at the end of the log, the nodes that they complete, and the new size; updates the frontier."""
    start = frontier.size
    completed: list[tuple[int, int, bytes]] = []
    for row in rows:
        frontier.append(row["leaf"], completed)
    numbered = [{"log_id": log_id, "index": index, **row} for index, row in enumerate(rows, start)]
    _insert(connection, ENTRIES, numbered)
    _insert(connection, NODES, [{"log_id": log_id, "level": level, "index": index, "hash": node} for level, index, node in completed])
    connection.execute(_move(connection.dialect.name), {"log_id": log_id, "new_size": frontier.size, "new_frontier": frontier.to_bytes()})


_ENTRY = (ENTRIES.c.index, ENTRIES.c.kind, ENTRIES.c.slot, ENTRIES.c.subject, ENTRIES.c.leaf, ENTRIES.c.payload)


def _bounds(table: sa.Table) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        table.c.log_id == sa.bindparam("log_id"),
        table.c.index >= sa.bindparam("start"),
        table.c.index < sa.bindparam("stop"),
    )


@cache
def _locked_row() -> Select[int, int, bytes]:
    return log_row().with_for_update()  # SQLite ignores this clause; BEGIN IMMEDIATE has taken its lock.


@cache
def _begin_log(dialect: str) -> sa.Insert:
    if dialect == "sqlite":
        return sa.insert(LOGS)
    return postgresql.insert(LOGS).on_conflict_do_nothing()


@cache
def _move(dialect: str) -> sa.Update:
    moved = (
        sa.update(LOGS)
        .where(LOGS.c.id == sa.bindparam("log_id"))
        .values(size=sa.bindparam("new_size"), frontier=sa.bindparam("new_frontier"))
    )
    # PostgreSQL delivers it when the transaction commits, to those who listen (`ledger.store.wakeups`).
    return moved if dialect == "sqlite" else moved.returning(sa.func.pg_notify(CHANNEL, LOGS.c.name))


def _insert(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, object]]) -> None:
    if rows:
        connection.execute(_insert_into(table, connection.dialect.name), list(rows))


@cache
def _insert_into(table: sa.Table, dialect: str) -> sa.Insert:
    # pg8000 sends one statement per row and waits for each; with RETURNING, SQLAlchemy puts many rows into one statement.
    return sa.insert(table) if dialect == "sqlite" else sa.insert(table).returning(table.c.index)
