"""A process or server killed at any moment loses nothing acknowledged, and stores nothing twice."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.check.verify import verify_log
from schemas.errors import StoreUnavailable
from tests.faults.seen import Seen
from tests.ledger.places import LOG, Place, scored
from tests.services.postgres import PostgresServer

REPOSITORY = Path(__file__).parents[2]

# Appends five entries at a time until killed; prints each acknowledged size; kills itself where it is told to.
WRITER = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.engine import Engine
from ledger.store import checkpoint_files
from tests.ledger.places import LOG, Place, scored

home, url, moment, rounds = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
done = 0

def die(*_arguments):
    if done == rounds:
        os.kill(os.getpid(), signal.SIGKILL)

if moment == "before commit":
    event.listen(Engine, "commit", die)
if moment == "between rows":
    event.listen(Engine, "before_cursor_execute", lambda c, cursor, text, *rest: die() if text.startswith("UPDATE logs") else None)
if moment == "before checkpoint":
    checkpoint_files.write_durably = die
ledger = Place(home, url).open()
size = ledger.head(LOG).size
while True:
    size = ledger.append(LOG, size, [scored(size + step) for step in range(5)]).size
    print(size, flush=True)
    if moment == "before checkpoint":
        ledger.flush()
    done += 1
"""


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty ledger's place."""
    found = Place(tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else "")
    yield found
    found.abandon()


def run_writer(place: Place, moment: str, rounds: int) -> int:
    """Run a writer until it kills itself; returns the last acknowledged size."""
    words = [sys.executable, "-c", WRITER, str(place.home), place.url, moment, str(rounds)]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return int(done.stdout.split()[-1]) if done.stdout else 0


@pytest.mark.parametrize("moment", ["between rows", "before commit"])
def test_killed_inside_an_append(place: Place, moment: str) -> None:
    """An append killed before its commit leaves nothing: the rerun stores it once, and verify is clean."""
    assert run_writer(place, moment, 3) == 15
    ledger = place.open()
    assert ledger.head(LOG).size == 15
    assert ledger.append(LOG, 15, [scored(15)]).size == 16
    ledger.flush()
    assert [stored.slot for stored in ledger.read(LOG, 0)] == list(range(16))
    assert verify_log(ledger, LOG).problems == ()


def test_killed_between_append_and_checkpoint(place: Place) -> None:
    """Acknowledged entries without a checkpoint are there, are read back, and get one."""
    place.open().append(LOG, 0, [scored(slot) for slot in range(5)])
    place.close()
    run_writer(place, "before checkpoint", 0)
    ledger = place.open()
    assert verify_log(ledger, LOG).checkpoint_size == 5
    assert ledger.head(LOG).size == 10
    assert ledger.append(LOG, 5, [scored(slot) for slot in range(5, 10)]).size == 10
    ledger.flush()
    report = verify_log(ledger, LOG)
    assert (report.entries, report.checkpoint_size, report.problems) == (10, 10, ())


def test_killed_at_any_moment(place: Place) -> None:
    """Writers that are killed repeatedly from outside leave every acknowledged entry once."""
    acknowledged = 0
    for target in (5, 20, 35):
        words = [sys.executable, "-c", WRITER, str(place.home), place.url, "from outside", "-1"]
        with subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                acknowledged = max(acknowledged, int(line))
                if acknowledged >= target:
                    writer.kill()
    ledger = place.open()
    size = ledger.head(LOG).size
    assert size >= acknowledged
    assert size % 5 == 0
    assert [stored.slot for stored in ledger.read(LOG, 0)] == list(range(size))
    ledger.append(LOG, size, [scored(size)])
    ledger.flush()
    assert verify_log(ledger, LOG).problems == ()


def test_killed_server(tmp_path: Path, postgres_url: str, postgres_server: PostgresServer, seen: Seen) -> None:
    """While PostgreSQL is down an append raises; once it is back the same ledger continues, with nothing lost."""
    place = Place(tmp_path, postgres_url)
    ledger = place.open()
    ledger.append(LOG, 0, [scored(0), scored(1)])
    ledger.flush()
    postgres_server.kill()
    for words in ("was lost: check that the database is running", "no server listens there: check that the database is running"):
        with pytest.raises(StoreUnavailable, match="database") as caught:
            ledger.append(LOG, 2, [scored(2)])
        seen.told(caught.value, words)
    with pytest.raises(StoreUnavailable, match="database"):
        ledger.head(LOG)
    postgres_server.start()
    assert ledger.append(LOG, 0, [scored(0), scored(1)]).size == 2
    assert ledger.append(LOG, 2, [scored(2)]).size == 3
    ledger.flush()
    report = verify_log(ledger, LOG)
    assert (report.checkpoint_size, report.problems) == (3, ())
    seen.same([scored(number) for number in range(3)], [stored.payload for stored in ledger.read(LOG, 0)], "entries")
    place.abandon()


def test_restarted_server(tmp_path: Path, postgres_url: str, postgres_server: PostgresServer) -> None:
    """A server that was restarted between two appends costs at most one failed append."""
    place = Place(tmp_path, postgres_url)
    ledger = place.open()
    ledger.append(LOG, 0, [scored(0)])
    ledger.flush()
    postgres_server.restart()
    for _ in range(2):
        try:
            ledger.append(LOG, 1, [scored(1)])
            break
        except StoreUnavailable:
            continue
    assert ledger.head(LOG).size == 2
    place.abandon()
