"""How a child process ended: its exit status, what that means for trying again, and the words for it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ridecast.main import cause_chain
from schemas.errors import Fault, PeerEnded, RegionsHalted, RidecastError, fault_of

USAGE_STATUS = 2  # wrong usage or settings, as everywhere
PERMANENT_STATUS = 3
RESTART_STATUS = 4  # it has not failed, but must start again to take note of something that changed
TRANSIENT_STATUS = 5
PEER_STATUS = 6  # another process of its cluster has ended, which has the reason
HALTED_STATUS = 7  # regions halted: in a bounded run some, in another run all
STATUSES = {Fault.BUG: 1, Fault.PERMANENT: PERMANENT_STATUS, Fault.TRANSIENT: TRANSIENT_STATUS}
FAULTS = {
    0: Fault.BUG,  # a child that has no end has ended
    USAGE_STATUS: Fault.PERMANENT,
    PERMANENT_STATUS: Fault.PERMANENT,
    RESTART_STATUS: Fault.TRANSIENT,
    TRANSIENT_STATUS: Fault.TRANSIENT,
    PEER_STATUS: Fault.TRANSIENT,
    HALTED_STATUS: Fault.PERMANENT,
}
# Signals by which a process fails; all others are sent by somebody, such as the system when it has no memory left.
CRASHES = frozenset((signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGSYS, signal.SIGTRAP))


class ChildError(RidecastError):
    """An error of a child, with the exit code that tells the supervisor what helps."""


def in_child(error: BaseException) -> BaseException:
    """The error as a child reports it: its exit code says what helps. An error with a code of its own, such as wrong usage, keeps it."""
    known = next((cause for cause in cause_chain(error) if isinstance(cause, RidecastError)), error)  # third-party code wraps ours
    if getattr(known, "exit_code", 1) != 1 or (fault := fault_of(known)) is Fault.BUG:
        return error
    text = f"{known.filename or 'system'}: {known.strerror}" if isinstance(known, OSError) and known.strerror else str(known)
    told = ChildError(text)
    own: dict[type[BaseException], int] = {PeerEnded: PEER_STATUS, RegionsHalted: HALTED_STATUS}
    told.exit_code = own.get(type(known), STATUSES[fault])
    return told


@contextmanager
def mark_faults() -> Iterator[None]:
    """Wraps a child's work: see `in_child`."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # Bytewax's panics are not Exceptions
        told = in_child(error)
        if told is error:
            raise
        raise told from error


@dataclass(frozen=True, slots=True)
class Ending:
    """How a child ended.

    Attributes:
        status: Exit status, negative for a signal.
        hung_s: It was killed because it had been silent for so long; 0 otherwise.
        last_error: The last error that it reported, empty for none.
        refused: Why it was not even started.
    """

    status: int = 0
    hung_s: float = 0.0
    last_error: str = ""
    refused: str = ""

    @property
    def fault(self) -> Fault:
        """What helps."""
        if self.refused or self.hung_s:
            return Fault.TRANSIENT
        if self.status < 0:
            return Fault.BUG if -self.status in CRASHES else Fault.TRANSIENT
        return FAULTS.get(self.status, Fault.BUG)

    @property
    def severity(self) -> tuple[bool, bool, bool, bool]:
        """Of children that end together the largest says why: the others have only lost their connection to it."""
        return self.fault is Fault.PERMANENT, self.status == RESTART_STATUS, self.status != PEER_STATUS, bool(self.last_error)

    @property
    def how(self) -> str:
        """What happened, to be read after the name of the process.

        >>> Ending(-9).how, Ending(-9, hung_s=60.2).how, Ending(5, last_error="no broker").how
        ('was killed by SIGKILL', 'did not respond for 60 s and was killed', 'ended with status 5: no broker')
        """
        if self.refused:
            return f"did not start: {self.refused}"
        if self.hung_s:
            return f"did not respond for {self.hung_s:.0f} s and was killed"
        if self.status < 0:
            return f"was killed by {signal_name(-self.status)}"
        said = f": {self.last_error}" if self.last_error else ""
        if self.status == RESTART_STATUS:
            return f"starts again{said}"
        return f"ended with status {self.status}{said}" if self.status or said else "ended unexpectedly"


def signal_name(number: int) -> str:
    """A signal's name.

    >>> signal_name(9), signal_name(200)
    ('SIGKILL', 'signal 200')
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
