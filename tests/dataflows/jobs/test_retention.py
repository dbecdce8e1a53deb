"""Expiry: recorded first, then removed, and reported as expired from then on; counts and models stay."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from dataflows.audit.verification import VerifyOptions, verify_stores
from dataflows.jobs.exports.tables import export_parquet
from dataflows.jobs.retention import ORPHAN_AFTER_S, Expiry, expire, plan_expiry
from dataflows.stream.stores import Stores
from ledger.store.blobs import Retention
from ledger.views.issues import expired_until
from ridecast.main import cli
from schemas.errors import BootRefused, StoreUnavailable
from schemas.forecasts.chunks import unpack_blob
from schemas.records.record_codec import decode
from schemas.records.records import RUNS_LOG, BlobsExpired, ForecastIssued, SlotClosed, SnapshotTaken
from tests.simulation.homes import Learned
from tests.simulation.runs import LOG, Place, copied, payloads, run_here

DAY_SLOTS = 288
NOW_S = 4e9  # in the year 2096, so that everything in the store is old


@pytest.fixture(scope="module")
def finished(learned: Learned, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A home whose run is over, with a model in force, counts in blobs and several snapshots."""
    place = copied(learned.place, tmp_path_factory.mktemp("finished") / "home")
    run_here(place, snapshot_every_s=0.0)
    return place


@pytest.fixture
def stores(finished: Place, tmp_path: Path) -> Iterator[Stores]:
    """A copy of that home to expire blobs from."""
    opened = copied(finished, tmp_path / "home").open()
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def shorter_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day of ten slots, as the small world runs for a few hours only."""
    monkeypatch.setattr("dataflows.jobs.retention.DAY_MIN", 50)


def chunks(stores: Stores) -> dict[int, bytes]:
    """Digest of the chunks that each slot's issue names."""
    return {
        record.slot: record.blob for record in map(decode, payloads(stores.ledger)) if isinstance(record, ForecastIssued) and record.blob
    }


def verified(stores: Stores) -> dict[str, tuple[int, tuple[object, ...]]]:
    """(expired, problems) of every log."""
    stores.ledger.flush()
    return {
        report.log: (report.expired, report.problems)
        for report in verify_stores(stores, VerifyOptions(), lambda log: lambda done, total: None)
    }


def records(stores: Stores) -> list[BlobsExpired]:
    """The records of expiry."""
    return list(stores.ledger.records(RUNS_LOG, BlobsExpired))


def test_old_chunks_are_removed_and_reported_as_expired(stores: Stores) -> None:
    """Chunks of slots before the last N days are removed, later ones stay, and verify counts them as expired, not broken."""
    named = chunks(stores)
    last = max(stored.record.slot for stored in stores.ledger.scan(LOG, kind=SlotClosed))
    until = last + 1 - 30
    assert min(named) < until < max(named)
    expire(stores, plan_expiry(stores, 3, NOW_S))
    assert {slot: slot >= until for slot in named} == {slot: stores.blobs.has(digest) for slot, digest in named.items()}
    gone = {digest for slot, digest in named.items() if slot < until}
    [record] = [one for one in records(stores) if one.retention == "forecast"]
    assert ("small", 0, until, len(gone)) == (record.region, record.from_slot, record.until_slot, record.count)
    assert hashlib.sha256(b"".join(sorted(gone))).digest() == record.digests
    assert until == expired_until(stores.ledger, "small")
    found = verified(stores)
    assert (len([slot for slot in named if slot < until]), ()) == found[LOG]
    assert {()} == {problems for _, problems in found.values()}


def test_other_missing_blobs_are_still_damage(stores: Stores) -> None:
    """A chunk of a slot that has not expired, or a count or model that never does, is reported by its entry."""
    expire(stores, plan_expiry(stores, 3, NOW_S))
    named = chunks(stores)
    stores.blobs.remove(named[max(named)])
    [problem] = verified(stores)[LOG][1]
    assert f"its chunks, blob {named[max(named)].hex()}, is missing" in str(problem)


