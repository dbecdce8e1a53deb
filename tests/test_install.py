"""How an environment is made: which packages a plain installation takes, and what is shown while pip works."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.tree import ROOT, project

LINE = "# --- for tests and plots only ---\n"


def script(name: str) -> ModuleType:
    """A script of the folder .ci as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(text: str) -> list[str]:
    """Names of the pinned packages."""
    return re.findall(r"^([a-z0-9.-]+)==", text, re.MULTILINE)


def declared(lines: list[str]) -> set[str]:
    """Names of declared requirements."""
    return {re.split(r"[>=]", line)[0] for line in lines}


def test_a_plain_installation_has_what_runs_and_builds() -> None:
    """Above the line are the packages to run and to build with, below it those of tests and plots, none in both."""
    run, rest = (ROOT / "constraints.txt").read_text("utf-8").split(LINE)
    more = project()["optional-dependencies"]
    assert declared([*project()["dependencies"], *more["build"]]) <= set(names(run))
    assert declared([*more["test"], *more["plot"]]) <= set(names(rest))
    assert set() == set(names(run)) & set(names(rest))


def test_the_split_keeps_every_package_and_refuses_a_missing_one(tmp_path: Path) -> None:
    """Packages go above or below the line with all their digests, and one that is needed but not pinned is an error."""
    everything = "".join(f"{name}==1.0 \\\n    --hash=sha256:{name * 4}\n" for name in ("aa", "bb", "cc"))
    (tmp_path / "all.txt").write_text(everything)
    (tmp_path / "run.txt").write_text("aa==1.0\ncc==1.0\n")
    command = [sys.executable, str(ROOT / ".ci/split_constraints.py"), str(tmp_path / "all.txt"), str(tmp_path / "run.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    run, rest = done.stdout.split(LINE)
    assert (["aa", "cc"], ["bb"]) == (names(run), names(rest))
    assert run.startswith("# Every package")
    assert "bb==1.0 \\\n    --hash=sha256:bbbbbbbb\n" == rest
    (tmp_path / "run.txt").write_text("dd==1.0\n")
    assert "expected 1 packages to run with among 3, found 0" in subprocess.run(command, capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize(
    ("lines", "doing"),
    [
        ([], "starting"),
        (["Collecting alembic==1.20.1 (from -r x)\n"], "package 1: alembic"),
        (["Requirement already satisfied: rich==15 in /x\n", "Collecting numpy==2\n", "  Downloading numpy\n"], "package 2: numpy"),
        (["Collecting a==1\n", "Installing collected packages: a\n"], "unpacking 1 packages"),
    ],
)
def test_pip_is_followed(lines: list[str], doing: str) -> None:
    """The line names the package that pip works on, and how many there were."""
    state = script("install").State("packages")
    for line in lines:
        state.see(line)
    assert doing == state.doing


def test_a_failure_of_pip_is_shown() -> None:
    """What pip said is shown when it fails, with its exit code, and a terminal is not needed."""
    command = [sys.executable, str(ROOT / ".ci/install.py"), "packages", "--no-index", "--find-links", "/nowhere", "no-such-package"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "No matching distribution found for no-such-package" in done.stdout
    assert done.stdout.endswith("packages: pip failed, see above\n")
