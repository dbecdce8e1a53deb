"""The heartbeat of a child process: bytes in a pipe, as long as its loop turns. A child that hangs or is suspended sends none.

A crash is seen by the end of the process; a hang only by the silence that follows it.
"""

import os
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress

from dataflows.stream.stopping import nothing

VARIABLE = "RIDECAST_HEARTBEAT"  # number of the pipe's descriptor in the child
BEAT_EVERY_S = 0.5
# Before its first beat a process imports packages, opens its stores and may fold a long log again.
START_LIMITS = 10
LONGEST_TURN_S = 1.0


class Heartbeat:
    """The writing end, in a child.

    Args:
        descriptor: Of the pipe; it does not block.
        clock: Monotonic seconds.
    """

    def __init__(self, descriptor: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._descriptor, self._clock = descriptor, clock
        self._beat_at_s = float("-inf")

    def beat(self) -> None:
        """Send a beat, unless one was sent just now; never blocks and never fails."""
        now_s = self._clock()
        if now_s - self._beat_at_s >= BEAT_EVERY_S:
            self._beat_at_s = now_s
            with suppress(OSError):  # the pipe is full, or the supervisor is gone
                os.write(self._descriptor, b".")


def heartbeat_of(environ: MutableMapping[str, str]) -> Callable[[], None]:
    """What a child's loops call in each turn; the variable is removed, so that the child's own children do not inherit it."""
    number = environ.pop(VARIABLE, "")
    if not number.isdigit():
        return nothing
    os.set_blocking(int(number), False)
    return Heartbeat(int(number)).beat


class Pulse:
    """The reading end, in the supervisor: how long a child has been silent.

    Silence is measured in the supervisor's own turns, each of which counts as at most a second: if the whole machine or
    container was suspended, nobody was silent meanwhile.

    Attributes:
        begun: Whether there was a beat.
        writing: Descriptor for the child to inherit.
    """

    def __init__(self, now_s: float) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._looked_at_s = now_s
        self._silent_s = 0.0
        self.begun = False

    def hand_over(self) -> None:
        """Close the writing end here, once the child has it."""
        os.close(self.writing)

    def silent_s(self, now_s: float) -> float:
        """How long there was no beat; call it in every turn."""
        self._silent_s += min(LONGEST_TURN_S, now_s - self._looked_at_s)
        self._looked_at_s = now_s
        with suppress(BlockingIOError):
            if os.read(self._reading, 65_536):
                self._silent_s, self.begun = 0.0, True
        return self._silent_s

    def hangs(self, now_s: float, limit_s: float) -> bool:
        """Whether the silence exceeds the limit, which is longer before the first beat."""
        return self.silent_s(now_s) > (limit_s if self.begun else START_LIMITS * limit_s)

    def close(self) -> None:
        """Close the reading end."""
        os.close(self._reading)
