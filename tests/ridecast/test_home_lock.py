"""One run at a time has a home, until the last of its processes is gone."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ridecast.home_lock import LOCK_FILE, HomeInUse, lock_home

# Has a home, starts a child that inherits it, says both, and waits.
HOLDER = """
import subprocess, sys, time
from pathlib import Path
from ridecast.home_lock import lock_home
with lock_home(Path(sys.argv[1]), "ridecast run") as lock:
    child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({sys.argv[2]})"], pass_fds=[lock], stdout=subprocess.DEVNULL)
    print("held", flush=True)
    time.sleep(60)
"""


def held_by(home: Path, child_s: float) -> subprocess.Popen[str]:
    """A process that has a home, with a child that lives for some seconds."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(home), str(child_s)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "held\n" == process.stdout.readline()
    return process


def test_a_home_is_free_again(tmp_path: Path) -> None:
    """Within it nobody else has the home; after it anybody may, though the file is still there."""
    with lock_home(tmp_path / "home", "ridecast demo"):
        with pytest.raises(HomeInUse) as refused, lock_home(tmp_path / "home", "ridecast run"):
            pass
        assert f"in use by another `ridecast demo` (pid {os.getpid()})" in str(refused.value)
    with lock_home(tmp_path / "home", "ridecast run"):
        assert f"{os.getpid()} ridecast run" == (tmp_path / "home" / LOCK_FILE).read_text("utf-8")


def test_a_killed_run_is_waited_for_until_its_children_are_gone(tmp_path: Path) -> None:
    """While the holder lives it is refused at once; once it is dead the next waits for its child, and then has the home."""
    with held_by(tmp_path, 2.0) as process:
        with pytest.raises(HomeInUse, match=rf"\(pid {process.pid}\)"), lock_home(tmp_path, "ridecast run"):
            pass
        process.kill()
    with pytest.raises(HomeInUse), lock_home(tmp_path, "ridecast run", patience_s=0.1):
        pass
    began = time.monotonic()
    with lock_home(tmp_path, "ridecast run"):
        assert 0.0 < time.monotonic() - began < 10.0


def test_a_home_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """A file where the home should be is an error with its name."""
    (tmp_path / "home").write_text("a file")
    with pytest.raises(Exception, match=r"home .*/home: File exists"), lock_home(tmp_path / "home", "ridecast run"):
        pass
