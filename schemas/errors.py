"""The tree of errors.

RidecastError
├── UsageError            invalid input from the user; exit code 2
│   └── ConfigError       a setting is missing, malformed or out of bounds
├── ContractError         an invariant of our code is broken; a bug, never caused by data
│   ├── DiscontinuityError   an offset range does not continue the previous one
│   └── DivergenceError      the same place holds different content
├── StoreUnavailable      a disk, broker or database does not work
│   ├── AccessRefused        a server does not accept our credentials, or our rights do not suffice
│   └── PeerEnded            another process of the same cluster has ended
├── SourceMoved           the ride log has changed under a running process; it resumes when it starts again
├── Fenced                another process has taken over the writing
├── RegionsHalted         some regions of a bounded run stopped early, because of errors of their own
├── LedgerError           the ledger refuses an operation
│   ├── ExpectedSizeError    another writer appended first
│   ├── BootRefused          the external checkpoint and the database disagree
│   └── DamagedError         stored bytes do not match their hash
├── NothingUsable         a bounded run read events, and none of them could be counted
└── NotFound              the requested object does not exist

Bad data from outside is not an error: it is a value, `schemas.events.rides.Rejected`.
`fault_of` says which errors heal by themselves, and so which of them are waited for.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from schemas.secrets import clean

VERIFY_LEDGER = "run `ridecast ledger verify`"  # the remedy for bytes that are not what they should be


class RidecastError(Exception):
    """Base of every error that Ridecast raises on purpose; its text can be shown to users, since it contains no known secret.

    Args:
        text: What was expected and what was found.
        remedy: What the user can do about it; appended to the text after a semicolon.

    >>> str(RidecastError("region nyc: not bootstrapped", remedy="run `ridecast bootstrap`"))
    'region nyc: not bootstrapped; run `ridecast bootstrap`'
    """

    exit_code = 1

    def __init__(self, text: str = "", *, remedy: str = "") -> None:
        super().__init__(clean(f"{text}; {remedy}" if remedy else text))
        self.remedy = remedy


class UsageError(RidecastError):
    """Invalid input from the user; the text says what was expected, what was given, and where."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is missing, malformed or out of its bounds."""


class ContractError(RidecastError):
    """An invariant of our code is broken; never caused by data."""


class DiscontinuityError(ContractError):
    """An offset range does not continue the previous range."""


class DivergenceError(ContractError):
    """The same place of a log, or the same digest, would hold different content."""


class StoreUnavailable(RidecastError):
    """A disk, broker or database does not answer; raised from the original error."""


class AccessRefused(StoreUnavailable):
    """A server does not accept our credentials, or our rights do not suffice; waiting does not help."""


class PeerEnded(StoreUnavailable):
    """Another process of the same cluster has ended; it reports the reason itself."""


class SourceMoved(RidecastError):
    """The ride log is no longer as it was when this process started: it must start again, and then records what changed."""

    exit_code = 4  # tells a supervisor to start the process again without counting a failure


class Fenced(RidecastError):
    """Another process has taken over the writing; this process must stop."""


class RegionsHalted(RidecastError):
    """Regions stopped because of errors of their own: some of a bounded run, whose others reached the end, or all of a run."""


class NothingUsable(RidecastError):
    """A bounded run read events, and none of them could be counted."""


class LedgerError(RidecastError):
    """The ledger refuses an operation to keep its guarantees."""


class ExpectedSizeError(LedgerError):
    """Another writer appended first: the log has another size than the writer expected."""


class BootRefused(LedgerError):
    """The checkpoint outside the database is ahead of the database, or contradicts it."""


class DamagedError(LedgerError):
    """Stored bytes do not hash to the digest that names them."""


class NotFound(RidecastError):
    """The requested object does not exist; the text lists what does."""


class Fault(StrEnum):
    """What helps against an error."""

    TRANSIENT = "transient"  # it heals by itself: wait, then try again
    PERMANENT = "permanent"  # it stays until somebody acts on the remedy: stop
    BUG = "bug"  # of ours: trying again helps sometimes, so a few times


# The row of the nearest base class decides.
FAULTS: Mapping[type[BaseException], Fault] = MappingProxyType(
    {
        UsageError: Fault.PERMANENT,
        ContractError: Fault.BUG,
        StoreUnavailable: Fault.TRANSIENT,
        AccessRefused: Fault.PERMANENT,
        SourceMoved: Fault.TRANSIENT,
        Fenced: Fault.TRANSIENT,  # the other process may be the one that this one replaced
        RegionsHalted: Fault.PERMANENT,
        NothingUsable: Fault.PERMANENT,
        LedgerError: Fault.PERMANENT,
        ExpectedSizeError: Fault.TRANSIENT,  # what was read is out of date: the next try reads it again
        NotFound: Fault.PERMANENT,
        OSError: Fault.TRANSIENT,  # a disk, a connection or a limit of the system
        BaseException: Fault.BUG,
    }
)


def fault_of(error: BaseException) -> Fault:
    """What helps against an error.

    >>> fault_of(AccessRefused("password")), fault_of(StoreUnavailable("broker")), fault_of(KeyError("slot"))
    (<Fault.PERMANENT: 'permanent'>, <Fault.TRANSIENT: 'transient'>, <Fault.BUG: 'bug'>)
    """
    return next(FAULTS[kind] for kind in type(error).__mro__ if kind in FAULTS)
