"""Rejected events: their bytes are stored encrypted for seven days, and no person's id is stored anywhere else."""

import re
import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings, strategies as st

from dataflows.connectors.rejects import KEPT_S, PURGE_EVERY_S, Choice, FileRejects
from dataflows.connectors.rejects_at import open_rejects
from dataflows.connectors.sealing import Seals, is_sealed
from ridecast.main import cli
from schemas.errors import ConfigError, DamagedError, NotFound
from schemas.events.rides import NO_TIME, Reason, Rejected
from tests.simulation.fixtures import Settled
from tests.simulation.runs import Place, copied, payloads_at, run_here

# Ids of rides, of people and of events, as the small world generates them.
IDS = re.compile(rb"(?:rider|ride|requested|completed)-\d")
REJECT = Rejected(1, 41, NO_TIME, Reason.BAD_FARE, b"the bytes of ride-7", "fare of ride-7")


@pytest.fixture(scope="module")
def finished(settled: Settled, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The small world's home after its run."""
    place = copied(settled.place, tmp_path_factory.mktemp("finished") / "home")
    run_here(place, snapshot_every_s=0.0)
    return place


@pytest.fixture
def seals(tmp_path: Path) -> Seals:
    """Seals whose key does not exist yet."""
    return Seals(tmp_path / "keys" / "rejects.key")


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    partition=st.integers(0, 2**31),
    offset=st.integers(0, 2**63),
    detail=st.text(st.characters(exclude_categories=["Cs"])),
    value=st.binary(),
    at=st.integers(0),
)
def test_sealed_bytes_open_at_their_offset_only(seals: Seals, partition: int, offset: int, detail: str, value: bytes, at: int) -> None:
    """Bytes and detail are decrypted exactly; at another offset, or with any bit changed, they do not open."""
    sealed = seals.seal(partition, offset, detail, value)
    assert is_sealed(sealed)
    assert (detail, value) == seals.open(partition, offset, sealed)
    assert sealed != seals.seal(partition, offset, detail, value)
    for place in ((partition + 1, offset), (partition, offset + 1)):
        with pytest.raises(DamagedError, match="belong to another offset"):
            seals.open(*place, sealed)
    changed = bytearray(sealed)
    changed[12 + at % (len(sealed) - 12)] ^= 1 << at % 8
    with pytest.raises(DamagedError, match=f"rejects: {partition}/{offset}: the encrypted bytes were changed"):
        seals.open(partition, offset, bytes(changed))


def test_only_the_owner_may_read_the_key(seals: Seals, tmp_path: Path) -> None:
    """The key file is created with mode 600 when the first event is sealed; wider modes and a file without a key are refused."""
    path = tmp_path / "keys" / "rejects.key"
    assert not path.exists()
    seals.seal(0, 0, "", b"")
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=r"rejects.key: expected mode 600, got 640: other users may have read it"):
        Seals(path)
    path.chmod(0o600)
    for text in ("", "no key", "00" * 31):
        path.write_text(text)
        with pytest.raises(ConfigError, match="expected 64 hexadecimal digits"):
            Seals(path)


def test_two_processes_that_start_at_once_have_one_key(tmp_path: Path) -> None:
    """The second process uses the key that the first one created."""
    one, other = Seals(tmp_path / "rejects.key"), Seals(tmp_path / "rejects.key")
    sealed = one.seal(0, 1, "", b"by one")
    assert ("", b"by other") == one.open(0, 2, other.seal(0, 2, "", b"by other"))
    assert ("", b"by one") == other.open(0, 1, sealed)


