"""One child process: how it is started, and that it does not outlive its supervisor."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ridecast.children import Child, free_addresses, stop_all
from ridecast.endings import Ending
from ridecast.relay import Relay
from schemas.errors import Fault
from tests.ridecast.calls import environment


def test_children_end_with_a_killed_supervisor(tmp_path: Path) -> None:
    """When the supervisor is killed outright, which it cannot notice, a tied child stops by itself."""
    program = """
import subprocess, sys, time
from ridecast.children import lifeline
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=lifeline()[0], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""
    tied = """
import signal, sys, time
from ridecast.children import end_with_parent
def leave(*_):
    open("left", "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
end_with_parent()
open("ready", "w").close()
time.sleep(60)
"""
    command = [sys.executable, "-c", program, tied]
    supervisor = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    with supervisor.stdout:
        supervisor.stdout.readline()
    until((tmp_path / "ready").exists)
    supervisor.kill()
    assert supervisor.wait(10) == -signal.SIGKILL
    until((tmp_path / "left").exists)


def test_what_a_job_started_ends_with_a_killed_scheduler(tmp_path: Path) -> None:
    """When the scheduler is killed outright, the process of its job and what that has started end by themselves."""
    program = """
import os, subprocess, sys, time
reading, writing = os.pipe()
subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=reading, start_new_session=True)
time.sleep(60)
"""
    job = """
import os, subprocess, time
from ridecast.children import end_group_with_parent
end_group_with_parent()
child = subprocess.Popen(["sleep", "60"])
open("writing", "w").write(f"{os.getpid()} {child.pid}")
os.rename("writing", "pids")
time.sleep(60)
"""
    scheduler = subprocess.Popen([sys.executable, "-c", program, job], cwd=tmp_path, env=environment())
    until((tmp_path / "pids").exists)
    scheduler.kill()
    scheduler.wait(10)
    for pid in (tmp_path / "pids").read_text("utf-8").split():
        until(lambda pid=pid: not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text("utf-8"))  # type: ignore[misc]


def test_a_system_without_processes_left_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that the system does not start has ended with the reason, which heals by waiting."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    child = Child("api", ["api"])
    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr("ridecast.children.subprocess.Popen", full)
        child.start({}, Relay(lambda _: None))
    ending = child.poll(0.0, 60.0)
    assert Ending(refused="the system did not start it: Resource temporarily unavailable") == ending
    assert ending.fault is Fault.TRANSIENT
    assert stop_all([child]) == []
    assert len(os.listdir("/proc/self/fd")) <= before + 2  # the lifeline, which all children share


def test_addresses_are_free_and_distinct() -> None:
    """Each process of a cluster gets a loopback address of its own."""
    addresses = free_addresses(5)
    assert 5 == len(set(addresses))
    assert {"127.0.0.1"} == {address.split(":")[0] for address in addresses}


def test_a_child_that_was_not_started_has_no_status() -> None:
    """Before its start a child neither runs nor has ended."""
    child = Child("api", [])
    child.finish_output()
    assert child.poll(0.0, 60.0) is None
    assert not child.runs
    assert not child.works


def until(true: Callable[[], bool], within_s: float = 20.0) -> None:
    """Wait for something to become true."""
    give_up_at = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < give_up_at, "it did not happen"
        time.sleep(0.02)
