"""One supervisor, child processes: starts them, restarts the forecasters together, stops all cleanly.

Children are started anew (never forked: librdkafka and OpenMP do not survive a fork) and get their
settings through the environment. If one process of a Bytewax cluster dies the others end too, so the
whole cluster is started again; the ledger says where to go on.
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
from schemas.errors import BootRefused, DamagedError, NotFound, RidecastError

STOP_WITHIN_S = 20.0
RESTART_AFTER_S = 0.5
STEADY_AFTER_S = 60.0
MOST_RESTARTS = 5  # in a row, each before a steady minute: then it is not a passing fault
LASTING_STATUS = 3  # how a child ends on an error that starting again does not heal; 2 is wrong usage, as everywhere
LASTING = (NotFound, DamagedError, BootRefused)


class LastingError(RidecastError):
    """An error of a child that will be there again after a restart."""

    exit_code = LASTING_STATUS


def lasting(error: Exception) -> Exception:
    """The error, with the exit code that tells the supervisor whether to try again."""
    return LastingError(str(error)) if isinstance(error, LASTING) else error


@contextmanager
def sorted_errors() -> Iterator[None]:
    """Around a child's work: see `lasting`."""
    try:
        yield
    except LASTING as error:
        raise lasting(error) from error


@dataclass(slots=True)
class Child:
    """One child process: its role, its arguments, and itself while it runs."""

    role: str
    arguments: list[str]
    process: subprocess.Popen[bytes] | None = None
    reader: threading.Thread | None = None

    def start(self, environment: Mapping[str, str], relay: Relay, inherited: Sequence[int] = ()) -> None:
        """Start it anew; it inherits some descriptors."""
        command = [sys.executable, "-m", "ridecast", "worker", "--tied", *self.arguments]
        # A session of its own, so that Ctrl-C reaches the supervisor alone, which then stops all in order.
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

    def hear_out(self) -> None:
        """Wait until its last words have been passed on."""
        if self.reader is not None:
            self.reader.join(1.0)


@cache
def lifeline() -> tuple[int, int]:
    """(read end, write end) of a pipe that ends with this process, however it dies: children read it, see `end_with_parent`."""
    return os.pipe()


def end_with_parent() -> None:
    """End this process cleanly when the supervisor that started it is gone; one that was killed stops nobody."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(STOP_WITHIN_S)
        os._exit(1)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


@dataclass(slots=True)
class Supervisor:
    """Runs forecasters and their companions until they end or a person stops them.

    Args:
        environment: Environment of the children.
        regions: Regions to forecast.
        processes: Forecaster processes.
        bounded: End when the rides that are there now have been processed.
        companions: Roles to keep alive beside the forecasters.
        relay: Passes on what children say.
        inherited: Descriptors that children hold as long as they live.
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
            RidecastError: children keep dying, or one says that it always will; or a bounded run was stopped before its
                end. With the exit code to end with.
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
                # A forecaster may end by itself only in a bounded run.
                if any(statuses) if self.bounded else any(status is not None for status in statuses):
                    restarts = 1 if time.monotonic() - started > STEADY_AFTER_S else restarts + 1
                    self._stop(self._forecasters)
                    # One process that says why comes before others that only lost their connection to it.
                    worst = max((status for status in statuses if status), key=lambda s: (s in (2, LASTING_STATUS), s), default=0)
                    if worst in (2, LASTING_STATUS) or restarts > MOST_RESTARTS:
                        raise _ended("forecaster", worst, restarts)
                    self.stop.wait(RESTART_AFTER_S)
                    if not self.stop.is_set():
                        started = time.monotonic()
                        self._start_forecasters()
                elif all(status == 0 for status in statuses):
                    break
                self._revive()
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

    def _revive(self) -> None:
        for child in self._others:
            status = child.poll()
            if status in (2, LASTING_STATUS):
                child.hear_out()
                raise _ended(child.role, status, 1)
            if status is not None:
                time.sleep(RESTART_AFTER_S)
                child.start(self.environment, self.relay, self.inherited)

    def _drain(self) -> None:
        """Publish what the run has recorded, then end."""
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
            child.hear_out()


def _ended(role: str, status: int, times: int) -> RidecastError:
    """What to raise for a child that ended badly; its own words came before."""
    how = f"was killed by signal {-status}" if status < 0 else "ended with the error above" if status else "ended without being asked to"
    error = RidecastError(f"{role} {how}" + (f", {times} times in a row" if times > 1 else ""))
    error.exit_code = 2 if status == 2 else 1
    return error


def _stopped(number: int) -> RidecastError:
    """What to raise for a run that a signal kept from its end: a script must not take it for done."""
    how = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    error = RidecastError(f"stopped by {how} before the end of the rides; the same command goes on")
    error.exit_code = 128 + number  # as shells say it
    return error


def free_addresses(count: int) -> list[str]:
    """That many loopback addresses with ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for held in sockets:
            held.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{held.getsockname()[1]}" for held in sockets]
    finally:
        for held in sockets:
            held.close()
