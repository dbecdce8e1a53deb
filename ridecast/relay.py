"""What children print, passed on to the person who watches: each thing once, and nothing that only a debugger reads."""

import os
import re
import threading
import time
from collections.abc import Callable
from typing import IO

SAY_AGAIN_S = 60.0  # a child that is started again and again says the same again and again
STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")
# When one process of a cluster dies, the connections of the others panic: one line, its text, and a hint about stacks.
PANIC = re.compile(r"^thread '.*' panicked at ")
# Processes of a cluster meet in their own time, and say so.
MEETING = re.compile(r"^worker \d+:\t(error connecting|connection) ")
HINT = re.compile(r"^note: (run with `RUST_BACKTRACE|Some details are omitted)")


class Relay:
    """Passes lines on.

    Args:
        say: Shows one line to the person; called from several threads, one at a time.
        everything: Pass on every line as it is, for whoever looks for a fault of ours.
        clock: Monotonic seconds.
    """

    def __init__(self, say: Callable[[str], None], *, everything: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._everything, self._clock = say, everything, clock
        self._said: dict[str, float] = {}
        self._lock = threading.Lock()

    def follow(self, stream: IO[bytes]) -> threading.Thread:
        """Pass on the lines of a stream until it ends, in a thread of its own."""
        thread = threading.Thread(target=self.lines, args=(stream,), name="relay", daemon=True)
        thread.start()
        return thread

    def lines(self, stream: IO[bytes]) -> None:
        """Pass on the lines of a stream until it ends."""
        in_panic = False
        with stream:
            for raw in stream:
                text = raw.decode("utf-8", "replace").rstrip()
                if self._everything:
                    self._say(text)
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
            if now - self._said.get(key, -SAY_AGAIN_S) >= SAY_AGAIN_S:
                self._said[key] = now
                self._say(text)


def wants_everything() -> bool:
    """Whether a person asked where errors come from."""
    return bool(os.environ.get("RIDECAST_TRACEBACK"))
