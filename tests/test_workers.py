"""Workers share the machine: what is alone has no other beside it, and no port belongs to two."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.tree import ROOT
from tests.workers import Turns, share

# Two files for two workers; every test writes when it ran, and those that are alone take a while.
TESTS = """
import os, time
from pathlib import Path
import pytest

def ran(name, seconds):
    began = time.monotonic()
    time.sleep(seconds)
    with Path(os.environ["TIMES"]).open("a") as file:
        file.write(f"{name} {os.environ['PYTEST_XDIST_WORKER']} {began} {time.monotonic()}\\n")

@pytest.mark.parametrize("number", range(6))
def test_beside_others(number):
    ran("beside", 0.05)

@pytest.mark.alone
def test_alone():
    ran("alone", 0.2)

@pytest.mark.parametrize("number", range(6))
def test_beside_others_again(number):
    ran("beside", 0.05)
"""


def test_a_test_that_is_alone_has_no_other_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two workers, no test runs at the same time as one that is marked."""
    for name in ("test_one.py", "test_two.py"):
        (tmp_path / name).write_text(TESTS, "utf-8")
    (tmp_path / "conftest.py").write_text("from tests.workers import *\n", "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = alone: alone\nfilterwarnings = error\n", "utf-8")
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TIMES", str(tmp_path / "times"))
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:cov", "-n", "2", "--dist", "loadfile"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    rows = [line.split() for line in (tmp_path / "times").read_text("utf-8").splitlines()]
    spans = [(name, worker, float(began), float(ended)) for name, worker, began, ended in rows]
    assert (26, 2, {"gw0", "gw1"}) == (len(spans), sum(name == "alone" for name, *_ in spans), {worker for _, worker, *_ in spans})
    for name, worker, began, ended in spans:
        beside = [other for other, whose, since, until in spans if whose != worker and since < ended and began < until]
        assert [] == beside or (name, {"beside"}) == ("beside", set(beside))


def test_who_waits_to_be_alone_is_not_kept_out(tmp_path: Path) -> None:
    """While one waits to be alone, those that would share do not go before it."""
    order: list[str] = []
    turns = {name: Turns(tmp_path) for name in ("first", "alone", "late")}

    def run(name: str) -> None:
        with turns[name].turn(alone=name == "alone"):
            order.append(name)

    with turns["first"].turn(alone=False):
        threads = [threading.Thread(target=run, args=(name,)) for name in ("alone", "late")]
        for thread in threads:
            thread.start()
            time.sleep(0.2)
        assert [] == order
    for thread in threads:
        thread.join()
    assert ["alone", "late"] == order
    for opened in turns.values():
        opened.close()


def test_no_port_belongs_to_two_workers() -> None:
    """Workers divide the ports among them, and one that replaces a crashed worker takes the share of another number."""
    ports = range(20_000, 32_000)
    shares = [share(ports, {"PYTEST_XDIST_WORKER": f"gw{number}", "PYTEST_XDIST_WORKER_COUNT": "3"}) for number in range(3)]
    assert sorted(port for found in shares for port in found) == list(ports)
    assert shares[1] == share(ports, {"PYTEST_XDIST_WORKER": "gw4", "PYTEST_XDIST_WORKER_COUNT": "3"})
