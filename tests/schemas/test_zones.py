"""Time zones come from the package that the environment's description names, and from nowhere else."""

import subprocess
import sys
import zoneinfo
from importlib import resources
from pathlib import Path

import pytest

from schemas.zones import zones_digest
from tests.tree import ROOT

ASK = """
from schemas.regions import load_region
from schemas.times import parse_time
print(parse_time("2014-05-01T08:00", load_region("nyc")))
"""


def test_the_system_s_files_are_not_read(tmp_path: Path) -> None:
    """A machine whose files or variable say something else computes the same times."""
    wrong = tmp_path / "America" / "New_York"
    wrong.parent.mkdir()
    wrong.write_bytes((resources.files("tzdata") / "zoneinfo" / "Asia" / "Tokyo").read_bytes())
    for environment in ({}, {"PYTHONTZPATH": str(tmp_path)}):
        done = subprocess.run([sys.executable, "-c", ASK], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        assert "1398945600000000\n" == done.stdout
    assert () == zoneinfo.TZPATH


def test_the_digest_covers_every_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the same each time, and another when a zone is missing."""
    before = zones_digest()
    zones_digest.cache_clear()
    assert before == zones_digest()
    zones_digest.cache_clear()
    fewer = zoneinfo.available_timezones() - {"America/New_York"}
    monkeypatch.setattr(zoneinfo, "available_timezones", lambda: fewer)
    assert before != zones_digest()
    zones_digest.cache_clear()