def test_counts_and_models_outlive_the_forecasts(stores: Stores) -> None:
    """After every forecast has expired, all counts and models are still there."""
    kept = {retention: set(stores.blobs.digests(retention)) for retention in (Retention.PERMANENT, Retention.MODEL)}
    assert all(kept.values())
    last = max(chunks(stores))
    stores.blobs.put(b"another model", Retention.MODEL)
    plan = plan_expiry(stores, -1, 0.0)  # A day ahead of the last slot.
    expire(stores, plan)
    assert last < expired_until(stores.ledger, "small")
    assert set() == set(stores.blobs.digests(Retention.FORECAST))
    assert all(digests <= set(stores.blobs.digests(retention)) for retention, digests in kept.items())
    assert {()} == {problems for _, problems in verified(stores).values()}


def test_only_the_newest_snapshot_stays(stores: Stores, finished: Place) -> None:
    """A region keeps its newest snapshot, the only one that a resume needs."""
    taken = [stored.record.blob for stored in stores.ledger.scan(RUNS_LOG, kind=SnapshotTaken)]
    assert len(set(taken)) > 2
    expire(stores, plan_expiry(stores, 1_000, NOW_S))
    assert {taken[-1]} == set(stores.blobs.digests(Retention.SNAPSHOT))
    [record] = records(stores)
    assert ("small", "snapshot", len(set(taken)) - 1) == (record.region, record.retention, record.count)


def test_an_orphan_is_removed_after_a_day(stores: Stores) -> None:
    """A blob of any class that no entry names is removed a day after it was last stored, not a second earlier."""
    digest = stores.blobs.put(b"never named", Retention.PERMANENT)
    stored_s = stores.blobs.stored_at_s(digest)
    expire(stores, plan_expiry(stores, 1_000, stored_s + ORPHAN_AFTER_S))
    assert stores.blobs.has(digest)
    expire(stores, plan_expiry(stores, 1_000, stored_s + ORPHAN_AFTER_S + 1))
    assert not stores.blobs.has(digest)
    last = records(stores)[-1]
    assert ("", "orphan", 0, 0, 1, hashlib.sha256(digest).digest()) == (
        last.region,
        last.retention,
        last.from_slot,
        last.until_slot,
        last.count,
        last.digests,
    )


def test_storing_an_orphan_again_resets_its_age(stores: Stores, tmp_path: Path) -> None:
    """A writer that stores the same bytes again, as after a crash, has another day to name them."""
    digest = stores.blobs.put(b"to be named", Retention.FORECAST)
    [path] = (tmp_path / "home" / "blobs").rglob(digest.hex())
    os.utime(path, (0, 0))
    assert 0 == stores.blobs.stored_at_s(digest)
    stores.blobs.put(b"to be named", Retention.FORECAST)
    assert 1e9 < stores.blobs.stored_at_s(digest)


def test_a_second_run_finds_nothing(stores: Stores) -> None:
    """An expiry is not recorded twice."""
    expire(stores, plan_expiry(stores, 3, NOW_S))
    before = records(stores)
    assert [] == plan_expiry(stores, 3, NOW_S)
    assert before == records(stores)


