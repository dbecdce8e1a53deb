"""Verification of a whole home and its tiles: missing logs, kept checkpoints, and growth during the check."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from dataflows.audit import verification
from dataflows.audit.blob_pool import BlobPool
from dataflows.audit.verification import VerifyOptions, verify_folder, verify_stores
from dataflows.stream.stores import open_stores
from ledger.check.blob_check import COUNTS, NamedBlob
from ledger.check.tile_check import TileReport, check_export
from ledger.check.verify import Report
from ledger.formats.checkpoint import Checkpoint
from ledger.formats.keys import Signer
from ledger.store.blobs import BlobFolder
from schemas.errors import BootRefused, NotFound, StoreUnavailable, UsageError
from schemas.records.records import CONTROL_LOG, RUNS_LOG, BlobsExpired, RunStopped
from tests.faults.small_ledger import FIRST_SLOT, LOG, SmallLedger, append, make_small_ledger, silent

STRANGER = Signer("ridecast/local", bytes(32)).verifier


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> SmallLedger:
    """A small ledger with its tiles and a kept checkpoint; copy it before changing it."""
    made = make_small_ledger(tmp_path_factory.mktemp("small"))
    made.export()
    return made


@pytest.fixture
def small(pristine: SmallLedger, tmp_path: Path) -> SmallLedger:
    """A copy to change."""
    return pristine.copy(tmp_path)


def reports(small: SmallLedger, **wanted: object) -> dict[str, Report]:
    """The reports on a home, by log."""
    stores = open_stores(small.settings(), reading=True)
    try:
        return {report.log: report for report in verify_stores(stores, VerifyOptions(**wanted), silent)}  # type: ignore[arg-type]  # by name
    finally:
        stores.close()


def test_a_home_is_clean_as_it_was_made(pristine: SmallLedger) -> None:
    """Every log is checked, with its blobs, and agrees with a kept checkpoint."""
    found = reports(pristine)
    assert {CONTROL_LOG: (1, 1), LOG: (12, 6), RUNS_LOG: (1, 0)} == {log: (report.entries, report.blobs) for log, report in found.items()}
    assert [] == pristine.verified(pristine.kept) + pristine.tiles_verified(pristine.kept)


def test_a_missing_log_is_reported(small: SmallLedger) -> None:
    """A log that has a checkpoint but no database, or no row there, is reported."""
    for path in (small.home / "ledger").glob("control*"):
        path.unlink()
    assert ["control: checkpoint: it covers 1 entries, the database has no control: the log is missing"] == small.verified()
    (small.home / "checkpoints" / "control.txt").unlink()
    assert [] == small.verified()
    with pytest.raises(UsageError, match="--log: expected one of region/nyc, runs, got 'control'"):
        reports(small, log="control")


def test_growth_after_a_kept_checkpoint_is_no_damage(small: SmallLedger) -> None:
    """A log that grew by honest appends still agrees with a kept checkpoint, and so do tiles exported again."""
    small.append(range(FIRST_SLOT + 4, FIRST_SLOT + 9))
    assert [] == small.verified(small.kept)
    kept = small.kept.read_text("utf-8")
    small.export()
    small.kept.write_text(kept, "utf-8")
    assert [] == small.tiles_verified(small.kept)


def test_an_export_that_grows_during_the_check_is_checked_again(small: SmallLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """If tiles are replaced during the check, it runs again before it reports a problem."""
    calls = []

    def late(*arguments: Any) -> tuple[Checkpoint, TileReport]:
        calls.append(arguments)
        if len(calls) == 1:
            small.append(range(FIRST_SLOT + 4, FIRST_SLOT + 5))
            (small.tiles / LOG / "tile/entries/000.p/12").unlink()
            found = check_export(*arguments)
            assert found[1].problems
            small.export()
            return found
        return check_export(*arguments)

    monkeypatch.setattr(verification, "check_export", late)
    [report] = verify_folder(small.tiles, VerifyOptions(LOG, (), (small.key(),)), silent)
    assert (15, (), 2) == (report.entries, report.problems, len(calls))


def test_what_expired_is_no_damage(small: SmallLedger) -> None:
    """Chunks with a recorded expiry count as expired; other missing ones are named."""
    for path in (small.home / "blobs" / "forecast").rglob("*"):
        if path.is_file():
            path.unlink()
    stores = open_stores(small.settings())
    append(
        stores,
        RUNS_LOG,
        BlobsExpired(region="nyc", retention="forecast", from_slot=FIRST_SLOT, until_slot=FIRST_SLOT + 3, count=3, digests=b""),
    )
    stores.close()
    report = reports(small, log=LOG)[LOG]
    assert (3, [11]) == (report.expired, [problem.index for problem in report.problems])


def test_an_unsigned_expiry_excuses_nothing(small: SmallLedger) -> None:
    """A forged database could record expiries; only records covered by a checkpoint count."""
    for path in (small.home / "blobs" / "forecast").glob("??/*"):
        path.unlink()
    signed = small.home / "checkpoints" / "runs.txt"
    before = signed.read_bytes()
    stores = open_stores(small.settings())
    append(
        stores,
        RUNS_LOG,
        BlobsExpired(region="nyc", retention="forecast", from_slot=FIRST_SLOT, until_slot=FIRST_SLOT + 4, count=4, digests=b""),
    )
    stores.close()
    assert 0 == len(reports(small, log=LOG)[LOG].problems)
    signed.write_bytes(before)
    report = reports(small, log=LOG)[LOG]
    assert (0, 4) == (report.expired, len(report.problems))


def test_counts_never_expire(small: SmallLedger) -> None:
    """A record of their expiry excuses no missing counts."""
    for path in (small.home / "blobs" / "permanent").glob("??/*"):
        path.unlink()
    stores = open_stores(small.settings())
    append(
        stores,
        RUNS_LOG,
        BlobsExpired(region="nyc", retention="permanent", from_slot=FIRST_SLOT, until_slot=FIRST_SLOT + 4, count=2, digests=b""),
    )
    stores.close()
    report = reports(small, log=LOG)[LOG]
    assert (0, 2) == (report.expired, len(report.problems))


def test_a_log_with_only_a_kept_checkpoint_left_is_reported(small: SmallLedger) -> None:
    """A log without database and checkpoint file is damage if a kept checkpoint is given; in an export too."""
    for path in [*(small.home / "ledger").glob("region__nyc*"), small.home / "checkpoints" / "region__nyc.txt"]:
        path.unlink()
    gone = f"{LOG}: kept.txt: it covers 12 entries, the database has no region nyc: the log is missing"
    assert [gone] == small.verified(small.kept)
    shutil.rmtree(small.tiles / LOG)
    assert [gone.replace("database", "export")] == small.tiles_verified(small.kept)


def test_a_ledger_behind_its_witness_is_damaged(small: SmallLedger) -> None:
    """A home rolled back with its checkpoint contradicts the newer copy that a witness cosigned."""
    older = small.copy(small.folder / "older")
    small.append(range(FIRST_SLOT + 4, FIRST_SLOT + 6))
    cosigned = older.home / "checkpoints" / "region__nyc.cosigned.txt"
    cosigned.write_bytes((small.home / "checkpoints" / "region__nyc.txt").read_bytes())
    said = f"{LOG}: region__nyc.cosigned.txt: it covers 18 entries, the database has 12: rolled back or truncated"
    assert [said] == older.verified()
    stores = open_stores(older.settings())
    try:
        with pytest.raises(BootRefused, match=r"region__nyc\.cosigned\.txt has size 18, the database 12"):
            append(stores, LOG, RunStopped(run="", stopped_at_us=0, sizes={}))
    finally:
        stores.close()


def test_an_export_may_be_one_log(small: SmallLedger) -> None:
    """The folder of one log is verified under its name, and a folder without a log is not an export."""
    [report] = verify_folder(small.tiles / LOG, VerifyOptions("", (small.kept,), (small.key(),)), silent)
    assert (LOG, 12, 6, ()) == (report.log, report.entries, report.blobs, report.problems)
    with pytest.raises(NotFound, match="--tiles: expected an export below"):
        verify_folder(small.home, VerifyOptions(), silent)


def test_a_swapped_export_is_named(small: SmallLedger) -> None:
    """An export in another log's folder is reported, and one signed by another key has no valid checkpoint."""
    (small.tiles / "runs").rename(small.tiles / "control2")
    (small.tiles / "control").rename(small.tiles / "runs")
    assert "runs: checkpoint: expected the checkpoint of runs, got one of ridecast/local/control" in small.tiles_verified()
    assert all("expected a signature of a known key" in line for line in small.tiles_verified(verifier=STRANGER))


