"""Whether each store answers, asked again and again in the background, so that the answer is at hand at any time."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger.views.follow import Stop

log = logging.getLogger(__name__)

EVERY_S = 0.5
ANSWER_WITHIN_S = 1.0  # a store that runs answers in milliseconds


@dataclass(frozen=True, slots=True)
class StoreState:
    """One store as last seen.

    Attributes:
        ok: Whether it answers.
        ms: Time that its last answer took; None before the first.
        age_s: Time since its last answer; None before the first.
    """

    name: str
    ok: bool
    ms: float | None
    age_s: float | None


class Probe:
    """Asks one store. `ask` may hang with its store; reading the state never waits.

    Args:
        name: Of the store.
        ping: The smallest request that the store must be able to answer; raises if it cannot.
        needed: Whether nothing can be answered without it.
        clock: Monotonic seconds.
    """

    def __init__(self, name: str, ping: Callable[[], object], *, needed: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self.needed = name, needed
        self._ping, self._clock = ping, clock
        self._asked_s: float | None = None  # when the open request was sent
        self._good_asked_s: float | None = None  # when the last answered request was sent
        self._good_s = 0.0  # when it was answered
        self._failed: Exception | None = None
        self._said_ok = True

    def ask(self) -> None:
        """Ask once."""
        asked_s = self._asked_s = self._clock()
        try:
            self._ping()
        except Exception as cause:  # Whatever a failing store raises, its state must be known.
            self._failed = cause
        else:
            self._good_asked_s, self._good_s, self._failed = asked_s, self._clock(), None
        self._asked_s = None

    def run(self, stop: Stop) -> None:
        """Ask until `stop` is set."""
        while not stop.is_set():
            self.ask()
            stop.wait(EVERY_S)

    def say_changes(self) -> None:
        """Log when the store has stopped answering, or answers again; to be called again and again."""
        state, cause = self.state(), self._failed
        if state.ok is not self._said_ok:
            if state.ok:
                log.info("%s answers again", self.name)
            elif cause is not None or state.age_s is not None:
                log.error("%s does not answer: %s", self.name, cause or f"last answer {state.age_s:.1f} s ago")
            else:
                return  # not asked yet
            self._said_ok = state.ok

    def state(self) -> StoreState:
        """The store as last seen."""
        now_s, asked_s, good_asked_s = self._clock(), self._asked_s, self._good_asked_s
        hangs = asked_s is not None and now_s - asked_s > ANSWER_WITHIN_S
        if good_asked_s is None:
            return StoreState(self.name, False, None, None)
        ms = round((self._good_s - good_asked_s) * 1000, 3)
        return StoreState(self.name, self._failed is None and not hangs, ms, round(max(0.0, now_s - self._good_s), 1))

    def answered_since(self, at_s: float) -> bool:
        """Whether a request that was sent after a time, monotonic seconds, was answered."""
        return self._good_asked_s is not None and self._good_asked_s >= at_s

    def heard_since(self, at_s: float) -> bool:
        """Whether an answer came after a time, whenever it was asked for."""
        return self._good_asked_s is not None and self._good_s >= at_s


class Probes:
    """The probes of all stores.

    Args:
        probes: One for each store.
    """

    def __init__(self, probes: Sequence[Probe]) -> None:
        self._probes = {probe.name: probe for probe in probes}
        self.running = False

    def start(self, stop: Stop) -> None:
        """Ask every store in a thread of its own until `stop` is set."""
        self.running = True
        for probe in self._probes.values():
            # A daemon: it hangs with its store, and must not keep the process from ending.
            threading.Thread(target=probe.run, args=(stop,), name=f"probe of {probe.name}", daemon=True).start()
        threading.Thread(target=self._say_changes, args=(stop,), name="probes", daemon=True).start()

    def _say_changes(self, stop: Stop) -> None:
        while not stop.wait(EVERY_S):
            for probe in self._probes.values():
                probe.say_changes()

    def ask(self) -> None:
        """Ask every store once, now."""
        for probe in self._probes.values():
            probe.ask()

    def states(self) -> list[StoreState]:
        """Every store as last seen."""
        return [probe.state() for probe in self._probes.values()]

    def ok(self, name: str) -> bool:
        """Whether a store answers; also true before anything was asked."""
        return not self.running or self._probes[name].state().ok

    def needed(self, name: str) -> bool:
        """Whether nothing can be answered without a store."""
        return self._probes[name].needed

    def answered_since(self, at_s: float) -> bool:
        """Whether every needed store answered a request that was sent after a time; true while nothing asks."""
        return not self.running or all(probe.answered_since(at_s) for probe in self._probes.values() if probe.needed)

    def heard_since(self, at_s: float) -> bool:
        """Whether an answer of every needed store came after a time, whenever it was asked for; true while nothing asks."""
        return not self.running or all(probe.heard_since(at_s) for probe in self._probes.values() if probe.needed)
