"""The supervisor of child processes: starts them, restarts the forecasters together, stops all cleanly.

Children are spawned, never forked (librdkafka and OpenMP do not survive a fork), and get their settings
through the environment. If one process of a Bytewax cluster dies, the others end too, so the whole
cluster is restarted; it resumes where the ledger ends.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

from dataflows.stream.stopping import StopEvent
from ridecast.relay import Relay
from schemas.errors import BootRefused, DamagedError, NotFound, RidecastError, SourceMoved

STOP_WITHIN_S = 20.0
RESTART_AFTER_S = 0.5
STEADY_AFTER_S = 60.0
MOST_RESTARTS = 5  # in a row, without a minute of stable running in between: then the failure is not transient
PERMANENT_STATUS = 3  # exit code of a child after an error that a restart does not fix; 2 is wrong usage, as everywhere
RESTART_STATUS = SourceMoved.exit_code  # exit code of a forecaster that must start again, and has not failed
PERMANENT = (NotFound, DamagedError, BootRefused)


class PermanentError(RidecastError):
    """An error of a child that a restart does not fix."""

    exit_code = PERMANENT_STATUS


def permanent(error: Exception) -> Exception:
    """The error, with the exit code that tells the supervisor whether to restart the child."""
    return PermanentError(str(error)) if isinstance(error, PERMANENT) else error


@contextmanager
def mark_permanent_errors() -> Iterator[None]:
    """Wraps a child's work: see `permanent`."""
    try:
        yield
    except PERMANENT as error:
        raise permanent(error) from error


