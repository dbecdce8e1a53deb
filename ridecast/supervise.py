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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from schemas.errors import RidecastError

STOP_WITHIN_S = 20.0
RESTART_AFTER_S = 0.5
STEADY_AFTER_S = 60.0
MOST_RESTARTS = 5  # in a row, each before a steady minute: then it is not a passing fault


@dataclass(slots=True)
class Child:
    """One child process: its role, its arguments, and itself while it runs."""

    role: str
    arguments: list[str]
    process: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it anew."""
        command = [sys.executable, "-m", "ridecast", "worker", "--tied", *self.arguments]
        # A session of its own, so that Ctrl-C reaches the supervisor alone, which then stops all in order.
        self.process = subprocess.Popen(command, env=dict(environment), start_new_session=True, stdin=lifeline()[0])

    def poll(self) -> int | None:
        """Exit status, or None while it runs or before it was started."""
        return self.process.poll() if self.process else None


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
    """

    environment: dict[str, str]
    regions: Sequence[str]
    processes: int
    bounded: bool
    companions: Sequence[str]
    _forecasters: list[Child] = field(default_factory=list)
    _others: list[Child] = field(default_factory=list)
    _stopping: bool = False

    def run(self, on_tick: Callable[[], None]) -> None:
        """Run to the end; `on_tick` is called several times a second.

        Raises:
            RidecastError: children keep dying.
        """
        # A forecaster may end by itself only in a bounded run.
        signal.signal(signal.SIGTERM, self._ask_to_stop)
        signal.signal(signal.SIGINT, self._ask_to_stop)
        self._others = [Child(role, [role, "--regions", ",".join(self.regions)]) for role in self.companions]
        for child in self._others:
            child.start(self.environment)
        restarts, started = 0, time.monotonic()
        self._start_forecasters()
        try:
            while not self._stopping:
                time.sleep(0.1)
                on_tick()
                statuses = [child.poll() for child in self._forecasters]
                if any(statuses):
                    restarts = 1 if time.monotonic() - started > STEADY_AFTER_S else restarts + 1
                    self._stop(self._forecasters)
                    # A wrong setting does not pass by itself: status 2 ends the run at once.
                    worst = next(status for status in statuses if status)
                    if worst == 2 or restarts > MOST_RESTARTS:
                        raise RidecastError(
                            f"forecaster ended with status {worst}" + (f", {restarts} times in a row" if restarts > 1 else "")
                        )
                    time.sleep(RESTART_AFTER_S)
                    started = time.monotonic()
                    self._start_forecasters()
                elif all(status == 0 for status in statuses):
                    break
                self._revive()
            on_tick()
        finally:
            self._stop(self._forecasters)
            self._stop(self._others)
        if self.bounded and not self._stopping:
            self._drain()

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
            child.start(self.environment)
            self._forecasters.append(child)

    def _revive(self) -> None:
        for child in self._others:
            status = child.poll()
            if status == 2:
                raise RidecastError(f"{child.role} ended with status 2: see its message above")
            if status is not None:
                time.sleep(RESTART_AFTER_S)
                child.start(self.environment)

    def _drain(self) -> None:
        """Publish what the run has recorded, then end."""
        child = Child("publish", ["publish", "--regions", ",".join(self.regions), "--drain"])
        child.start(self.environment)
        assert child.process is not None
        if status := child.process.wait():
            raise RidecastError(f"publisher ended with status {status}")

    def _ask_to_stop(self, *_: object) -> None:
        self._stopping = True

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
