"""One forecaster at a time for each log, over all homes and machines that write one ledger.

The expected size of an append already keeps two forecasters from mixing their records, but the second one would refold a
region, read its rides and then fail at its first slot, again and again. So a forecaster holds its log from its start on:
with PostgreSQL by a lock of one session, which ends with the process or with the server; with SQLite by a locked file
beside the database. Who comes second is told who holds the log.
"""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from time import sleep
from zlib import crc32

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ledger.store.files import Held, held_alone, make_folder
from ledger.store.limits import KEEPALIVE
from ledger.store.tables import Databases, display_name, file_stem, translated
from schemas.errors import BootRefused, RidecastError, StoreUnavailable

LOG = logging.getLogger(__name__)

HOLD_CLASS = 0x5244  # first key of our session locks, apart from SCHEMA_LOCK, which has one key; "RD"
LONGEST_NAME_BYTES = 63  # of an application's name in PostgreSQL
LOOK_AGAIN_S = 0.1
TAKE = sa.text("SELECT pg_try_advisory_lock(:class, :log)")
HOLDER = sa.text(
    "SELECT a.application_name, a.backend_start FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
    "WHERE l.locktype = 'advisory' AND l.granted AND l.classid = :class AND l.objid = :log AND l.objsubid = 2 "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
NAME = sa.text("SELECT set_config('application_name', :who, false)")
# A machine that vanished holds nothing for longer than this: what `notice_silence` does here, the server does there.
NOTICE_SILENCE = (
    f"SET tcp_keepalives_idle = {KEEPALIVE['TCP_KEEPIDLE']}",
    f"SET tcp_keepalives_interval = {KEEPALIVE['TCP_KEEPINTVL']}",
    f"SET tcp_keepalives_count = {KEEPALIVE['TCP_KEEPCNT']}",
)


def hold(stores: Databases, log: str, who: str, patience_s: float) -> AbstractContextManager[None]:
    """Hold a log; see `ledger.store.log.Ledger.held`."""
    engine = stores.engine_of(log, create=True)
    assert engine is not None  # create=True
    if engine.dialect.name != "sqlite":
        return held_in_database(engine, log, who, patience_s)
    return held_in_folder(Path(engine.url.database or "").parent, log, who, patience_s)


@contextmanager
def taking_turns(engine: Engine, what: str, who: str, patience_s: float) -> Iterator[None]:
    """Be the only process that does something, for a short time; released at the latest when this process ends.

    Args:
        engine: Of the database that all of them use.
        what: Name of what is done, in the form of a log's name.
        who, patience_s: See `ledger.store.log.Ledger.held`.
    Raises:
        StoreUnavailable: another process does it all that time.
    """
    folder = Path(engine.url.database or "").parent
    holding = (
        held_in_folder(folder, what, who, patience_s)
        if engine.dialect.name == "sqlite"
        else held_in_database(engine, what, who, patience_s)
    )
    try:
        holding.__enter__()
    except BootRefused as cause:
        raise StoreUnavailable(f"{what}: expected to have a turn within {patience_s:g} s: {cause}", remedy="stop that process") from cause
    try:
        yield
    finally:
        holding.__exit__(None, None, None)


@contextmanager
def held_in_folder(folder: Path, log: str, who: str, patience_s: float) -> Iterator[None]:
    """Hold a log of SQLite; see `ledger.store.log.Ledger.held`."""
    path = folder / f"{file_stem(log)}.writer"
    left_s = patience_s
    while True:
        with translated(str(path)):
            make_folder(folder)
            holding = held_alone(path, who)
            try:
                holding.__enter__()
                break
            except Held as held:
                if left_s <= 0:
                    raise _taken(log, str(held)) from None
                if left_s == patience_s:
                    _tell(log, str(held), patience_s)
        left_s -= LOOK_AGAIN_S
        sleep(LOOK_AGAIN_S)
    try:
        yield
    finally:
        holding.__exit__(None, None, None)


@contextmanager
def held_in_database(engine: Engine, log: str, who: str, patience_s: float) -> Iterator[None]:
    """Hold a log of PostgreSQL; see `ledger.store.log.Ledger.held`."""
    keys = {"class": HOLD_CLASS, "log": crc32(log.encode()) & 0x7FFFFFFF}
    with translated(log):
        connection = engine.connect()
    try:
        with translated(log):
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.detach()  # The lock belongs to the session, which therefore must not return to the pool.
            connection.execute(NAME, {"who": f"ridecast {who}".encode()[:LONGEST_NAME_BYTES].decode("utf-8", "ignore")})
            for statement in NOTICE_SILENCE:
                connection.exec_driver_sql(statement)
            _take(connection, log, keys, patience_s)
        yield
    finally:
        with suppress(RidecastError), translated(log):  # Closing a lost connection changes nothing: the lock went with it.
            connection.close()


def _take(connection: Connection, log: str, keys: dict[str, int], patience_s: float) -> None:
    left_s = patience_s
    while not connection.execute(TAKE, keys).scalar_one():
        if left_s <= 0 or left_s == patience_s:
            row = connection.execute(HOLDER, keys).first()
            who = f"{row[0]}, connected since {row[1]:%Y-%m-%d %H:%M:%S %Z}" if row else "a process that has just ended"
            if left_s <= 0:
                raise _taken(log, who)
            _tell(log, who, patience_s)
        left_s -= LOOK_AGAIN_S
        sleep(LOOK_AGAIN_S)


def _tell(log: str, who: str, patience_s: float) -> None:
    LOG.warning("%s: still held by another process (%s); waiting up to %.0f s for its end", display_name(log), who, patience_s)


def _taken(log: str, who: str) -> BootRefused:
    return BootRefused(
        f"{display_name(log)}: another process already forecasts it: {who}",
        remedy="stop that one first, or give this home a database of its own (RIDECAST_DATABASE)",
    )
