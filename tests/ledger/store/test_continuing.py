"""A log that the boot rule refuses continues only by a recorded decision, under a new origin, with its evidence."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.check.verify import verify_log
from ledger.formats.checkpoint import parse_checkpoint
from ledger.formats.keys import Signer
from ledger.formats.note import open_note
from ledger.store.continuing import LARGEST_REASON_BYTES, continue_log
from ledger.store.log import Ledger
from schemas.errors import BootRefused, DamagedError, LedgerError, NotFound, RidecastError, StoreUnavailable, UsageError
from schemas.records.records import LogContinued
from tests.ledger.exports import SIGNER
from tests.ledger.places import LOG, Place, scored

OTHER = Signer("ridecast/local", bytes(reversed(range(32))))
REASON = "the disk of Tuesday is lost"


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A ledger of 300 entries, closed cleanly, with its checkpoint."""
    found = Place(tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else "")
    found.open().append(LOG, 0, [scored(slot) for slot in range(300)])
    found.close()
    yield found
    found.abandon()


def origin_of_file(place: Place, signer: Signer = SIGNER) -> str:
    """Origin of the checkpoint file, its signature checked."""
    return parse_checkpoint(open_note(place.checkpoint().read_text("utf-8"), (signer.verifier,)).text).origin


def records(ledger: Ledger) -> list[LogContinued]:
    """Every continuation of the log."""
    return list(ledger.records(LOG, LogContinued))


def test_continuing_with_an_older_database(place: Place) -> None:
    """After a rollback a log is refused, continued with a record and evidence, appended to, and clean."""
    old = place.checkpoint().read_bytes()
    kept = parse_checkpoint(old.decode())
    place.set_back(260)
    ledger = place.open()
    head = ledger.head(LOG)
    with pytest.raises(BootRefused, match=r"ahead of the database: region__nyc\.txt has size 300, the database 260"):
        ledger.append(LOG, 260, [scored(260)])
    done = continue_log(ledger, LOG, REASON)
    digest = hashlib.sha256(old).digest()
    assert done.record == LogContinued(
        log=LOG,
        number=2,
        checkpoint_origin=kept.origin,
        checkpoint_size=300,
        checkpoint_root=kept.root,
        evidence=digest,
        database_size=260,
        database_root=head.root,
        reason=REASON,
    )
    assert done.origin == "ridecast/local@2/region/nyc" == origin_of_file(place)
    assert "ahead of the database" in done.refusal
    assert done.evidence.name == "region__nyc.2.txt"
    assert done.evidence.read_bytes() == old
    assert records(ledger) == [done.record]
    size = ledger.head(LOG).size
    assert ledger.append(LOG, size, [scored(260)]).size == size + 1
    ledger.flush()
    report = verify_log(place.open(), LOG)
    assert (report.checkpoint_size, report.problems) == (size + 1, ())


def test_a_database_that_lost_everything(place: Place) -> None:
    """An emptied database starts again with a record of what was lost."""
    for table in ("entries", "nodes", "logs"):
        place.tamper(f"DELETE FROM {table}")
    record = continue_log(place.open(), LOG, REASON).record
    assert (record.number, record.checkpoint_size, record.database_size) == (2, 300, 0)
    ledger = place.open()
    ledger.append(LOG, ledger.head(LOG).size, [scored(0)])
    ledger.flush()
    assert verify_log(ledger, LOG).problems == ()


def test_a_lost_key(place: Place) -> None:
    """With a new key the old checkpoint becomes evidence although the database agrees with it, and its entries are kept."""
    ledger = place.open(signer=OTHER)
    done = continue_log(ledger, LOG, "the key is lost")
    assert (done.record.checkpoint_size, done.record.database_size) == (300, 300)
    assert done.record.checkpoint_root == done.record.database_root
    assert origin_of_file(place, OTHER) == "ridecast/local@2/region/nyc"
    assert ledger.append(LOG, ledger.head(LOG).size, [scored(300)])


@pytest.mark.parametrize("text", ["", "ridecast/staging/region/nyc\n7\nAAAA\n"])
def test_an_unreadable_or_foreign_file(place: Place, text: str) -> None:
    """A file that cannot be read, or comes from another instance, is kept and cited as far as possible."""
    place.checkpoint().write_text(text, "utf-8")
    done = continue_log(place.open(), LOG, REASON)
    origin, size = ("ridecast/staging/region/nyc", 7) if text else ("", 0)
    assert (done.record.number, done.record.checkpoint_origin, done.record.checkpoint_size) == (2, origin, size)
    assert done.evidence.read_text("utf-8") == text


