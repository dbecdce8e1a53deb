"""A server process of the tests: started on a free loopback port, killed, paused and restarted at will, stopped at the end."""

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from tests.workers import share

# Below the range that the kernel gives to outgoing connections (32768 on Linux): a client that keeps connecting to a dead
# server's port could otherwise get that port itself, connect to itself and block the server's restart.
PORTS = share(range(20_000, 32_000))


class ServiceError(Exception):
    """A server that the tests need does not start; the message is one line: what to install, or the server's error."""


class Server:
    """One server with its own directory and port, which it keeps over restarts.

    A subclass defines how it is prepared, its command and when it is ready.
    """

    name = "server"
    start_limit_s = 60.0

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"ridecast-{self.name}-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.prepared = False

    # For subclasses to implement.
    def prepare(self) -> None:
        """Create directories and files, once, before the first start."""

    def command(self) -> list[str]:
        """Program and arguments."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether it answers; may raise OSError while it does not."""
        raise NotImplementedError

    # For tests to use.
    @property
    def address(self) -> str:
        """HOST:PORT, the same after restarts."""
        return f"127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process exists, running or paused."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it and wait until it answers; does nothing if it runs.

        Raises:
            ServiceError: it ended or did not answer in time; the message has its last output.
        """
        if self.running:
            return
        if not self.prepared:
            self.prepare()
            self.prepared = True
        with self.log_path.open("ab") as log:
            words = [*dies_with_us(), *self.command()]
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory, start_new_session=True
            )
        deadline = time.monotonic() + self.start_limit_s
        while True:
            if not self.running:
                raise ServiceError(f"{self.name} ended at once with status {self.process.returncode}: {self.last_words()}")
            with contextlib.suppress(OSError):
                if self.ready():
                    return
            if time.monotonic() > deadline:
                self.kill()
                raise ServiceError(f"{self.name} did not answer within {self.start_limit_s:.0f} s: {self.last_words()}")
            time.sleep(0.05)

    def stop(self, limit_s: float = 20.0) -> None:
        """Stop it gracefully; kill it if it does not stop."""
        if self.process is None or not self.running:
            return
        self.resume()
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()

    stop_signal = signal.SIGTERM

    def kill(self) -> None:
        """kill -9 it and all its children: to clients this looks like a power loss."""
        if self.process is None or not self.running:
            return
        family = [*psutil.Process(self.process.pid).children(recursive=True), psutil.Process(self.process.pid)]
        for member in reversed(family):  # the parent first, or it would restart its children
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        self.process.wait()
        psutil.wait_procs(family, timeout=10)

    def restart(self) -> None:
        """Stop and start again, on the same port with the same data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open, but it does not answer."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after `pause`."""
        self._signal_all(signal.SIGCONT)

    def close(self) -> None:
        """Stop it for good and remove its directory."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def log_path(self) -> Path:
        """File with all of its output."""
        return self.directory / "server.log"

    def last_words(self) -> str:
        """The end of its output, in one line."""
        try:
            lines = self.log_path.read_text("utf-8", "replace").splitlines()
        except OSError:
            return "no output"
        return " | ".join(line.strip() for line in lines[-5:] if line.strip()) or "no output"

    def _signal_all(self, number: int) -> None:
        if self.process is None or not self.running:
            return
        for member in (psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(number)


def free_port() -> int:
    """A free port on loopback."""
    pick = random.SystemRandom()
    for _ in range(1_000):
        port = pick.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServiceError(f"no free port between {PORTS.start} and {PORTS.stop} on 127.0.0.1")


def listening(port: int) -> bool:
    """Whether a process accepts connections on that loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def program(name: str, install: str, *folders: str) -> str:
    """Path of a program.

    Raises:
        ServiceError: it is missing; the message tells what to install.
    """
    if path := shutil.which(name):
        return path
    for folder in folders:
        for place in sorted(Path("/").glob(f"{folder}/{name}"), reverse=True):
            return str(place)
    raise ServiceError(f"{name} is missing: {install}")


def dies_with_us(user: str | None = None) -> list[str]:
    """Command prefix that makes the kernel kill the command when this process dies, and runs it as that user.

    Without setpriv (not Linux) a killed test run may leave a server behind.
    """
    setpriv = shutil.which("setpriv")
    if user is None:
        return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    if setpriv is None:
        raise ServiceError("setpriv is missing: apt-get install util-linux")
    entry = pwd.getpwnam(user)
    return [setpriv, f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", "--pdeathsig", "KILL", "--"]


def is_root() -> bool:
    """Whether the tests run as root, as they do in most containers."""
    return os.geteuid() == 0
