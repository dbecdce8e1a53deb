"""Stops a process: SIGTERM and SIGINT set one stop event, which is passed down to every loop.

Loops take the protocol `ledger.views.follow.Stop` and know nothing about signals. No other module handles signals.
"""

import signal
from contextlib import suppress
from queue import Empty, SimpleQueue

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopEvent:
    """An event that a signal handler may set while the same thread waits for it, which `threading.Event` does not promise.

    Attributes:
        number: The first signal received, 0 for none.
    """

    def __init__(self) -> None:
        self.number = 0
        self._is_set = False
        self._wake: SimpleQueue[None] = SimpleQueue()  # Its put is documented as reentrant, which a signal handler needs.

    def is_set(self) -> bool:
        """Whether a stop was requested."""
        return self._is_set

    def set(self) -> None:
        """Request a stop; a second request has no effect."""
        self._is_set = True
        self._wake.put(None)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for a stop request, at most `timeout` seconds; returns whether there is one."""
        if not self._is_set and (timeout is None or timeout > 0):
            with suppress(Empty):
                self._wake.get(timeout=timeout)
                self._wake.put(None)  # for other waiting threads
        return self._is_set

    def listen(self) -> None:
        """Handle SIGTERM and SIGINT from now on; call it in the main thread."""
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _: object) -> None:
        self.number = self.number or number
        self.set()


def stop_on_signals() -> StopEvent:
    """An event that SIGTERM and SIGINT set from now on."""
    stop = StopEvent()
    stop.listen()
    return stop