@dataclass(slots=True)
class Child:
    """One child process: its role, its arguments, and its handle while it runs."""

    role: str
    arguments: list[str]
    process: subprocess.Popen[bytes] | None = None
    reader: threading.Thread | None = None

    def start(self, environment: Mapping[str, str], relay: Relay, inherited: Sequence[int] = ()) -> None:
        """Start a new process that inherits some descriptors."""
        command = [sys.executable, "-m", "ridecast", "worker", "--tied", *self.arguments]
        # In its own session, so that Ctrl-C reaches only the supervisor, which then stops all children cleanly.
        self.process = subprocess.Popen(
            command,
            env=dict(environment),
            start_new_session=True,
            pass_fds=inherited,
            stdin=lifeline()[0],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self.process.stdout is not None
        self.reader = relay.follow(self.process.stdout)

    def poll(self) -> int | None:
        """Exit status, or None while it runs or before it was started."""
        return self.process.poll() if self.process else None

    def finish_output(self) -> None:
        """Wait until its remaining output has been passed on."""
        if self.reader is not None:
            self.reader.join(1.0)


@cache
def lifeline() -> tuple[int, int]:
    """(read end, write end) of a pipe that closes when this process ends for any reason: children read it, see `end_with_parent`."""
    return os.pipe()


def end_with_parent() -> None:
    """End this process cleanly when its supervisor is gone; a killed supervisor cannot stop its children."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(STOP_WITHIN_S)
        os._exit(1)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


@dataclass(slots=True)
class Supervisor:
    """Runs forecasters and their companions until they end or are stopped.

    Args:
        environment: Environment of the children.
        regions: Regions to forecast.
        processes: Forecaster processes.
        bounded: End when all rides available at the start have been processed.
        companions: Roles to keep running beside the forecasters.
        relay: Passes on the children's output.
        inherited: Descriptors that children keep open while they run.
        stop: Set by SIGTERM and SIGINT while it runs.
    """

    environment: dict[str, str]
    regions: Sequence[str]
    processes: int
    bounded: bool
    companions: Sequence[str]
    relay: Relay
    inherited: Sequence[int] = ()
    stop: StopEvent = field(default_factory=StopEvent)
    _forecasters: list[Child] = field(default_factory=list)
    _others: list[Child] = field(default_factory=list)

    def run(self, on_tick: Callable[[], None]) -> None:
        """Run to the end; `on_tick` is called several times a second.

        Raises:
            RidecastError: children keep dying, or one reports a permanent error; or a bounded run was stopped before its
                end. It carries the exit code.
        """
        self.stop.listen()
        self._others = [Child(role, [role, "--regions", ",".join(self.regions)]) for role in self.companions]
        for child in self._others:
            child.start(self.environment, self.relay, self.inherited)
        restarts, started = 0, time.monotonic()
        self._start_forecasters()
        try:
            while not self.stop.is_set():
                self.stop.wait(0.1)
                on_tick()
                statuses = [child.poll() for child in self._forecasters]
                # A forecaster may end on its own only in a bounded run.
                if any(statuses) if self.bounded else any(status is not None for status in statuses):
                    restarts = 1 if time.monotonic() - started > STEADY_AFTER_S else restarts + 1
                    if RESTART_STATUS in statuses:
                        restarts = 0
                    self._stop(self._forecasters)
                    # A process that reported a permanent error takes precedence over others that only lost their connection to it.
                    worst = max((status for status in statuses if status), key=lambda s: (s in (2, PERMANENT_STATUS), s), default=0)
                    if worst in (2, PERMANENT_STATUS) or restarts > MOST_RESTARTS:
                        raise _ended("forecaster", worst, restarts)
                    self.stop.wait(RESTART_AFTER_S)
                    if not self.stop.is_set():
                        started = time.monotonic()
                        self._start_forecasters()
                elif all(status == 0 for status in statuses):
                    break
                self._restart_companions()
            on_tick()
        finally:
            self._stop(self._forecasters)
            self._stop(self._others)
        if self.bounded and not self.stop.is_set():
            self._drain()
        if self.bounded and self.stop.is_set():
            raise _stopped(self.stop.number)

    def _start_forecasters(self) -> None:
        addresses = free_addresses(self.processes) if self.processes > 1 else []
        self._forecasters = []
        for number in range(self.processes):
            arguments = ["forecast", "--regions", ",".join(self.regions), "--processes", str(self.processes)]
            if addresses:
                arguments += ["--process", str(number), "--addresses", ";".join(addresses)]
            if self.bounded:
                arguments.append("--until-end")
            child = Child("forecast", arguments)
            child.start(self.environment, self.relay, self.inherited)
            self._forecasters.append(child)

    def _restart_companions(self) -> None:
        for child in self._others:
            status = child.poll()
            if status in (2, PERMANENT_STATUS):
                child.finish_output()
                raise _ended(child.role, status, 1)
            if status is not None:
                time.sleep(RESTART_AFTER_S)
                child.start(self.environment, self.relay, self.inherited)

    def _drain(self) -> None:
        """Publish everything that the run has recorded, then end."""
        child = Child("publish", ["publish", "--regions", ",".join(self.regions), "--drain"])
        child.start(self.environment, self.relay, self.inherited)
        while (status := child.poll()) is None and not self.stop.is_set():
            self.stop.wait(0.05)
        self._stop([child])
        if status:
            raise _ended("publisher", status, 1)

    def _stop(self, children: Sequence[Child]) -> None:
        running = [child.process for child in children if child.process is not None and child.process.poll() is None]
        for process in running:
            process.terminate()
        give_up_at = time.monotonic() + STOP_WITHIN_S
        for process in running:
            try:
                process.wait(max(0.1, give_up_at - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
        for child in children:
            child.finish_output()


def _ended(role: str, status: int, times: int) -> RidecastError:
    """The error for a child that failed; its own message was printed before."""
    how = f"was killed by signal {-status}" if status < 0 else "ended with the error above" if status else "ended unexpectedly"
    error = RidecastError(f"{role} {how}" + (f", {times} times in a row" if times > 1 else ""))
    error.exit_code = 2 if status == 2 else 1
    return error


def _stopped(number: int) -> RidecastError:
    """The error for a run stopped by a signal before its end: a script must not take it for complete."""
    how = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    error = RidecastError(f"stopped by {how} before the end of the rides; run the same command to resume")
    error.exit_code = 128 + number  # as shells report signals
    return error


def free_addresses(count: int) -> list[str]:
    """`count` loopback addresses with ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for held in sockets:
            held.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{held.getsockname()[1]}" for held in sockets]
    finally:
        for held in sockets:
            held.close()
