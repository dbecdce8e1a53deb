"""Passes on the output of child processes: repeated lines once, and without the debugging output of libraries.

It only watches: whatever happens to the display, a child's output is read, since a child would otherwise hang on a full pipe.
"""

import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from ridecast.logs import error_in, is_line, without_time
from schemas.secrets import clean

REPEAT_AFTER_S = 60.0  # a child that restarts repeatedly prints the same lines each time
STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")  # of libraries that format their own lines
MOST_REMEMBERED = 1_000  # lines; a child may say something else each time
# When one process of a cluster dies, the connections of the others panic: one line, its text, and a hint about backtraces.
PANIC = re.compile(r"^thread '.*' panicked at ")
# Processes of a cluster log their attempts to connect.
MEETING = re.compile(r"^worker \d+:\t(error connecting|connection) ")
HINT = re.compile(r"^note: (run with `RUST_BACKTRACE|Some details are omitted)")


@dataclass(slots=True)
class LastError:
    """The last error that a child reported, empty for none."""

    text: str = ""


class Relay:
    """Passes lines on to a display.

    Args:
        show: Displays one line; called from several threads, one at a time.
        everything: Pass on every line unchanged, for debugging.
        wrap: (role, line) -> line as displayed, for lines that are not in the format of `ridecast.logs`.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        show: Callable[[str], None],
        *,
        everything: bool = False,
        wrap: Callable[[str, str], str] = lambda _, text: text,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shown, self._everything, self._wrap, self._clock = show, everything, wrap, clock
        self._shown_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def follow(self, stream: IO[bytes], role: str = "", said: LastError | None = None) -> threading.Thread:
        """Pass on the lines of a stream until it ends, in a new thread; see `lines`."""
        thread = threading.Thread(target=self.lines, args=(stream, role, said), name="relay", daemon=True)
        thread.start()
        return thread

    def lines(self, stream: IO[bytes], role: str = "", said: LastError | None = None) -> None:
        """Pass on the lines of a stream until it ends.

        Args:
            stream: Output of a child.
            role: Of the child.
            said: Receives the last error of the child.
        """
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
                    self._once(text, role)
                if said is not None:
                    said.text = error_in(text) or said.text

    def _once(self, text: str, role: str) -> None:
        key = STAMP.sub("", without_time(text))
        with self._lock:
            now = self._clock()
            if now - self._shown_at.get(key, -REPEAT_AFTER_S) >= REPEAT_AFTER_S:
                if len(self._shown_at) >= MOST_REMEMBERED:
                    self._shown_at.clear()
                self._shown_at[key] = now
                self._show(text if is_line(text) else self._wrap(role, text))

    def _show(self, text: str) -> None:
        with suppress(Exception):  # a closed display; the child goes on
            self._shown(text)


def traceback_wanted() -> bool:
    """Whether RIDECAST_TRACEBACK is set."""
    return bool(os.environ.get("RIDECAST_TRACEBACK"))
