"""Stops a process: SIGTERM and SIGINT set one stop event, which is passed down to every loop.

Loops take the protocol `ledger.views.follow.Stop` and know nothing about signals. No other module handles signals.
Every loop looks at the event in each turn, so the looks also show that the process works: see `StopEvent.on_look`.
"""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# A terminal and a program between it and us may both pass on one Ctrl-C: so soon after the first it is no second request.
SAME_REQUEST_S = 0.5
LOOK_EVERY_S = 1.0  # a loop that waits longer looks so often


def nothing() -> None:
    """Do nothing."""


class StopEvent:
    """An event that a signal handler may set while the same thread waits for it, which `threading.Event` does not promise.

    Args:
        on_look: Called whenever a loop looks whether to stop; a loop that hangs does not look.

    Attributes:
        number: The first signal received, 0 for none.
        starting: The process is not at work yet, and may be busy for long: looks are not passed on.
    """

    def __init__(self, on_look: Callable[[], None] = nothing) -> None:
        self.number = 0
        self.starting = False
        self._on_look = on_look
        self._is_set = False
        self._asked_at_s = 0.0
        self._again: Callable[[int], None] | None = None
        self._wake: SimpleQueue[None] = SimpleQueue()  # Its put is documented as reentrant, which a signal handler needs.

    def is_set(self) -> bool:
        """Whether a stop was requested."""
        self._look()
        return self._is_set

    def set(self) -> None:
        """Request a stop; a second request has no effect."""
        self._is_set = True
        self._wake.put(None)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for a stop request, at most `timeout` seconds; returns whether there is one."""
        end_s = None if timeout is None else time.monotonic() + timeout
        while True:
            self._look()
            left_s = LOOK_EVERY_S if end_s is None else min(LOOK_EVERY_S, end_s - time.monotonic())
            if self._is_set or left_s <= 0:
                return self._is_set
            with suppress(Empty):
                self._wake.get(timeout=left_s)
                self._wake.put(None)  # for other waiting threads

    def listen(self, again: Callable[[int], None] | None = None) -> None:
        """Handle SIGTERM and SIGINT from now on; call it in the main thread.

        Args:
            again: Called in the signal handler, wherever the main thread is, with the number of a further signal.
        """
        self._again = again
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _look(self) -> None:
        if not self.starting:
            self._on_look()

    def _on_signal(self, number: int, _: object) -> None:
        now_s = time.monotonic()
        if not self.number:
            self.number, self._asked_at_s = number, now_s
        elif self._again is not None and now_s - self._asked_at_s > SAME_REQUEST_S:
            self._again(number)
        self.set()


def stop_on_signals(on_look: Callable[[], None] = nothing) -> StopEvent:
    """An event that SIGTERM and SIGINT set from now on."""
    stop = StopEvent(on_look)
    stop.listen()
    return stop
