"""Homes and ride logs belong to the user who runs Ridecast; exports are readable as that user's mask says."""

import logging
import os
import stat
from pathlib import Path

import pytest

from dataflows.connectors.files.ridelog import RideLogWriter
from ridecast.home_lock import lock_home
from tests.ridecast.calls import ridecast
from tests.ridecast.conftest import Small


def open_paths(folder: Path) -> list[str]:
    """What others can read below a folder, and the folder itself."""
    return [str(path.relative_to(folder)) for path in (folder, *folder.rglob("*")) if stat.S_IMODE(path.stat().st_mode) & 0o077]


def test_nothing_in_a_home_or_a_ride_log_is_readable_by_others(small: Small) -> None:
    """After import, bootstrap, training and a run every folder has mode 700 and every file 600, the databases too."""
    assert [] == open_paths(small.home)
    assert [] == open_paths(small.rides)


def test_an_export_is_for_others(small: Small, tmp_path: Path) -> None:
    """Tiles are made to be published, so they follow the mask of the user."""
    before = os.umask(0o022)
    try:
        done = ridecast("ledger", "export", "--home", small.home, "--tiles", tmp_path / "audit", "--log", "control", cwd=tmp_path)
    finally:
        os.umask(before)
    assert 0 == done.status, done.err
    files = [path for path in (tmp_path / "audit").rglob("*") if path.name == "checkpoint"]
    assert files
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o044 for path in files)


def test_an_open_folder_is_left_as_it_is_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What somebody opened to others stays so; one line says it and how to close it, for a home and for a ride log."""
    for name in ("home", "rides"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    with caplog.at_level(logging.WARNING):
        with lock_home(tmp_path / "home", "ridecast run"):
            pass
        RideLogWriter(tmp_path / "rides", 1).close()
        with lock_home(tmp_path / "closed", "ridecast run"):
            (tmp_path / "closed").chmod(0o700)
    lines = [record.getMessage() for record in caplog.records if "closed" not in record.getMessage()]
    assert [f"chmod -R go= {tmp_path / name}" in line for name, line in zip(("home", "rides"), lines, strict=True)] == [True, True]
    assert 0o755 == stat.S_IMODE((tmp_path / "home").stat().st_mode)
