"""PostgreSQL killed at random moments while closes are appended: every acknowledged entry is there, once, and verify is clean."""

import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ledger.check.verify import verify_log
from ledger.store.blobs import open_blobs
from tests.faults.seen import Seen
from tests.faults.syscalls import CLOSE_ENTRIES, close_of
from tests.ledger.places import LOG, Place
from tests.services.postgres import PostgresServer
from tests.tree import ROOT

SEED = 20_141_124
LONGEST_WAIT_S = 0.3  # after the first close of a round; a close takes about ten milliseconds

# Appends closes to a server that is killed, until an append fails; prints each acknowledged size.
PROGRAM = """
import os, sys
from pathlib import Path
from ledger.store.blobs import Retention, open_blobs
from schemas.errors import RidecastError
from tests.faults.syscalls import CLOSE_ENTRIES, chunks_of, close_of
from tests.ledger.places import LOG, Place

place = Place(Path(sys.argv[1]), sys.argv[2])
ledger, blobs = place.open(), open_blobs(place.home, place.url)
size = ledger.head(LOG).size
try:
    while True:
        number = size // CLOSE_ENTRIES
        blobs.put(chunks_of(number % 256), Retention.FORECAST)
        size = ledger.append(LOG, size, close_of(number)).size
        print(size, flush=True)
except RidecastError as refusal:
    print(type(refusal).__name__, refusal, flush=True)
os._exit(0)
"""


def kill_under(place: Place, server: PostgresServer, wait_s: float) -> tuple[int, str]:
    """Kill the server while a program appends, and restart it; returns the last acknowledged size, and what the program was told."""
    words = [sys.executable, "-B", "-c", PROGRAM, str(place.home), place.url]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        first = program.stdout.readline()
        time.sleep(wait_s)
        server.kill()
        said = [first, *program.stdout.readlines()]
    server.start()
    # The server is killed within a statement, or between two of them, so that the next connection is refused.
    told = r"StoreUnavailable .*(the database connection was lost|no server listens there): check that the database is running, .*try again"
    assert re.match(told, said[-1]), said[-1]
    return max(int(line) for line in said if line.strip().isdecimal()), said[-1]


def kill_repeatedly(place: Place, server: PostgresServer, kills: int, seen: Seen) -> None:
    """Kill the server so many times, and check the ledger after each.

    Blobs are in the same database as the entries.
    """
    chance, acknowledged, told = random.Random(SEED), 0, ""
    found: list[bytes] = []
    for _ in range(kills):
        acknowledged, told = kill_under(place, server, chance.random() * LONGEST_WAIT_S)
        ledger, blobs = place.open(), open_blobs(place.home, place.url)
        found = [stored.payload for stored in ledger.read(LOG, 0)]
        assert len(found) >= acknowledged
        assert found == [payload for number in range(len(found) // CLOSE_ENTRIES) for payload in close_of(number)]
        assert verify_log(ledger, LOG, blobs).problems == ()
        blobs.close()
        place.close()
    seen.same([payload for number in range(len(found) // CLOSE_ENTRIES) for payload in close_of(number)], found, "entries")
    seen.told(told, "check that the database is running")
    print(f"\nPostgreSQL killed {kills} times, seed {SEED}: {acknowledged} entries acknowledged, 0 lost, 0 twice")


def test_some_kills_of_the_server(tmp_path: Path, postgres_url: str, postgres_server: PostgresServer, seen: Seen) -> None:
    """After two kills during appends, every acknowledged entry is there once, and verify is clean."""
    kill_repeatedly(Place(tmp_path, postgres_url), postgres_server, 2, seen)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_many_kills_of_the_server(tmp_path: Path, postgres_url: str, postgres_server: PostgresServer, seen: Seen) -> None:
    """The same holds after thirty kills on one database."""
    kill_repeatedly(Place(tmp_path, postgres_url), postgres_server, 30, seen)
