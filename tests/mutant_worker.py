"""A worker of `tests.mutants`: a process with a copy of the tree, edited and restored, where tests run in a fork of it.

The worker imports the libraries of others once and nothing of ours, so that each run begins with them loaded.
"""

import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutant_lists.mutant import Mutant

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("schemas", "state", "ledger", "dataflows", "api", "ridecast", "docs", "tests", "pyproject.toml", "README.md", "CHANGELOG.md")
LIMIT_S = 120.0  # a mutant that runs on for ever is noticed, too
NO_TESTS = 5  # pytest's status
LIBRARIES = (
    "numpy",
    "scipy.special",
    "scipy.stats",
    "pandas",
    "xgboost",
    "river.linear_model",
    "river.preprocessing",
    "fastavro",
    "sqlalchemy",
    "cryptography",
    "confluent_kafka",
    "bytewax.dataflow",
    "pyarrow.parquet",
    "redis",
)


_PLACES: list[Path] = []  # of this process


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went: the test that noticed, or why none did."""

    mutant: Mutant
    noticed_by: str
    wrong: str
    seconds: float


def copy_tree(place: Path) -> None:
    """The code and its tests, with their times, so that compiled files beside them stay valid."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, place / name)


def run_tests(place: Path, tests: Sequence[str], *, limit_s: float = LIMIT_S, compiled: bool = False) -> tuple[int, str]:
    """pytest's status, -1 when it does not end, and what it printed."""
    command = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:cov", "-k", "not postgres", *tests]
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if not child:
            _run_here(place, command, said.fileno(), compiled=compiled)
        status = _wait(child, limit_s)
        said.seek(0)
        return status, said.read()


def _run_here(place: Path, command: list[str], out: int, *, compiled: bool) -> None:
    """The forked process: becomes a pytest in the copy, and ends."""
    status = 3
    try:
        os.setsid()
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(place)
        sys.dont_write_bytecode = not compiled
        os.environ |= {
            "PYTHONPATH": str(place),
            "OMP_NUM_THREADS": "1",
            "HYPOTHESIS_PROFILE": "mutants",
            "PYTHONDONTWRITEBYTECODE": "" if compiled else "1",
        }
        os.environ.setdefault("RIDECAST_SHARED", str(ROOT.parent / "shared"))
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]
        sys.path[:] = [str(place), *(entry for entry in sys.path if Path(entry or ".").resolve() != ROOT)]
        importlib.invalidate_caches()
        import pytest

        status = int(pytest.main(command))
    except BaseException:  # whatever it is, it must not go on into the worker's own work
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(child: int, limit_s: float) -> int:
    give_up_at = time.monotonic() + limit_s
    while time.monotonic() < give_up_at:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1


def settle(folder: str) -> None:
    """Make this process a worker: its copy of the tree, compiled, and the libraries of others."""
    place = place_in(folder)
    place.mkdir()
    copy_tree(place)
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(place)], check=True)
    for name in LIBRARIES:
        importlib.import_module(name)
    _PLACES.append(place)


def place_in(folder: str) -> Path:
    """Where this process has its copy."""
    return Path(folder) / str(os.getpid())


def unbroken(tests: Sequence[str]) -> tuple[int, str]:
    """pytest's status, and what it printed, of tests in the copy as it is."""
    return run_tests(_PLACES[0], tests, limit_s=1_200.0, compiled=True) if tests else (NO_TESTS, "")


def attempt(mutant: Mutant, likely: str = "") -> Outcome:
    """Make one mutant in this worker's copy, see which test notices it, and restore the file.

    Args:
        mutant: What to change.
        likely: The test that probably notices it, which runs first; all of its tests run if that one does not.
    """
    began = time.monotonic()
    file = _PLACES[0] / mutant.file
    text = file.read_text("utf-8")
    if text.count(mutant.old) != 1:
        return Outcome(mutant, "", f"its text occurs {text.count(mutant.old)} times in {mutant.file}, expected once", 0.0)
    noticed_by = wrong = ""
    try:
        file.write_text(text.replace(mutant.old, mutant.new), "utf-8")
        for tests in ([likely], mutant.tests) if likely else (mutant.tests,):
            noticed_by, wrong = judged(*run_tests(_PLACES[0], tests))
            if noticed_by:
                break
    finally:
        shutil.copy2(ROOT / mutant.file, file)
    return Outcome(mutant, noticed_by, wrong, time.monotonic() - began)


def judged(status: int, said: str) -> tuple[str, str]:
    """Which test noticed a mutant, or why none did, by pytest's status and what it printed.

    >>> judged(1, "FAILED tests/test_a.py::test_b[c] - assert 1 == 2")
    ('tests/test_a.py::test_b[c]', '')
    >>> judged(0, "1 passed")
    ('', 'SURVIVED')
    """
    failed = re.search(r"^(?:FAILED|ERROR) ([\w/.]+\.py.*?)(?: - |$)", said, re.MULTILINE)
    if status in (1, 2, 4) and failed:
        return failed[1], ""
    if status == -1:
        return f"runs on for more than {LIMIT_S:g} s", ""
    if status < 0:
        return f"the process ended by signal {-status}", ""
    return "", "SURVIVED" if status == 0 else f"pytest ended with {status}: {said[-300:]}"
