"""Archived entries and blobs: read and verified from the archive, and never lost, on SQLite and PostgreSQL."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from dataflows.audit.verification import VerifyOptions, verify_stores
from dataflows.jobs.archiving import ARCHIVED, archive_region
from dataflows.stream.signing import verifier_of
from dataflows.stream.stores import Stores, open_stores
from ledger.store.blobs import Retention
from ledger.store.log import Ledger
from ledger.store.recording import Recorder
from ridecast.main import cli
from schemas.configuration.settings import Settings
from schemas.errors import StoreUnavailable, UsageError
from schemas.records.record_codec import encode
from schemas.records.records import RUNS_LOG, EntriesArchived, ForecastIssued, RegionBootstrapped, SlotClosed, SlotScored
from tests.simulation.world import make_region

LOG = "region/small"
REGION = make_region()
START = 5_706_132  # midnight of 2024-03-31 in Berlin, as slots
SLOTS, UNTIL = 600, "2024-04-01"
PADDING = "x" * 900


@pytest.fixture(params=["sqlite", "postgres"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    """A region of two days, with chunks and counts in blobs, in a home with an archive."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    environment = {"RIDECAST_HOME": str(tmp_path / "home"), "RIDECAST_ARCHIVE": str(tmp_path / "archive"), "RIDECAST_DATABASE": url}
    opened = open_stores(Settings.from_env(environment))
    recorder = Recorder(opened.ledger, LOG)
    size = recorder.append(
        0,
        [
            encode(
                RegionBootstrapped(
                    region="small",
                    definition=REGION.to_json(),
                    until="2024-03-31",
                    first_slot=START,
                    start_slot=START,
                    rides=0,
                    counts_blob=b"",
                )
            )
        ],
    ).size
    for slot in range(START, START + SLOTS):
        size = recorder.append(size, [encode(record) for record in close(opened, slot)]).size
    yield opened
    opened.close()


def close(stores: Stores, slot: int) -> list[SlotClosed | ForecastIssued | SlotScored]:
    """The records of a slot; the entries are as large as real ones, their blobs small."""
    from ledger.formats.merkle import leaf_hash, root
    from schemas.forecasts.chunks import pack_blob
    from schemas.records.records import SlotCounts

    counts = stores.blobs.put(encode(SlotCounts(counts=(), corrections=())), Retention.PERMANENT) if slot == START else b""
    chunk = b"chunk of %d" % slot
    chunks = stores.blobs.put(pack_blob([chunk]), Retention.FORECAST) if slot % 50 == 0 else b""
    issued = ForecastIssued(
        region="small",
        measure="requests",
        slot=slot,
        target_us=0,
        horizons_min=(15,),
        models=(),
        features_digest=b"",
        family=PADDING,
        spread=(),
        cells=1,
        chunks=1,
        root=root([leaf_hash(chunk)]),
        blob=chunks,
        fallbacks={},
        universe_version=1,
        slot_status="observed",
    )
    return [
        SlotClosed(
            region="small",
            slot=slot,
            status="observed",
            partitions=(),
            counts=(),
            corrections=(),
            counts_blob=counts,
            control_size=0,
            control_root=b"",
        ),
        issued,
        SlotScored(region="small", measure="requests", slot=slot, settled=False, rows=()),
    ]


def archived(stores: Stores) -> EntriesArchived | None:
    """Archive the first day."""
    settings = stores.settings
    return archive_region(stores, "small", Path(settings.archive), UNTIL, [verifier_of(settings)])


def contents(ledger: Ledger) -> list[tuple[int, str, int | None, bytes]]:
    """Every entry of the region."""
    return [(stored.index, stored.kind, stored.slot, stored.payload) for stored in ledger.scan(LOG)]


def emptied(stores: Stores) -> int:
    """Number of payloads that the database has dropped."""
    engine, log_id = stores.ledger.opened(LOG)
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT count(*) FROM entries WHERE log_id = :id AND length(payload) = 0"), {"id": log_id})
        return int(found.scalar_one())


