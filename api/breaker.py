"""When requests that need a store are refused at once, because the stores answered nobody a moment ago.

Pure: the clock and the randomness are passed in. Without it every request to a store that is suspended would wait for its
limit. After a failure requests are refused for a short time, longer after each failure in a row; then one of them tries.
The first answer, of a request or of a probe, ends it.
"""

import threading
from collections.abc import Callable

from ledger.store.waiting import Patience

BRIEF = Patience(first_s=0.5, longest_s=5.0)
TRIAL_S = 2.0  # a request that tries the stores has failed or succeeded by then


class Breaker:
    """Open (requests are refused) or closed; may be used from several threads.

    Args:
        lot: Uniform randomness in [0, 1), which spreads the tries of several processes.
        clock: Monotonic seconds.
        heard_since: Whether an answer of the stores came since a time.
        patience: How long requests are refused.
    """

    def __init__(
        self,
        lot: Callable[[], float],
        clock: Callable[[], float],
        heard_since: Callable[[float], bool],
        patience: Patience = BRIEF,
    ) -> None:
        self._lot, self._clock, self._heard_since, self._patience = lot, clock, heard_since, patience
        self._failures = 0  # in a row
        self._failed_s = 0.0  # when the last of them was
        self._until_s = 0.0  # until then requests are refused
        self._lock = threading.Lock()

    def refused_s(self) -> float:
        """How long the stores are not asked; 0.0 lets the caller ask them. While it is open, one caller at a time may."""
        with self._lock:
            now_s = self._clock()
            if self._failures and self._heard_since(self._failed_s):
                self._failures = 0
            if not self._failures:
                return 0.0
            if now_s < self._until_s:
                return self._until_s - now_s
            self._until_s = now_s + TRIAL_S  # for the others, until this one is back
            return 0.0

    def failed(self) -> None:
        """The stores did not answer a request. Of requests that were under way at once only the first counts."""
        with self._lock:
            now_s = self._clock()
            if not self._failures or now_s - self._failed_s > self._patience.first_s:
                self._failures += 1
            self._failed_s = now_s
            self._until_s = now_s + self._patience.wait_s(self._failures, self._lot())

    def succeeded(self) -> None:
        """They answered one."""
        with self._lock:
            self._failures = 0
