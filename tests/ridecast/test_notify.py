"""A run under systemd or as process 1: what it says over the service manager's socket, and that it reaps orphans."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ridecast.notify import STATUS_EVERY_S, ServiceSocket, reap_orphans
from tests.ridecast.calls import environment


@pytest.fixture
def notified(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """(path, socket) of somebody who listens as systemd does."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        listening.setblocking(False)
        yield path, listening


def heard(listening: socket.socket) -> list[str]:
    """All that was sent."""
    found: list[str] = []
    while True:
        try:
            found.append(listening.recv(4096).decode())
        except BlockingIOError:
            return found


def test_a_service_tells_its_life(notified: tuple[str, socket.socket]) -> None:
    """The manager hears of the state, that the service is ready, that it is alive as often as it asked, and that it ends."""
    now_s = [100.0]
    path, listening = notified
    service = ServiceSocket(path, 30.0, lambda: now_s[0])
    service.status("waiting")
    service.ready()
    for _ in range(4):
        service.alive()
        service.status("slot 1")
        now_s[0] += 5.0
    service.stopping()
    assert heard(listening) == [
        "STATUS=waiting",
        "READY=1\nSTATUS=waiting",
        "WATCHDOG=1",
        "STATUS=slot 1",
        "WATCHDOG=1",
        "STOPPING=1",
    ]
    assert STATUS_EVERY_S == 5.0


def test_the_environment_names_socket_and_watchdog(notified: tuple[str, socket.socket]) -> None:
    """The watchdog counts only for the process that it names; without a socket nothing is sent."""
    path, listening = notified
    for pid, expected in ((str(os.getpid()), ["WATCHDOG=1"]), ("1", [])):
        service = ServiceSocket.from_env({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": pid})
        service.alive()
        assert expected == heard(listening)
    ServiceSocket.from_env({}).ready()
    assert heard(listening) == []


def test_an_abstract_socket_is_found() -> None:
    """An address that begins with @ is a name without a file."""
    name = f"ridecast-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        ServiceSocket("@" + name).ready()
        assert listening.recv(100) == b"READY=1"


def test_a_closed_socket_stops_nothing(tmp_path: Path) -> None:
    """A socket that nobody reads any more is no error."""
    service = ServiceSocket(str(tmp_path / "gone"), 1.0)
    for tell in (service.ready, service.alive, service.stopping):
        tell()
    assert not (tmp_path / "gone").exists()


def test_only_process_1_reaps() -> None:
    """An ordinary process leaves the children of its libraries alone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        assert reap_orphans(set()) == 0
        assert child.wait(10) == 0


REAPER = """
import os, subprocess, sys, time
from ridecast.notify import reap_orphans
assert os.getpid() == 1
own = subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(7)"])
# Its child outlives it, and so becomes ours.
subprocess.run(["/bin/sh", "-c", "sleep 0.2 & exit 0"], check=True)
reaped, give_up_at = 0, time.monotonic() + 20
while not reaped and time.monotonic() < give_up_at:
    reaped += reap_orphans({own.pid} if own.returncode is None else set())
    own.poll()
    time.sleep(0.02)
print(reaped, own.wait(10))
"""


def test_process_1_reaps_what_others_left() -> None:
    """In a container the orphans of children become ours: they are reaped, and the status of our own child is kept for us."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", REAPER]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert (0, "1 7\n") == (done.returncode, done.stdout), done.stderr
