"""Failures of a real machine, each with a message that tells what to do, not only to restart."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ledger.check.verify import verify_log
from ledger.store import guard, tables
from ledger.store.files import locked
from schemas.errors import DamagedError, DivergenceError, ExpectedSizeError, StoreUnavailable
from tests.ledger.places import LOG, Place, scored
from tests.tree import ROOT

# Appends one entry for each input line, with the size known from before; prints the new size or the refusal.
WRITER = """
import sys
from pathlib import Path
from schemas.errors import RidecastError
from tests.ledger.places import LOG, Place, scored

ledger = Place(Path(sys.argv[1]), sys.argv[2]).open()
size = ledger.head(LOG).size
for line in sys.stdin:
    try:
        size = ledger.append(LOG, size, [scored(size, line.strip())]).size
        ledger.flush()
        print(size, flush=True)
    except RidecastError as refusal:
        print(type(refusal).__name__, refusal, flush=True)
"""

# Opens the ledger as a user without write access, after importing everything.
STRANGER = """
import os, sys
from pathlib import Path
from schemas.errors import RidecastError
from tests.ledger.places import LOG, Place, scored

place = Place(Path(sys.argv[1]))
place.open().append("control", 0, [scored(0)])
place.close()
for path in [place.home, *place.home.rglob("*")]:
    path.chmod(0o555 if path.is_dir() else 0o444)
if os.getuid() == 0:
    os.setuid(65_534)  # to root every disk is writable
try:
    place.open().append(LOG, 3, [scored(3)])
except RidecastError as refusal:
    print(type(refusal).__name__, refusal)
"""


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A ledger of three entries, closed cleanly, with its checkpoint."""
    found = Place(tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else "")
    found.open().append(LOG, 0, [scored(slot) for slot in range(3)])
    found.close()
    yield found
    found.abandon()


class Writer:
    """A process that appends on request."""

    def __init__(self, place: Place) -> None:
        words = [sys.executable, "-c", WRITER, str(place.home), place.url]
        self.process = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, measure: str) -> None:
        """Request an append, without waiting for it."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{measure}\n")
        self.process.stdin.flush()

    def heard(self) -> str:
        """Its next line of output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGCONT)
        self.process.communicate(timeout=30)


def test_a_stale_process_that_wakes_after_a_failover(place: Place) -> None:
    """A writer paused during a failover stores nothing when it wakes, reports that, and overwrites no newer checkpoint."""
    stale, taker = Writer(place), Writer(place)
    stale.tell("stale")
    assert stale.heard() == "4"
    stale.process.send_signal(signal.SIGSTOP)
    stale.tell("stale")
    taker.end()
    taker = Writer(place)
    for size in (5, 6):
        taker.tell("taker")
        assert taker.heard() == str(size)
    stale.process.send_signal(signal.SIGCONT)
    said = stale.heard()
    assert said.startswith("DivergenceError region nyc: expected size 4, got 6, with other content at index 4. Another process is writing")
    assert "stop all writers but one and restart it" in said
    taker.tell("taker")
    assert taker.heard() == "7"
    for writer in (stale, taker):
        writer.end()
    ledger = place.open()
    assert [stored.subject for stored in ledger.read(LOG, 3)] == ["stale", "taker", "taker", "taker"]
    report = verify_log(ledger, LOG)
    assert (report.checkpoint_size, report.problems) == (7, ())


def test_two_writers_on_one_log(place: Place) -> None:
    """With two writers of one log each entry is stored once, and the late one's error tells what to do."""
    one, two = place.open(), place.open()
    one.append(LOG, 3, [scored(3, "one")])
    with pytest.raises(DivergenceError, match=r"other content at index 3\. Another process is writing this log or has taken it over"):
        two.append(LOG, 3, [scored(3, "two")])
    with pytest.raises(ExpectedSizeError, match=r"expected size 9, got 4\. Another process is writing this log"):
        two.append(LOG, 9, [scored(9, "two")])
    assert two.append(LOG, 4, [scored(4, "two")]).size == 5
    assert [stored.subject for stored in one.read(LOG, 3)] == ["one", "two"]