def test_checkpoints_of_another_key_are_not_trusted(small: SmallLedger) -> None:
    """With another key, no checkpoint of the home is trusted."""
    assert 3 == sum("expected a good signature of" in line for line in small.verified(verifier=STRANGER))


@pytest.mark.parametrize("text", ["", "no checkpoint", "ridecast/local/region/tehran\n1\nAAAA\n\n— a AAAAAAAA\n"])
def test_an_unusable_kept_checkpoint_is_a_usage_error(small: SmallLedger, text: str) -> None:
    """A file that is not a checkpoint, or of an unknown log, is refused before anything is checked."""
    small.kept.write_text(text, "utf-8")
    with pytest.raises(UsageError, match=r"(--against .*)?kept.txt: expected a (signed )?checkpoint"):
        small.verified(small.kept)
    small.kept.unlink()
    with pytest.raises(UsageError, match="No such file"):
        small.verified(small.kept)


def test_a_pool_of_processes_reports_what_one_reports(small: SmallLedger) -> None:
    """Blobs are checked the same in this process and in others, and a process that dies is reported."""
    folder = small.tiles / LOG / "blobs"
    good = next(path for path in folder.iterdir() if path.stat().st_size == 40)
    batch = [NamedBlob(1, COUNTS, bytes.fromhex(good.name)), NamedBlob(2, COUNTS, bytes(32))]
    with BlobPool(_Folder(folder), 1) as here, BlobPool(_Folder(folder), 3, batches_here=1) as pool:
        expected = here.check(batch)()
        assert [(2, True)] == [(fault.named.index, fault.missing) for fault in expected]
        assert [expected] * 40 == [answer() for answer in [pool.check(batch) for _ in range(40)]]
        while not pool._has_room():  # The processes need some time to start.
            time.sleep(0.01)
        assert [expected] * 40 == [answer() for answer in [pool.check(batch) for _ in range(40)]]


def test_a_process_that_dies_is_reported(small: SmallLedger) -> None:
    """Blobs of a process that died are not skipped."""
    with BlobPool(_Folder(small.tiles, deadly=True), 2, batches_here=0) as pool:
        while not pool._has_room():
            time.sleep(0.01)
        with pytest.raises(StoreUnavailable, match="was killed"):
            pool.check([NamedBlob(1, COUNTS, bytes(32))])()


class _Folder:
    """Opens the blobs of a folder; in another process, reading them may kill it."""

    def __init__(self, folder: Path, deadly: bool = False) -> None:
        self.folder, self.deadly = folder, deadly

    def __call__(self) -> BlobFolder:
        return (_Deadly if self.deadly else BlobFolder)(self.folder)


class _Deadly(BlobFolder):
    def get(self, digest: bytes) -> bytes:
        os._exit(1)  # as if it were killed