def size_bytes(stores: Stores) -> int:
    """Size of the region's entries on disk."""
    engine, _ = stores.ledger.opened(LOG)
    if engine.dialect.name == "sqlite":
        return sum(path.stat().st_size for path in (stores.settings.home / "ledger").glob("region__small.sqlite*"))
    with engine.connect() as connection:
        return int(connection.execute(sa.text("SELECT pg_total_relation_size('entries')")).scalar_one())


def problems(stores: Stores) -> list[str]:
    """The problems that a verification finds, over all logs."""
    stores.ledger.flush()
    reports = verify_stores(stores, VerifyOptions(), lambda log: lambda done, total: None)
    return [str(one) for report in reports for one in report.problems]


def test_everything_reads_as_before_and_the_database_shrinks(stores: Stores) -> None:
    """Entries, blobs, heads and proofs are the same, verify is clean, and most of the archived bytes are removed from the database."""
    before, head, size = contents(stores.ledger), stores.ledger.head(LOG), size_bytes(stores)
    blobs = {digest: stores.blobs.get(digest) for digest in stores.blobs.digests()}
    record = archived(stores)
    assert record is not None
    first = next(
        index for index, kind, slot, _ in before if kind == "SlotClosed" and slot == START + 276
    )  # 23 hours: daylight saving time starts
    assert (0, first // 256 * 256) == (record.start, record.stop)
    assert (before, head) == (contents(stores.ledger), stores.ledger.head(LOG))
    assert stores.ledger.root_at(LOG, record.stop) == record.root
    assert emptied(stores) == sum(index < record.stop and kind in ARCHIVED for index, kind, _, _ in before)
    assert size_bytes(stores) < 0.75 * size
    gone = blobs.keys() - set(stores.blobs.digests())
    assert len(gone) == record.blobs == 6  # Five issues with chunks, and the first slot's counts.
    assert {digest: stores.blobs.get(digest) for digest in blobs} == blobs
    assert all(map(stores.blobs.has, blobs))
    assert [] == problems(stores)


def test_a_log_grows_and_is_archived_again(stores: Stores) -> None:
    """Appends, reruns and checkpoints continue after archived entries; a second run starts where the first ended."""
    first = archived(stores)
    assert first is not None
    size = stores.ledger.head(LOG).size
    recorder = Recorder(stores.ledger, LOG)
    head = recorder.append(size, [encode(record) for record in close(stores, START + SLOTS)])
    assert head == recorder.append(size, [encode(record) for record in close(stores, START + SLOTS)])
    assert first == archived(stores)
    second = archive_region(stores, "small", Path(stores.settings.archive), "2024-04-02", [verifier_of(stores.settings)])
    assert second is not None
    assert first.stop == second.start < second.stop
    assert [first, second] == list(stores.ledger.records(RUNS_LOG, EntriesArchived))
    assert [] == problems(stores)


def test_a_missing_archive_is_reported(stores: Stores, tmp_path: Path) -> None:
    """Reading an archived entry without the archive names what to mount; the records of every start are still readable."""
    assert archived(stores) is not None
    (tmp_path / "archive").rename(tmp_path / "unmounted")
    with pytest.raises(StoreUnavailable, match=r"entry \d+ is in the archive, but .*archive has no archive of this log: mount it"):
        problems(stores)
    assert stores.ledger.entry(LOG, RegionBootstrapped) is not None
    last = stores.ledger.entry(LOG, SlotClosed)
    assert last is not None
    assert START + SLOTS - 1 == last.slot
    stores.ledger.archive = None
    with pytest.raises(StoreUnavailable, match="no archive is configured: mount it, and set RIDECAST_ARCHIVE"):
        list(stores.ledger.scan(LOG))


def test_a_damaged_archive_is_found(stores: Stores, tmp_path: Path) -> None:
    """Verify reports a changed byte, a lost bundle and a lost blob in the archive with their entries."""
    record = archived(stores)
    assert record is not None
    bundles = sorted((tmp_path / "archive" / LOG / "tile" / "entries").glob("00?"))
    data = bytearray(bundles[0].read_bytes())
    data[-20] ^= 1
    bundles[0].write_bytes(data)
    bundles[1].unlink()
    [blob] = [
        path for path in (tmp_path / "archive" / LOG / "blobs").iterdir() if path.name not in {d.hex() for d in stores.blobs.digests()}
    ][:1]
    blob.unlink()
    said = problems(stores)
    assert any(line.startswith("entry 255: the bytes hash to") for line in said), said[:5]
    assert sum("is missing from the archive" in line for line in said) == sum(
        stored in ARCHIVED for stored in [kind for index, kind in kinds_of(stores) if 256 <= index < 512]
    )
    assert any(blob.name in line and "is missing" in line for line in said) or any("is missing from the archive" in line for line in said)


def kinds_of(stores: Stores) -> list[tuple[int, str]]:
    """(index, kind) of every row, without its payload."""
    engine, log_id = stores.ledger.opened(LOG)
    with engine.connect() as connection:
        rows = connection.execute(sa.text('SELECT "index", kind FROM entries WHERE log_id = :id'), {"id": log_id})
        return [(row[0], row[1]) for row in rows]


@pytest.mark.parametrize("dies_in", ["export_tiles", "export_blobs", "_read_back", "append_shared"])
def test_a_crash_before_the_record_loses_nothing(stores: Stores, dies_in: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the archive is read back and recorded, the database keeps everything; the next run finishes."""
    before = contents(stores.ledger)

    def dying(*_: object) -> None:
        raise StoreUnavailable("the disk is gone")

    monkeypatch.setattr(f"dataflows.jobs.archiving.{dies_in}", dying)
    with pytest.raises(StoreUnavailable, match="the disk is gone"):
        archived(stores)
    assert 0 == emptied(stores)
    monkeypatch.undo()
    assert archived(stores) is not None
    assert before == contents(stores.ledger)
    assert [] == problems(stores)


@pytest.mark.parametrize("dies_in", ["drop_payloads", "shrink"])
def test_a_crash_after_the_record_is_repaired(stores: Stores, dies_in: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a run is killed while it deletes, everything is still readable, and the next run finishes it, with one record."""
    before = contents(stores.ledger)

    def dying(*_: object) -> None:
        raise StoreUnavailable("killed")

    with monkeypatch.context() as patch:
        patch.setattr(stores.ledger, dies_in, dying)
        with pytest.raises(StoreUnavailable, match="killed"):
            archived(stores)
    assert before == contents(stores.ledger)
    assert archived(stores) is not None
    assert emptied(stores) > 0
    assert before == contents(stores.ledger)
    assert 1 == len(list(stores.ledger.scan(RUNS_LOG, kind=EntriesArchived)))


def test_the_command_requires_the_setting(stores: Stores, tmp_path: Path) -> None:
    """Without the setting that tells other processes the archive, the command fails; with it, it prints what it moved."""
    stores.ledger.flush()
    environment = {"RIDECAST_HOME": str(tmp_path / "home"), "RIDECAST_DATABASE": stores.settings.database}
    words = ["ledger", "archive", "--to", str(tmp_path / "archive"), "--until", UNTIL]
    refused = CliRunner().invoke(cli, words, env=environment)
    assert isinstance(refused.exception, UsageError)
    assert "expected the folder in RIDECAST_ARCHIVE" in str(refused.exception)
    done = CliRunner().invoke(cli, words, env=environment | {"RIDECAST_ARCHIVE": str(tmp_path / "archive")})
    assert "region small: entries below 768 are now in" in done.output, (done.output, done.exception)
    shutil.rmtree(tmp_path / "archive")
    with pytest.raises(StoreUnavailable):
        contents(stores.ledger)