def test_an_interrupted_run_is_finished_by_the_next(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a run is killed between the record and the last removal, the next run removes the rest without a second record."""
    removed = stores.blobs.remove
    left = iter(range(5))

    def dying(digest: bytes) -> None:
        if next(left, None) is None:
            raise StoreUnavailable("the disk is gone")
        removed(digest)

    monkeypatch.setattr(stores.blobs, "remove", dying)
    plan = plan_expiry(stores, 3, NOW_S)
    with pytest.raises(StoreUnavailable):
        expire(stores, plan)
    monkeypatch.undo()
    monkeypatch.setattr("dataflows.jobs.retention.DAY_MIN", 50)
    assert {()} == {problems for _, problems in verified(stores).values()}
    again = plan_expiry(stores, 3, NOW_S)
    assert sum(len(found.digests) for found in plan) - 5 == sum(len(found.digests) for found in again)
    expire(stores, again)
    assert [] == plan_expiry(stores, 3, NOW_S)
    assert 1 == len([one for one in records(stores) if one.retention == "forecast"])


def test_chunks_that_a_refold_stored_again_are_removed_again(stores: Stores, finished: Place, tmp_path: Path) -> None:
    """A resume from the start stores the chunks of old slots again; the next expiry removes them without another record."""
    expire(stores, plan_expiry(stores, 3, NOW_S))
    before = records(stores)
    stores.close()
    shutil.rmtree(tmp_path / "home" / "blobs" / "snapshot")
    place = Place(
        finished.world,
        finished.region,
        finished.rides,
        tmp_path / "home",
        dict(finished.environment) | {"RIDECAST_HOME": str(tmp_path / "home")},
    )
    run_here(place)
    opened = place.open()
    until = expired_until(opened.ledger, "small")
    old = [digest for slot, digest in chunks(opened).items() if slot < until]
    assert all(map(opened.blobs.has, old))
    plan: list[Expiry] = [found for found in plan_expiry(opened, 3, NOW_S) if found.record.retention == "forecast"]
    assert [True] == [found.recorded for found in plan]
    expire(opened, plan)
    assert not any(map(opened.blobs.has, old))
    assert before == records(opened)[: len(before)]
    opened.close()


def test_nothing_expires_while_a_log_is_incomplete(stores: Stores, finished: Place, tmp_path: Path) -> None:
    """Without a log's database its blobs look like orphans: its checkpoint prevents their removal."""
    stores.close()
    (tmp_path / "home" / "ledger" / "region__small.sqlite").unlink()
    for path in (tmp_path / "home" / "ledger").glob("region__small.sqlite-*"):
        path.unlink()
    place = Place(
        finished.world,
        finished.region,
        finished.rides,
        tmp_path / "home",
        dict(finished.environment) | {"RIDECAST_HOME": str(tmp_path / "home")},
    )
    opened = place.open()
    with pytest.raises(BootRefused, match="the checkpoint is ahead of the database"):
        plan_expiry(opened, 3, NOW_S)
    opened.close()


def test_the_command_prints_what_expires(stores: Stores, tmp_path: Path) -> None:
    """A dry run changes nothing; a real run removes the same blobs."""
    stores.close()
    words = ["ledger", "expire", "--home", str(tmp_path / "home"), "--forecasts-days", "3"]
    before = sorted(path.name for path in (tmp_path / "home" / "blobs").rglob("*"))
    dry = CliRunner().invoke(cli, [*words, "--dry-run"])
    assert (0, before) == (dry.exit_code, sorted(path.name for path in (tmp_path / "home" / "blobs").rglob("*"))), dry.output
    done = CliRunner().invoke(cli, words)
    assert dry.output.replace("would be removed", "removed").splitlines()[-1] == done.output.splitlines()[-1]
    assert "0 blobs would be removed" in CliRunner().invoke(cli, [*words, "--dry-run"]).output


def test_tables_leave_out_what_expired(stores: Stores, tmp_path: Path) -> None:
    """Flat tables have the remaining forecasts only."""
    named = chunks(stores)
    whole = export_parquet(stores.ledger, stores.blobs, ["small"], tmp_path / "whole")
    expire(stores, plan_expiry(stores, 3, NOW_S))
    rest = export_parquet(stores.ledger, stores.blobs, ["small"], tmp_path / "rest")
    until = expired_until(stores.ledger, "small")
    columns = sum(len(unpack_blob(stores.blobs.get(digest)).chunks) for slot, digest in named.items() if slot >= until)
    assert 0 < columns < rest["forecasts"] < whole["forecasts"]
    assert whole["counts"] == rest["counts"]
