"""The built wheel works for someone who has nothing else: an empty environment, outside the checkout."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.tree import PACKAGES, ROOT, files


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT))
    (path,) = folder.glob("ridecast-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of programs of an environment that holds the wheel and what its metadata asks for, nothing of the checkout."""
    home = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", str(home / "venv"))
    # The versions on record without their digests: pip wants a digest on every line or on none, and the wheel asks by name.
    pins = re.findall(r"^([a-z0-9-]+==[^\\\n]+?) *\\?$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    (home / "pins.txt").write_text("\n".join(pins), "utf-8")
    python = str(home / "venv" / "bin" / "python")
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "-c", str(home / "pins.txt"), str(wheel))
    return home / "venv" / "bin"


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    """Schemas, region definitions and pages travel with the code, and nothing else does."""
    expected = {str(path) for path in files() if path.parts[0] in PACKAGES}
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert expected == inside


def test_the_wheel_names_its_licence(wheel: Path) -> None:
    """The licence is in the metadata by its SPDX name, and its text is in the wheel."""
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    assert "License-Expression: Apache-2.0" in archive.read(metadata).decode()
    assert [name for name in archive.namelist() if name.endswith("/LICENSE")] != []


@pytest.mark.parametrize("words", [("ridecast",), ("python", "-m", "ridecast")], ids=" ".join)
def test_the_installed_command_answers(installed: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Outside the checkout, both ways to start Ridecast print the help, which names its commands."""
    text = run(str(installed / words[0]), *words[1:], "--help", cwd=tmp_path)
    assert "Usage: " in text
    assert "settings" in text


def test_the_installed_code_is_not_the_checkout(installed: Path, tmp_path: Path) -> None:
    """What runs is the wheel's code with the wheel's data."""
    code = "import schemas.regions as r; r.load_region('nyc'); print(r.__file__)"
    place = Path(run(str(installed / "python"), "-c", code, cwd=tmp_path).strip())
    assert place.is_relative_to(installed.parent)


def test_the_installed_demo_runs_to_its_end(installed: Path, tmp_path: Path) -> None:
    """A small city goes through the whole pipeline, and the ledger that it leaves verifies."""
    text = run(str(installed / "ridecast"), "demo", "--days", "4", "--rides-per-day", "500", "--until-end", cwd=tmp_path)
    assert "live counting starts there" in text
    assert "promoted" in text
    verified = run(str(installed / "ridecast"), "ledger", "verify", "--home", "demo", cwd=tmp_path)
    found = dict(re.findall(r"^(\S+): ([\d,]+) entries, [\d,]+ blobs: clean$", verified, re.MULTILINE))
    assert {"control", "region/tehran", "runs"} == set(found)
    assert int(found["region/tehran"].replace(",", "")) > 2 * 288  # two days of slots, and what they led to


def run(*words: str, cwd: Path | None = None) -> str:
    """What a command prints; the test fails with its words when it fails. Python finds nothing but its own environment."""
    foreign = ("PYTHON", "RIDECAST_", "COV_", "VIRTUAL_ENV")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    done = subprocess.run(words, cwd=cwd, env=environ, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{' '.join(words)}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout
