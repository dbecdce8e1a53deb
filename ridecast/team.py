"""Processes that are restarted together: when they are tried again, how long that goes on, and what is said about it.

The forecasters of a run are one team, because if one process of a Bytewax cluster dies the others end too; each companion
is a team of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ledger.store.waiting import Failures, Patience, failed
from ridecast.children import Child, stop_all
from ridecast.endings import HALTED_STATUS, RESTART_STATUS, USAGE_STATUS, Ending
from ridecast.logs import Reporter
from ridecast.relay import Relay
from schemas.errors import Fault, RidecastError

MOST_BUGS = 5  # in a row, without a minute of stable work in between: then another try does not help either
# A companion whose error stays until somebody acts is tried again all the same: somebody may have acted.
COMPANION_AGAIN_S = 300.0
HALTED_EXIT = 3  # of a bounded run some of whose regions halted
RESTART_WITHIN_S = 2.0  # the others of a cluster end by themselves when one has ended; the run itself may be told to stop meanwhile


@dataclass(frozen=True, slots=True)
class Care:
    """What all teams of a run share.

    Attributes:
        environment: Of the children.
        relay: Passes on their output.
        reporter: Says how they end and when they are tried again.
        inherited: Descriptors that they keep open while they run.
        hang_after_s: A child that is silent for so long is killed.
        patience: How long to wait between two tries.
        lot: Uniform randomness in [0, 1), which spreads the waits.
    """

    environment: Mapping[str, str]
    relay: Relay
    reporter: Reporter
    inherited: Sequence[int]
    hang_after_s: float
    patience: Patience
    lot: Callable[[], float]


@dataclass(slots=True)
class Team:
    """One or more children that start and end together.

    Args:
        name: As people are told.
        care: What all teams share.
        make: Makes the children, not started.
        ends: Whether they end by themselves when their work is done.
        optional: Whether the run goes on without it: every error is tried again, for ever.
        give_up_after_s: Longest series of failures that heal by waiting; None: no limit.
    """

    name: str
    care: Care
    make: Callable[[], list[Child]]
    ends: bool = False
    optional: bool = False
    give_up_after_s: float | None = None
    children: list[Child] = field(default_factory=list)
    failures: Failures | None = None
    done: bool = False
    _started_at_s: float = 0.0
    _again_at_s: float | None = None

    def start(self, now_s: float) -> None:
        """Start new children."""
        self.children, self._again_at_s, self._started_at_s = self.make(), None, now_s
        for child in self.children:
            child.start(self.care.environment, self.care.relay, self.care.inherited)

    @property
    def works(self) -> bool:
        """Whether every child has begun its work."""
        return bool(self.children) and all(child.works for child in self.children)

    def look(self, now_s: float) -> None:
        """Notice children that ended or hang, and start them again when it is time.

        Raises:
            RidecastError: trying again does not help, or has not for too long; it carries the exit code of the run.
        """
        if self._again_at_s is not None:
            if now_s >= self._again_at_s:
                self.start(now_s)
            return
        if self.done:
            return
        endings = [child.poll(now_s, self.care.hang_after_s) for child in self.children]
        ended = [ending for ending in endings if ending is not None]
        if self.ends:
            self.done = len(ended) == len(endings) and all(ending == Ending() for ending in ended)
            ended = [ending for ending in ended if ending.status or ending.refused]
        if ended:
            stop_all(self.children, RESTART_WITHIN_S)
            self._try_again(max(ended, key=lambda ending: ending.severity), now_s)

    def _try_again(self, ending: Ending, now_s: float) -> None:
        if ending.status == RESTART_STATUS:
            self.failures, self._again_at_s = None, now_s
            self.care.reporter.info(f"{self.name} {ending.how}")
            return
        patience, fault = self.care.patience, ending.fault
        # A silence is not work: what hangs time and again is one series.
        worked_s = now_s - self._started_at_s - ending.hung_s
        self.failures = found = failed(self.failures, now_s, worked_s=worked_s, bug=fault is Fault.BUG, patience=patience)
        # Where every region has halted, companions serve what there is, as long as the run has no end.
        stays = self.optional or (ending.status == HALTED_STATUS and not self.ends)
        if not stays and (fault is Fault.PERMANENT or found.bugs > MOST_BUGS):
            raise self._ended(ending, found.count)
        lasted_s = found.lasted_s(now_s)
        if self.give_up_after_s is not None and lasted_s >= self.give_up_after_s:
            raise self._ended(ending, found.count, f" for {lasted_s:.0f} s (setting wait_limit_s)")
        wait_s = COMPANION_AGAIN_S if fault is Fault.PERMANENT else patience.wait_s(found.count, self.care.lot())
        self._again_at_s = now_s + wait_s
        rest = "; the rest of the run goes on" if stays else ""
        self.care.reporter.warning(f"{self.name} {ending.how}; restarting in {wait_s:.1f} s, try {found.count + 1}{rest}")

    def _ended(self, ending: Ending, times: int, lasted: str = "") -> RidecastError:
        """The error that ends the run; it repeats the last error of the child, which may have scrolled away."""
        series = f", {times} times in a row{lasted}" if times > 1 else ""
        error = RidecastError(f"{self.name} {ending.how}{series}")
        error.exit_code = {USAGE_STATUS: USAGE_STATUS, HALTED_STATUS: HALTED_EXIT}.get(ending.status, 1)
        return error