def test_a_missing_key_is_reported(tmp_path: Path) -> None:
    """Offset, reason and count stay readable without the key; the bytes do not, and the message names the missing or wrong key."""
    path = tmp_path / "keys" / "rejects.key"
    sink = FileRejects(tmp_path / "rejects.sqlite")
    sink.write([REJECT])
    sink.close()
    path.rename(tmp_path / "kept.key")
    without = FileRejects(tmp_path / "rejects.sqlite")
    with pytest.raises(NotFound, match=r"their bytes are encrypted, and the key .*rejects.key is missing"):
        without.read()
    [sealed] = without.read(sealed=True)
    assert replace(REJECT, value=sealed.value, detail="") == sealed
    assert {Reason.BAD_FARE: 1} == without.counts()
    without.write([replace(REJECT, offset=42)])
    with pytest.raises(NotFound, match=r"rejects: 1/41: expected key [0-9a-f]{8}, .* has key [0-9a-f]{8}"):
        without.read()
    without.close()
    (tmp_path / "kept.key").replace(path)
    again = FileRejects(tmp_path / "rejects.sqlite")
    assert [REJECT] == again.read(limit=1)
    again.close()


def test_what_older_keys_sealed_is_opened(seals: Seals, tmp_path: Path) -> None:
    """After its key was replaced, twice, everything opens that has its key, also in another process; the rest names the key."""
    path = tmp_path / "keys" / "rejects.key"
    assert seals.replace_key() is None
    sealed, older = [], []
    for offset in range(3):
        sealed.append(seals.seal(0, offset, "", b"%d" % offset))
        if offset < 2:
            older.append(seals.replace_key())
            assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    for one in (seals, Seals(path)):
        assert [("", b"0"), ("", b"1"), ("", b"2")] == [one.open(0, offset, sealed[offset]) for offset in range(3)]
    assert older[0] is not None
    older[0].unlink()
    fresh = Seals(path)
    with pytest.raises(NotFound, match=rf"rejects: 0/0: expected key [0-9a-f]{{8}}, .*; put the key .* as {older[0].name}"):
        fresh.open(0, 0, sealed[0])
    assert ("", b"1") == fresh.open(0, 1, sealed[1])
    path.unlink()
    assert ("", b"1") == Seals(path).open(0, 1, sealed[1])


def test_a_reader_opens_what_it_can(tmp_path: Path) -> None:
    """Where one of two keys is gone, its events stay sealed, and the others are opened."""
    sink = FileRejects(tmp_path / "rejects.sqlite")
    sink.write([REJECT])
    older = Seals(tmp_path / "keys" / "rejects.key").replace_key()
    assert older is not None
    again = FileRejects(tmp_path / "rejects.sqlite")
    again.write([replace(REJECT, offset=42)])
    assert [REJECT, replace(REJECT, offset=42)] == list(again.scan(Choice()))
    older.unlink()
    found = list(FileRejects(tmp_path / "rejects.sqlite").scan(Choice()))
    assert [(41, True), (42, False)] == [(one.offset, is_sealed(one.value)) for one in found]
    assert replace(REJECT, offset=42) == found[1]
    sink.close()
    again.close()


def test_rejects_are_kept_for_seven_days(tmp_path: Path) -> None:
    """On the eighth day they are neither read nor counted, and the next write or open deletes them from the file."""
    now_s = 1_000_000.0
    sink = FileRejects(tmp_path / "rejects.sqlite", clock=lambda: now_s)
    sink.write([REJECT])
    now_s += KEPT_S
    assert [REJECT] == sink.read()
    now_s += 1
    assert ([], {}) == (sink.read(), sink.counts())
    later = replace(REJECT, offset=43)
    sink.write([later])
    assert [43] == stored_offsets(tmp_path)
    assert [later] == sink.read()
    now_s += KEPT_S + PURGE_EVERY_S
    sink.close()
    FileRejects(tmp_path / "rejects.sqlite", clock=lambda: now_s).close()
    assert [] == stored_offsets(tmp_path)


def stored_offsets(folder: Path) -> list[int]:
    """Offsets of all rows in the file, expired or not."""
    base = sqlite3.connect(folder / "rejects.sqlite")
    found = [row[0] for row in base.execute("SELECT place FROM rejects ORDER BY place")]
    base.close()
    return found


