"""What a service manager and an init process expect: the state of the run over systemd's socket, and the reaping of orphans.

The protocol is a few lines of text in a datagram, see sd_notify(3). Without NOTIFY_SOCKET nothing is sent.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

SOCKET, WATCHDOG_US, WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
VARIABLES = (SOCKET, WATCHDOG_US, WATCHDOG_PID)  # of this process alone: children must not inherit them
STATUS_EVERY_S = 5.0


class ServiceSocket:
    """Tells a service manager how the run is; never blocks and never fails.

    Args:
        address: Path of the socket, or @NAME in the abstract namespace; empty: nobody listens.
        watchdog_s: The manager restarts the run unless it hears from it so often; 0: it does not.
        clock: Monotonic seconds.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._every_s, self._clock = watchdog_s / 3, clock
        self._alive_at_s = self._status_at_s = float("-inf")
        self._state = ""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "ServiceSocket":
        """The socket that the environment names."""
        ours = environ.get(WATCHDOG_PID, str(os.getpid())) == str(os.getpid())
        watchdog_us = environ.get(WATCHDOG_US, "") if ours else ""
        return cls(environ.get(SOCKET, ""), int(watchdog_us) / 1e6 if watchdog_us.isdigit() else 0.0)

    def ready(self) -> None:
        """The run has begun its work."""
        self._send("READY=1", *([f"STATUS={self._state}"] if self._state else []))

    def alive(self) -> None:
        """The supervisor works; sent as often as the manager's watchdog needs."""
        now_s = self._clock()
        if self._every_s and now_s - self._alive_at_s >= self._every_s:
            self._alive_at_s = now_s
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """The state in words; sent every few seconds if it changed."""
        now_s = self._clock()
        if text != self._state and now_s - self._status_at_s >= STATUS_EVERY_S:
            self._status_at_s, self._state = now_s, text
            self._send(f"STATUS={text}")

    def stopping(self) -> None:
        """The run is ending."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto("\n".join(lines).encode(), self._address)


def reap_orphans(own: set[int]) -> int:
    """As process 1, collect the exit status of processes that others left behind; returns how many.

    Args:
        own: Children whose exit status somebody else reads.
    """
    if os.getpid() != 1:
        return 0
    reaped = 0
    with suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if ended.si_pid in own:  # seen first time and again until its owner reads it, in the next turn
                break
            os.waitpid(ended.si_pid, os.WNOHANG)
            reaped += 1
    return reaped
