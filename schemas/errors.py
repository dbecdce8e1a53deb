"""The error tree: what can go wrong, and who has to act.

RidecastError
├── UsageError            the person gave something unusable; exit code 2
│   └── ConfigError       a setting is missing, malformed or out of bounds
├── ContractError         a promise of ours is broken; a bug, never data
│   ├── DiscontinuityError   an offset range does not continue the one before
│   └── DivergenceError      the same place holds different content
├── StoreUnavailable      a broken world: disk, broker, database
├── Fenced                another process has taken over what this one was writing
├── LedgerError           the ledger refuses
│   ├── ExpectedSizeError    somebody else appended first
│   ├── BootRefused          the external checkpoint and the database disagree
│   └── DamagedError         stored bytes do not hash to what was promised
└── NotFound              what was asked for does not exist

Bad data from outside is not here: it is a value, `schemas.events.rides.Rejected`.
"""


class RidecastError(Exception):
    """Base of every error that Ridecast raises on purpose; its text is fit for a person."""

    exit_code = 1


class UsageError(RidecastError):
    """The person gave something unusable: what was expected, what came, and where."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is missing, malformed or out of its bounds."""


class ContractError(RidecastError):
    """A promise of our own code is broken: never caused by data."""


class DiscontinuityError(ContractError):
    """An offset range does not continue the range before it."""


class DivergenceError(ContractError):
    """The same place of a log, or the same digest, would hold different content."""


class StoreUnavailable(RidecastError):
    """A disk, broker or database does not answer; raised from its cause."""


class Fenced(RidecastError):
    """Another process has taken over what this one was writing; this one must stop."""


class LedgerError(RidecastError):
    """The ledger refuses an operation to keep its promise."""


class ExpectedSizeError(LedgerError):
    """Another writer appended first: the log has another size than the writer expected."""


class BootRefused(LedgerError):
    """The checkpoint outside the database is ahead of the database, or contradicts it."""


class DamagedError(LedgerError):
    """Stored bytes do not hash to the digest that names them."""


class NotFound(RidecastError):
    """What was asked for does not exist; the text says what does."""
