"""Records that the API writes through the spool: access counts (`access`) and acknowledgements of entries (`alerts`).

These logs do not identify persons: a subject is the opaque id of a key, and there is no free text. Wall-clock time is
allowed here as in `runs`, because no close cites these logs.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCount:
    """Number of responses of one operation to one subject with one status."""

    subject: str  # opaque id of a key; "anonymous" without one
    operation: str  # the operationId of the OpenAPI document
    region: str  # empty if the operation has none, or if the region is not served
    status: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessesCounted:
    """Responses of an API process in a period of wall-clock time; its last second may be lost if it is killed."""

    from_us: int
    until_us: int
    dropped: int  # responses before `until_us` that no record counts, because they could not be spooled
    counts: tuple[AccessCount, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """A client has handled an entry of a log, with an outcome."""

    log: str
    index: int
    outcome: str  # seen, handled or false_alarm
    subject: str
    acknowledged_at_us: int
