"""The state of a run in words, looked up in a thread of its own: whoever shows it gets the last answer at once, with its age.

The look-up reads a ledger that may be away or hang. It only watches, so that must neither stop nor delay the run.
"""

import threading
import time
from collections.abc import Callable

from schemas.errors import RidecastError

LOOK_EVERY_S = 0.25
AGED_AFTER_S = 5.0
LAST_WORD_S = 3.0


class LastKnown:
    """The last answer of a look-up.

    Args:
        look: Returns the state in words.
        before: Shown until the first answer.
        clock: Monotonic seconds.
    """

    def __init__(self, look: Callable[[], str], before: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._look, self._clock = look, clock
        self._answer, self._answered_at_s, self._why = before, clock(), ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def text(self) -> str:
        """The last answer; with its age if it is old."""
        age_s = self._clock() - self._answered_at_s
        if age_s < AGED_AFTER_S:
            return self._answer
        why = f": {self._why}" if self._why else ""
        return f"{self._answer}  (as of {age_s:.0f} s ago{why})"

    def once(self) -> None:
        """Look once; an error leaves the last answer."""
        try:
            self._answer = self._look()
        except Exception as error:  # whatever only watches ends nothing
            self._why = str(error) if isinstance(error, RidecastError) else repr(error)
        else:
            self._answered_at_s, self._why = self._clock(), ""

    def end(self, last: Callable[[], str]) -> str:
        """Stop looking; returns what a last look-up says, or the last answer if that fails or takes too long."""
        self._ended.set()
        found: list[str] = []

        def ask() -> None:
            self._thread.join()
            self._look = last
            self.once()
            if not self._why:
                found.append(self._answer)

        asking = threading.Thread(target=ask, name="last word", daemon=True)
        asking.start()
        asking.join(LAST_WORD_S)
        return found[0] if found else self.text()

    def _run(self) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            self.once()
