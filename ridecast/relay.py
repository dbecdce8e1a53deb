"""Passes on the output of child processes: repeated lines once, and without the debugging output of libraries."""

import os
import re
import threading
import time
from collections.abc import Callable
from typing import IO

from schemas.secrets import clean

REPEAT_AFTER_S = 60.0  # a child that restarts repeatedly prints the same lines each time
STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")
# When one process of a cluster dies, the connections of the others panic: one line, its text, and a hint about backtraces.
PANIC = re.compile(r"^thread '.*' panicked at ")
# Processes of a cluster log their attempts to connect.
MEETING = re.compile(r"^worker \d+:\t(error connecting|connection) ")
HINT = re.compile(r"^note: (run with `RUST_BACKTRACE|Some details are omitted)")


class Relay:
    """Passes lines on to a display.

    Args:
        show: Displays one line; called from several threads, one at a time.
        everything: Pass on every line unchanged, for debugging.
        clock: Monotonic seconds.
    """

    def __init__(self, show: Callable[[str], None], *, everything: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._show, self._everything, self._clock = show, everything, clock
        self._shown_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def follow(self, stream: IO[bytes]) -> threading.Thread:
        """Pass on the lines of a stream until it ends, in a new thread."""
        thread = threading.Thread(target=self.lines, args=(stream,), name="relay", daemon=True)
        thread.start()
        return thread

    def lines(self, stream: IO[bytes]) -> None:
        """Pass on the lines of a stream until it ends."""
        in_panic = False
        with stream:
            for raw in stream:
                text = clean(raw.decode("utf-8", "replace").rstrip())
                if self._everything:
                    self._show(text)
                elif PANIC.match(text):
                    in_panic = True
                elif in_panic or HINT.match(text) or MEETING.match(text):
                    in_panic = False
                elif text:
                    self._once(text)

    def _once(self, text: str) -> None:
        key = STAMP.sub("", text)
        with self._lock:
            now = self._clock()
            if now - self._shown_at.get(key, -REPEAT_AFTER_S) >= REPEAT_AFTER_S:
                self._shown_at[key] = now
                self._show(text)


def traceback_wanted() -> bool:
    """Whether RIDECAST_TRACEBACK is set."""
    return bool(os.environ.get("RIDECAST_TRACEBACK"))
