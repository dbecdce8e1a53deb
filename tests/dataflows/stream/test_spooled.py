"""The publisher appends the spool of its home, and publishes on when it cannot."""

import logging
from pathlib import Path

import pytest

from dataflows.stream.publish_process import run_publisher
from dataflows.stream.spooled import RETRY_S, SpoolDuty
from dataflows.stream.stopping import StopEvent
from dataflows.stream.stores import open_stores
from ledger.store.spool import FOLDER, Spool, segment_paths
from ledger.store.spool_append import SEGMENTS_PER_STEP
from schemas.configuration.settings import Settings
from schemas.records.record_codec import encode
from schemas.records.records import ACCESS_LOG, AccessesCounted


def settings_of(home: Path) -> Settings:
    """Settings of an embedded home."""
    return Settings.from_env({"RIDECAST_HOME": str(home)})


def spool_times(home: Path, times: range) -> None:
    """Spool records that their times tell apart."""
    spool = Spool(home / FOLDER, b"writer of a test")
    for until_us in times:
        spool.put([encode(AccessesCounted(from_us=0, until_us=until_us, dropped=0, counts=()))])


def found_times(home: Path) -> list[int]:
    """What the ledger holds of them."""
    stores = open_stores(settings_of(home), reading=True)
    found = [record.until_us for record in stores.ledger.records(ACCESS_LOG, AccessesCounted)]
    stores.close()
    return found


def test_a_drain_appends_the_whole_spool(tmp_path: Path) -> None:
    """At the end of a bounded run what was spooled is in the ledger, in order, with a checkpoint."""
    spool_times(tmp_path, range(SEGMENTS_PER_STEP + 1))
    run_publisher(settings_of(tmp_path), [], StopEvent(), drain=True)
    assert list(range(SEGMENTS_PER_STEP + 1)) == found_times(tmp_path)
    assert [] == segment_paths(tmp_path / FOLDER)
    assert (tmp_path / "checkpoints" / "access.txt").exists()


def test_a_home_without_a_spool_stays_as_it_was(tmp_path: Path) -> None:
    """Where nothing was spooled the publisher makes no folder and no log."""
    run_publisher(settings_of(tmp_path), [], StopEvent(), drain=True)
    assert not (tmp_path / FOLDER).exists()
    stores = open_stores(settings_of(tmp_path), reading=True)
    assert () == stores.ledger.logs()
    stores.close()


def test_without_the_key_segments_stay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the key is gone nothing is appended, which is logged once in a while; when it is back all is appended."""
    run_publisher(settings_of(tmp_path), [], StopEvent(), drain=True)
    key = tmp_path / "keys" / "checkpoint.key"
    hidden = key.rename(tmp_path / "hidden")
    spool_times(tmp_path, range(2))
    stores, now = open_stores(settings_of(tmp_path)), [0.0]
    duty = SpoolDuty(stores, lambda: now[0])
    with caplog.at_level(logging.ERROR):
        assert [0, 0] == [duty.step(), duty.step()]
        now[0] = RETRY_S
        assert 0 == duty.step()
    assert 2 == len(caplog.records)
    assert all("private key" in record.getMessage() for record in caplog.records)
    duty.close()
    stores.close()
    assert 2 == len(segment_paths(tmp_path / FOLDER))
    hidden.rename(key)
    run_publisher(settings_of(tmp_path), [], StopEvent(), drain=True)
    assert [0, 1] == found_times(tmp_path)


def test_two_publishers_do_not_append_both(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A second process that finds the spool taken says so and appends nothing."""
    stores = open_stores(settings_of(tmp_path))
    first, second = SpoolDuty(stores, lambda: 0.0), SpoolDuty(stores, lambda: 0.0)
    spool_times(tmp_path, range(1))
    assert 1 == first.step()
    spool_times(tmp_path, range(1, 2))
    with caplog.at_level(logging.ERROR):
        assert 0 == second.step()
    assert "is already appending it" in caplog.text
    assert 1 == first.step()
    first.close()
    second.close()
    stores.close()
    assert [0, 1] == found_times(tmp_path)