def test_a_file_of_an_earlier_release_stays_readable(tmp_path: Path) -> None:
    """Rows that have no source keep their bytes, reason and time of storing, and events of a known source come beside them."""
    now_s = 2e9
    sealed = Seals(tmp_path / "keys" / "rejects.key").seal(1, 41, REJECT.detail, REJECT.value)
    base = sqlite3.connect(tmp_path / "rejects.sqlite")
    base.execute(
        "CREATE TABLE rejects (partition INTEGER NOT NULL, place INTEGER NOT NULL, logged_at_us INTEGER NOT NULL, reason TEXT NOT NULL, "
        "detail TEXT NOT NULL, value BLOB NOT NULL, kept_at_s INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (partition, place))"
    )
    base.execute("CREATE INDEX rejects_by_reason ON rejects (reason, partition, place, kept_at_s)")
    base.execute("INSERT INTO rejects VALUES (1, 41, ?, 'bad_fare', '', ?, ?)", (NO_TIME, sealed, int(now_s)))
    base.commit()
    base.close()
    now_s += 60
    for _ in range(2):
        sink = FileRejects(tmp_path / "rejects.sqlite", clock=lambda: now_s)
        other = replace(REJECT, reason=Reason.BAD_ID, source='{"topic_id":"b"}')
        sink.write([replace(REJECT, source='{"topic_id":"a"}'), other])
        assert [REJECT, other] == sink.read()
        sink.close()
    now_s += KEPT_S - 30
    assert [other] == FileRejects(tmp_path / "rejects.sqlite", clock=lambda: now_s).read()


def test_a_file_of_the_first_release_stays_readable(tmp_path: Path) -> None:
    """Rows that an older release stored unencrypted are read until seven days from now."""
    base = sqlite3.connect(tmp_path / "rejects.sqlite")
    base.execute(
        "CREATE TABLE rejects (partition INTEGER NOT NULL, place INTEGER NOT NULL, logged_at_us INTEGER NOT NULL, reason TEXT NOT NULL, "
        "detail TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (partition, place))"
    )
    base.execute("INSERT INTO rejects VALUES (1, 41, ?, 'bad_fare', 'fare of ride-7', ?)", (NO_TIME, REJECT.value))
    base.commit()
    base.close()
    now_s = 2e9
    sink = FileRejects(tmp_path / "rejects.sqlite", clock=lambda: now_s)
    assert [REJECT] == sink.read()
    now_s += KEPT_S + 1
    assert [] == sink.read()
    sink.close()


def test_no_id_of_a_person_is_stored(finished: Place) -> None:
    """No id of a ride, person or event is in any entry, blob, checkpoint or reject of a home, though the rides have many."""
    assert [] == [payload for payload in payloads_at(finished) if IDS.search(payload)]
    kept = [path for path in finished.home.rglob("*") if path.is_file()]
    assert {"rejects.sqlite", "region__small.sqlite", "runs.sqlite"} <= {path.name for path in kept}
    assert any(path.parts[-3] == "snapshot" for path in kept)
    assert [] == [path for path in kept if IDS.search(path.read_bytes())]
    assert all(IDS.search(entry.value) for log in finished.world.logs for entry in log if entry.event.reason is None)
    sink = open_rejects(finished.settings())
    assert sum(bool(IDS.search(reject.value)) for reject in sink.read()) > 10
    sink.close()


def test_the_command_opens_what_it_can(finished: Place, tmp_path: Path) -> None:
    """`ridecast rejects show` shows the bytes; without the key it shows offset and reason, names what is missing, and fails."""
    place = copied(finished, tmp_path / "home")
    words = ["rejects", "show", "--home", str(place.home), "--hex", "--limit", "500"]
    opened = CliRunner().invoke(cli, words)
    expected = {(p, o): e.value for p, log in enumerate(place.world.logs) for o, e in enumerate(log) if e.event.reason is not None}
    rows = [line.split("\t") for line in opened.output.splitlines()]
    assert expected == {(int(row[0]), int(row[1])): bytes.fromhex(row[3]) for row in rows}
    (place.home / "keys" / "rejects.key").unlink()
    table = CliRunner().invoke(cli, words[:4])
    assert isinstance(table.exception, NotFound)
    assert "is missing: they cannot be read without it" in str(table.exception)
    assert "encrypted" in table.output
    assert f"{len(expected)} rejected in total" in table.output
    assert isinstance(CliRunner().invoke(cli, words).exception, NotFound)
