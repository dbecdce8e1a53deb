"""Small ways to break the verifier, each of which some test must notice: `python -m tests.mutants` (`make mutants`).

Every mutant is one edit, made in a copy of the tree in a temporary folder; then the tests that should notice it run.
It fails when a mutant survives, or when the text that it replaces no longer occurs exactly once.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutant_list import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("schemas", "state", "ledger", "dataflows", "ridecast", "tests", "pyproject.toml")
AT_ONCE = 2
LIMIT_S = 120.0  # a mutant that runs on for ever is caught, too


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went: the test that noticed, or why none did."""

    mutant: Mutant
    caught_by: str
    wrong: str
    seconds: float


def attempt(mutant: Mutant, home: Path) -> Outcome:
    """Make one mutant and see which test notices it."""
    began = time.monotonic()
    text = (ROOT / mutant.file).read_text("utf-8")
    if text.count(mutant.old) != 1:
        return Outcome(mutant, "", f"its text occurs {text.count(mutant.old)} times in {mutant.file}, expected once", 0.0)
    place = home / re.sub(r"\W+", "-", mutant.what)
    copy_tree(place)
    (place / mutant.file).write_text(text.replace(mutant.old, mutant.new), "utf-8")
    status, said = run_tests(place, mutant.tests)
    shutil.rmtree(place)
    spent = time.monotonic() - began
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", said, re.MULTILINE)
    if status == 1 and failed:
        return Outcome(mutant, failed[1], "", spent)
    if status == -1:
        return Outcome(mutant, f"runs on for more than {LIMIT_S:g} s", "", spent)
    return Outcome(mutant, "", "SURVIVED" if status == 0 else f"pytest ended with {status}: {said[-300:]}", spent)


def copy_tree(place: Path) -> None:
    """The code and its tests, without what was made of them."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            place.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, place / name)


def run_tests(place: Path, tests: Sequence[str]) -> tuple[int, str]:
    """pytest's status, -1 when it does not end, and what it printed."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", "-k", "not postgres", *tests]
    known = {**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    known.setdefault("RIDECAST_SHARED", str(ROOT.parent / "shared"))
    try:
        done = subprocess.run(command, cwd=place, env=known, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return -1, ""
    return done.returncode, done.stdout


def main(wanted: Sequence[str]) -> int:
    """Try all mutants, or those whose description holds one of the words; 1 when one survives."""
    chosen = [mutant for mutant in MUTANTS if not wanted or any(word in mutant.what for word in wanted)]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        # Unbroken, everything passes: else a failure would prove nothing.
        copy_tree(Path(folder) / "unbroken")
        status, said = run_tests(Path(folder) / "unbroken", sorted({name for mutant in chosen for name in mutant.tests}))
        if status != 0:
            print(f"the tests fail before anything is broken:\n{said[-2_000:]}")
            return 1
        survivors = 0
        for outcome in pool.map(lambda mutant: attempt(mutant, Path(folder)), chosen):
            survivors += not outcome.caught_by
            print(f"{outcome.mutant.what:<52} {outcome.seconds:5.1f} s  {outcome.caught_by or outcome.wrong}", flush=True)
    print(f"{len(chosen)} mutants, {len(chosen) - survivors} caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
