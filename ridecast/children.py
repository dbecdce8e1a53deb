"""Child processes: how one is started, watched and stopped, and that none outlives its supervisor."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from ridecast.endings import Ending
from ridecast.heartbeat import VARIABLE, Pulse
from ridecast.relay import LastError, Relay

STOP_WITHIN_S = 6.0  # then a child is killed; whoever stops the run expects its end within 8 s
LOOK_EVERY_S = 0.05


@dataclass(slots=True)
class Child:
    """One child process: its role, its arguments, and its handle while it runs."""

    role: str
    arguments: list[str]
    process: subprocess.Popen[bytes] | None = None
    reader: threading.Thread | None = None
    pulse: Pulse | None = None
    said: LastError | None = None
    hung_s: float = 0.0  # how long it was silent when it was killed for that
    refused: str = ""  # why the system did not start it

    def start(self, environment: Mapping[str, str], relay: Relay, inherited: Sequence[int] = ()) -> None:
        """Start a new process that inherits some descriptors."""
        self.hung_s, self.refused, self.said = 0.0, "", LastError()
        self.pulse = pulse = Pulse(time.monotonic())
        command = [sys.executable, "-m", "ridecast", "worker", "--tied", *self.arguments]
        try:
            # In its own session, so that Ctrl-C reaches only the supervisor, which then stops all children cleanly.
            self.process = subprocess.Popen(
                command,
                env={**environment, VARIABLE: str(pulse.writing)},
                start_new_session=True,
                pass_fds=(*inherited, pulse.writing),
                stdin=lifeline()[0],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as cause:  # no memory or no process left: perhaps later
            pulse.close()
            self.process, self.pulse, self.refused = None, None, f"the system did not start it: {cause.strerror}"
            return
        finally:
            pulse.hand_over()
        assert self.process.stdout is not None
        self.reader = relay.follow(self.process.stdout, self.role, self.said)

    @property
    def runs(self) -> bool:
        """Whether its process exists."""
        return self.process is not None and self.process.poll() is None

    @property
    def works(self) -> bool:
        """Whether it runs and its loop has turned."""
        return self.runs and self.pulse is not None and self.pulse.begun

    def poll(self, now_s: float, limit_s: float) -> Ending | None:
        """How it ended, or None while it runs; a child that is silent for longer than the limit is killed."""
        if self.process is None:
            return Ending(refused=self.refused) if self.refused else None
        status = self.process.poll()
        if status is None and self.pulse is not None and self.pulse.hangs(now_s, limit_s):
            self.hung_s = self.pulse.silent_s(now_s)
            self.kill()
            status = self.process.wait()
        if status is None:
            return None
        self.finish_output()
        return Ending(status, hung_s=self.hung_s, last_error=self.said.text if self.said else "")

    def terminate(self) -> None:
        """Ask it to stop."""
        if self.process is not None and self.runs:
            self.process.terminate()

    def kill(self) -> None:
        """End it now; it loses nothing but time, since the ledger says where to go on."""
        if self.process is not None and self.runs:
            os.kill(self.process.pid, signal.SIGKILL)

    def finish_output(self) -> None:
        """Wait until its remaining output has been passed on."""
        if self.reader is not None:
            self.reader.join(1.0)
        if self.pulse is not None and not self.runs:
            self.pulse.close()
            self.pulse = None


def stop_all(children: Sequence[Child], within_s: float | None = None, meanwhile: Callable[[], None] = lambda: None) -> list[Child]:
    """Ask children to stop, together; kill those that have not ended in time.

    Args:
        within_s: None for STOP_WITHIN_S.
        meanwhile: Called repeatedly while they stop.
    Returns:
        Those that had to be killed.
    """
    for child in children:
        child.terminate()
    give_up_at_s = time.monotonic() + (STOP_WITHIN_S if within_s is None else within_s)
    while any(child.runs for child in children) and time.monotonic() < give_up_at_s:
        meanwhile()
        time.sleep(LOOK_EVERY_S)
    late = [child for child in children if child.runs]
    for child in late:
        child.kill()
    for child in children:
        if child.process is not None:
            child.process.wait()
        child.finish_output()
    return late


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


def end_group_with_parent() -> None:
    """End all processes of this group when standard input closes: what a job started ends with the scheduler of the job."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os.killpg(os.getpgrp(), signal.SIGTERM)
        time.sleep(STOP_WITHIN_S)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


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
