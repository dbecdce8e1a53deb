"""How a waiting reader learns of an append, on SQLite and on PostgreSQL; and that a broken connection loses nothing."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ledger.store.wakeups import Notifications
from tests.ledger.places import LOG, Place, scored

LONG_S = 30.0  # a wait that a wake-up must cut short
SHORT_S = 5.0  # by when it must have


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty ledger's place."""
    found = Place(tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else "")
    yield found
    found.close()


def append_later(place: Place, size: int, log: str = LOG) -> threading.Timer:
    """Append one entry in a moment, by another ledger."""
    ledger = place.open()
    timer = threading.Timer(0.2, ledger.append, (log, size, [scored(size)]))
    timer.start()
    return timer


def test_an_append_ends_a_wait(place: Place) -> None:
    """Who waits is woken long before its time by the append of another process, to a log that is new and to one that is not."""
    with closing(place.open().wakeup(LOG)) as wakeup:
        for size in range(2):
            begun_s, timer = time.monotonic(), append_later(place, size)
            assert wakeup.wait(threading.Event(), LONG_S)
            assert time.monotonic() - begun_s < SHORT_S
            timer.join()


def test_an_append_before_the_wait_is_not_missed(place: Place) -> None:
    """What was appended after the wake-up was made, but before anybody waited, ends the first wait and no other."""
    ledger = place.open()
    ledger.append(LOG, 0, [scored(0)])
    with closing(ledger.wakeup(LOG)) as wakeup:
        ledger.append(LOG, 1, [scored(1)])
        ledger.append(LOG, 2, [scored(2)])
        assert wakeup.wait(threading.Event(), LONG_S)
        assert not wakeup.wait(threading.Event(), 0.05)


def test_other_logs_wake_nobody(place: Place) -> None:
    """An append to a log that was not named leaves the wait as it is; of several that were, each ends it."""
    ledger = place.open()
    ledger.append("runs", 0, [scored(0)])
    with closing(ledger.wakeup(LOG)) as one, closing(ledger.wakeup("control", "runs")) as several:
        ledger.append("runs", 1, [scored(1)])
        assert not one.wait(threading.Event(), 0.2)
        assert several.wait(threading.Event(), LONG_S)


def test_a_stop_ends_a_wait(place: Place) -> None:
    """Who is told to stop does not wait on."""
    ledger, stop = place.open(), threading.Event()
    ledger.append(LOG, 0, [scored(0)])
    with closing(ledger.wakeup(LOG)) as wakeup:
        threading.Timer(0.1, stop.set).start()
        begun_s = time.monotonic()
        assert not wakeup.wait(stop, LONG_S)
        assert time.monotonic() - begun_s < SHORT_S


def test_waiting_asks_for_no_row(place: Place) -> None:
    """A wait sends the database no statement of SQLAlchemy's, which every question for rows is."""
    ledger, asked, here = place.open(), list[str](), threading.get_ident()
    ledger.append(LOG, 0, [scored(0)])

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if threading.get_ident() == here:  # not the thread that writes checkpoints
            asked.append(statement)

    with closing(ledger.wakeup(LOG)) as wakeup:
        ledger.append(LOG, 1, [scored(1)])
        assert wakeup.wait(threading.Event(), LONG_S)
        sa.event.listen(Engine, "before_cursor_execute", note)
        try:
            wakeup.wait(threading.Event(), 0.3)
            assert asked == []
            ledger.head(LOG)
            assert len(asked) == 1
        finally:
            sa.event.remove(Engine, "before_cursor_execute", note)


def test_a_connection_that_breaks_is_made_again(postgres_url: str, tmp_path: Path) -> None:
    """When the server ends the connection a wait is only a wait; the next one says to look, and hears again."""
    place = Place(tmp_path, postgres_url)
    ledger = place.open()
    ledger.append(LOG, 0, [scored(0)])
    with closing(ledger.wakeup(LOG)) as wakeup:
        engine = sa.create_engine(postgres_url.replace("postgresql://", "postgresql+pg8000://"))
        with engine.connect() as connection:
            listeners = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
            assert [True] == list(connection.execute(sa.text(listeners)).scalars())
        engine.dispose()
        assert not wakeup.wait(threading.Event(), 0.3)
        assert wakeup.wait(threading.Event(), LONG_S)
        assert not wakeup.wait(threading.Event(), 0.05)
        timer = append_later(place, 1)
        begun_s = time.monotonic()
        assert wakeup.wait(threading.Event(), LONG_S)
        assert time.monotonic() - begun_s < SHORT_S
        timer.join()
    place.close()


def test_a_database_that_is_away_is_no_error() -> None:
    """A wake-up whose server refuses connections waits as long as it is told to, each time."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    engine = sa.create_engine(f"postgresql+pg8000://nobody:none@127.0.0.1:{port}/none")
    with closing(Notifications(engine, [LOG])) as wakeup:
        begun_s = time.monotonic()
        assert [False, False] == [wakeup.wait(threading.Event(), 0.15) for _ in range(2)]
        assert time.monotonic() - begun_s >= 0.3