def test_nothing_to_continue_from(place: Place) -> None:
    """A log that accepts appends or does not exist is not continued; a reason is required."""
    ledger = place.open()
    with pytest.raises(LedgerError, match=r"region nyc: nothing to continue from: the database and region__nyc\.txt match"):
        continue_log(ledger, LOG, REASON)
    with pytest.raises(NotFound, match=r"region paris: .* found no region__paris\.txt; existing logs: region/nyc"):
        continue_log(ledger, "region/paris", REASON)
    for reason in (" ", "x" * (LARGEST_REASON_BYTES + 1)):
        with pytest.raises(UsageError, match="--reason: expected a sentence"):
            continue_log(ledger, LOG, reason)
    place.set_back(10)
    with pytest.raises(BootRefused, match=r"expected the private key .*got none"):
        continue_log(place.open(signer=lambda: SIGNER.verifier), LOG, REASON)
    assert records(place.open()) == []


def test_a_database_that_contradicts_itself(place: Place) -> None:
    """Damage cannot be accepted as loss: a database whose entries do not hash is not continued."""
    place.set_back(260)
    place.tamper('UPDATE entries SET payload = :forged WHERE "index" = 7', forged=scored(99))
    with pytest.raises(DamagedError, match=r"entry 7 reads back altered.*restore a copy that verifies"):
        continue_log(place.open(), LOG, REASON)
    assert not place.checkpoint().with_name("region__nyc.2.txt").exists()
    assert origin_of_file(place) == "ridecast/local/region/nyc"


@pytest.mark.parametrize("broken_at", [1, 2])
def test_an_interrupted_continuation(place: Place, monkeypatch: pytest.MonkeyPatch, broken_at: int) -> None:
    """Interrupted before the record or the new checkpoint, it refuses appends until it is run again, and is recorded once."""
    place.set_back(260)
    ledger = place.open()
    if broken_at == 1:
        monkeypatch.setattr(ledger, "append", _broken)
    else:
        monkeypatch.setattr(ledger.guard.files, "write", _broken)
    with pytest.raises(StoreUnavailable, match="pulled the plug"):
        continue_log(ledger, LOG, REASON)
    with pytest.raises(BootRefused, match="region nyc"):
        place.open().append(LOG, 260, [scored(260)])
    again = place.open()
    assert continue_log(again, LOG, REASON).record.number == 2
    assert len(records(again)) == 1
    assert again.append(LOG, again.head(LOG).size, [scored(260)])
    with pytest.raises(LedgerError, match="nothing to continue from"):
        continue_log(place.open(), LOG, REASON)


def test_an_incident_after_an_incident(place: Place) -> None:
    """A database rolled back to before its continuation gets an unused origin number."""
    place.set_back(260)
    first = continue_log(place.open(), LOG, REASON)
    place.close()
    place.set_back(250)
    with pytest.raises(BootRefused, match="expected origin ridecast/local/region/nyc, got ridecast/local@2/region/nyc"):
        place.open().append(LOG, 250, [scored(250)])
    done = continue_log(place.open(), LOG, "again")
    assert (done.record.number, done.record.checkpoint_origin) == (3, first.origin)
    assert done.origin == "ridecast/local@3/region/nyc"
    assert sorted(path.name for path in place.checkpoint().parent.glob("*.txt")) == [
        "region__nyc.2.txt",
        "region__nyc.3.txt",
        "region__nyc.txt",
    ]


def test_a_stale_writer_stops_at_the_new_origin(place: Place) -> None:
    """A process admitted before the continuation does not overwrite the new checkpoint."""
    stale = place.open()
    stale.append(LOG, 300, [scored(300)])
    stale.flush()
    place.checkpoint().write_text("damaged", "utf-8")
    continue_log(place.open(), LOG, REASON)
    note = place.checkpoint().read_bytes()
    with pytest.raises(RidecastError, match="expected size 301, got 30"):
        stale.append(LOG, 301, [scored(301)])
    assert place.checkpoint().read_bytes() == note


def _broken(*_: object, **__: object) -> None:
    raise StoreUnavailable("somebody pulled the plug")


def test_of_two_continuations_one_succeeds(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process refused because of a checkpoint that another has since replaced does not continue the log again."""
    ledger = place.open()

    def refused(log: str) -> None:
        place.checkpoint().write_bytes(b"of another process")
        raise BootRefused("as it was a moment ago")

    monkeypatch.setattr(ledger.guard, "admit", refused)
    with pytest.raises(LedgerError, match="was changed by another process, which has continued the log"):
        continue_log(ledger, LOG, REASON)
    assert [] == records(ledger)
