"""Who may write: one home for each database, and one forecaster at a time for each log."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.check.verify import verify_log
from ledger.formats.keys import Signer
from ledger.store.continuing import continue_log
from schemas.errors import BootRefused, NotFound
from schemas.records.records import LogContinued
from tests.ledger.exports import SIGNER
from tests.ledger.places import LOG, Place, scored
from tests.tree import ROOT

OTHER = Signer("ridecast/local", bytes(range(7, 39)))

HOLDER = """
import sys
from pathlib import Path
from tests.ledger.places import LOG, Place

with Place(Path(sys.argv[1]), sys.argv[2]).open().held(LOG, "host a process 7", 0):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A ledger of three entries, closed cleanly."""
    found = Place(tmp_path / "home", request.getfixturevalue("postgres_url") if request.param == "postgres" else "")
    found.open().append(LOG, 0, [scored(slot) for slot in range(3)])
    found.close()
    yield found
    found.abandon()


@pytest.fixture
def second(place: Place, tmp_path: Path) -> Iterator[Place]:
    """Another home on the same database: the same server, or its files linked into it."""
    found = Place(tmp_path / "second", place.url)
    if not place.url:
        found.home.mkdir()
        (found.home / "ledger").symlink_to(place.home / "ledger")
    yield found
    found.abandon()


def test_a_second_home_with_another_key_is_refused(place: Place, second: Place) -> None:
    """It appends nothing to any log, and is told whose database it is and what helps; the first home goes on."""
    expected = (
        rf"its database is signed with the key ridecast/local\+.* \(checkpoints in {place.home}/checkpoints\), this home signs with "
        r".* set RIDECAST_DATABASE of this home to another database, or copy keys/ and checkpoints/ of the other home"
    )
    for log, size in ((LOG, 3), ("control", 0)):
        with pytest.raises(BootRefused, match=expected):
            second.open(signer=OTHER).append(log, size, [scored(size)])
    with pytest.raises(BootRefused, match=expected):
        second.open(signer=OTHER).admit_all()
    assert place.open().append(LOG, 3, [scored(3)]).size == 4


def test_a_copied_key_takes_the_place_of_the_first(place: Place, second: Place) -> None:
    """A home with the same key continues the ledger: it is the same installation, moved."""
    assert second.open().append(LOG, 3, [scored(3)]).size == 4


def test_a_database_of_an_earlier_release_gets_its_owner(place: Place, second: Place) -> None:
    """A home with checkpoints becomes the owner in silence; a home without any is refused."""
    place.tamper("DROP TABLE owner")
    with pytest.raises(BootRefused, match=r"its database has entries, but this home has no checkpoint of any log"):
        second.open(signer=OTHER).append(LOG, 3, [scored(3)])
    second.abandon()
    assert place.open().append(LOG, 3, [scored(3)]).size == 4
    place.close()
    with pytest.raises(BootRefused, match="its database is signed with the key"):
        second.open(signer=OTHER).append(LOG, 4, [scored(4)])


def test_a_lost_home_is_replaced_on_record(place: Place, second: Place) -> None:
    """With `ledger continue` a new home takes over: recorded in the log, under a new origin; the old home is then refused."""
    ledger = second.open(signer=OTHER)
    with pytest.raises(NotFound, match=r"region paris: expected a checkpoint to continue from"):
        continue_log(ledger, "region/paris", "the disk of the first home is lost")
    done = continue_log(ledger, LOG, "the disk of the first home is lost")
    assert (done.origin, done.record.database_size, done.record.checkpoint_size) == ("ridecast/local@2/region/nyc", 3, 0)
    assert f"was signed with the key {SIGNER.verifier.text()}" in done.evidence.read_text("utf-8")
    size = ledger.head(LOG).size
    assert ledger.append(LOG, size, [scored(3)]).size == size + 1
    ledger.flush()
    assert [2] == [record.number for record in ledger.records(LOG, LogContinued)]
    assert verify_log(ledger, LOG).problems == ()
    second.close()
    with pytest.raises(BootRefused):
        place.open().append(LOG, size + 1, [scored(4)])


def test_a_log_is_held_by_one_process(place: Place, second: Place) -> None:
    """The second forecaster of a log is refused with who holds it, from another home with the same key too; then it is free."""
    words = [sys.executable, "-c", HOLDER, str(place.home), place.url]
    holder = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    expected = r"region nyc: another process already forecasts it: .*host a process 7.*; stop that one first, or give this home a database"
    with pytest.raises(BootRefused, match=expected), second.open().held(LOG, "host b", patience_s=0.2):
        pass
    with second.open().held("region/paris", "host b", patience_s=0.2):
        pass
    holder.kill()
    holder.communicate(timeout=10)
    with second.open().held(LOG, "host b", patience_s=10):
        assert second.open().head(LOG).size == 3