def test_a_writer_that_hangs_inside_an_append(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process stopped within a transaction blocks others only until their timeout, and their error names the cause."""
    monkeypatch.setattr(tables, "BUSY_TIMEOUT_S", 0.3)
    engine = sa.create_engine(place.url or f"sqlite:///{place.home / 'ledger' / 'region__nyc.sqlite'}")
    with engine.connect() as hanging:
        hanging.execute(sa.text("UPDATE logs SET size = size"))
        with pytest.raises(StoreUnavailable, match="another process holds the lock of this log: stop it if it is suspended or hung"):
            place.open().append(LOG, 3, [scored(3)])
        hanging.rollback()
    engine.dispose()
    assert place.open().append(LOG, 3, [scored(3)]).size == 4


def test_a_writer_that_hangs_at_its_checkpoint(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint locked by another process is waited for only until a timeout, and nothing is appended without it."""
    monkeypatch.setattr(guard, "PATIENCE_S", 0.2)
    ledger = place.open()
    with locked(place.checkpoint().with_suffix(".lock")):
        ledger.append(LOG, 3, [scored(3)])
        with pytest.raises(
            StoreUnavailable, match=r"another process has held region__nyc\.lock for 0\.2 s: stop the process if it is suspended or hung"
        ):
            ledger.flush()
        with pytest.raises(StoreUnavailable, match="hung, then try again"):
            ledger.append(LOG, 4, [scored(4)])
    assert ledger.append(LOG, 4, [scored(4)]).size == 5


@pytest.mark.alone
@pytest.mark.parametrize("jump_s", [-86_400.0, 86_400.0])
def test_a_clock_that_jumps_a_day(place: Place, jump_s: float) -> None:
    """Checkpoints keep coming within a second although their clock jumps a day back or forward."""
    offset_s = [0.0]
    ledger = place.open(clock=lambda: time.monotonic() + offset_s[0])
    ledger.append(LOG, 3, [scored(3)])
    ledger.flush()
    for size in range(4, 7):
        offset_s[0] += jump_s
        begun_s = time.monotonic()
        ledger.append(LOG, size, [scored(size)])
        while (found := ledger.guard.read(LOG)) is not None and found.size <= size and time.monotonic() < begun_s + 5:
            time.sleep(0.01)
        assert found is not None
        assert found.size == size + 1
        assert time.monotonic() - begun_s < 1.5  # a second, and the delay of a busy machine


def test_a_full_disk_under_the_checkpoint(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the checkpoints' disk is full the next append reports it and tells what to do; with free space appends succeed."""
    ledger = place.open()
    with ledger.guard._writing:
        ledger.append(LOG, 3, [scored(3)])
        monkeypatch.setattr(os, "write", _full)
    with pytest.raises(
        StoreUnavailable, match=r"region__nyc\.txt: .*No space left on device; the disk is full: free some space, then try again"
    ):
        ledger.flush()
    with pytest.raises(StoreUnavailable, match="no acknowledged data is lost"):
        ledger.append(LOG, 4, [scored(4)])
    monkeypatch.undo()
    assert ledger.append(LOG, 4, [scored(4)]).size == 5
    ledger.flush()
    assert verify_log(ledger, LOG).problems == ()


def test_a_full_disk_under_the_database(tmp_path: Path) -> None:
    """A database that cannot grow refuses the append with the way out, and keeps its entries."""
    place = Place(tmp_path)
    ledger = place.open()
    ledger.append(LOG, 0, [scored(0)])
    ledger.flush()  # else the thread of the checkpoints may begin while the listener comes or goes, which SQLAlchemy does not allow
    engine, _ = ledger.opened(LOG)

    @sa.event.listens_for(engine, "begin")
    def shrink(connection: sa.Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # SQLite's own limit; it fails with the message of a full disk

    with pytest.raises(StoreUnavailable, match="database or disk is full; the disk is full: free some space, then try again"):
        ledger.append(LOG, 1, [scored(slot, size_bytes=60_000) for slot in range(1, 20)])
    sa.event.remove(engine, "begin", shrink)
    assert ledger.head(LOG).size == 1
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert ledger.append(LOG, 1, [scored(1)]).size == 2
    place.close()


def test_a_read_only_disk(tmp_path: Path) -> None:
    """On a read-only disk an append reports it and tells what to do; nothing is lost."""
    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:3]:
        if parent.owner() == tmp_path.owner() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    home = tmp_path / "home"
    place = Place(home)
    place.open().append(LOG, 0, [scored(slot) for slot in range(3)])
    place.close()
    done = subprocess.run([sys.executable, "-c", STRANGER, str(home)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    for path in [home, *home.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert done.stdout.startswith("StoreUnavailable"), done.stdout + done.stderr
    assert (
        "the disk is read-only, or this user may not write to it: mount it writable, or give home to the user that runs Ridecast"
        in done.stdout
    )
    assert verify_log(place.open(), LOG).problems == ()
    place.close()


def test_a_store_that_lies_is_found(place: Place) -> None:
    """Entries that a store acknowledged but changed get no checkpoint, and nothing is appended after them."""
    ledger = place.open()
    with ledger.guard._writing:
        ledger.append(LOG, 3, [scored(3), scored(4)])
        place.tamper('UPDATE entries SET payload = :forged WHERE "index" = 3', forged=scored(5))
    with pytest.raises(DamagedError, match=r"entry 3 reads back altered\. .*`ridecast ledger verify` lists every damaged entry"):
        ledger.flush()
    found = ledger.guard.read(LOG)
    assert found is not None
    assert found.size == 3


def _full(*_: object) -> int:
    raise OSError(28, os.strerror(28))
