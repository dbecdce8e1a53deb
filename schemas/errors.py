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

VERIFY_LEDGER = "run `ridecast ledger verify`"  # the remedy for bytes that are not what they should be


class RidecastError(Exception):
    """Base of every error that Ridecast raises on purpose; its text is fit for a person.

    Args:
        text: What was expected and what came.
        remedy: What to do about it, if anything can be done: it ends the text, behind a semicolon.

    >>> str(RidecastError("region nyc: not bootstrapped", remedy="run `ridecast bootstrap`"))
    'region nyc: not bootstrapped; run `ridecast bootstrap`'
    """

    exit_code = 1

    def __init__(self, text: str = "", *, remedy: str = "") -> None:
        super().__init__(f"{text}; {remedy}" if remedy else text)
        self.remedy = remedy


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
