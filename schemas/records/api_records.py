"""What the API has to say, through the spool: who read what (`access`), and what people answered to an entry (`alerts`).

These logs name no person: a subject is the opaque id of a key, and there is no free text. Wall-clock time may stand
here as in `runs`, for no close cites them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCount:
    """How often one operation answered one subject with one status."""

    subject: str  # opaque id of a key; "anonymous" without one
    operation: str  # the operationId of the OpenAPI document
    region: str  # empty where the operation has none, or the region is not served
    status: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessesCounted:
    """What an API process answered in a stretch of wall-clock time; up to its last second is lost when it is killed."""

    from_us: int
    until_us: int
    dropped: int  # answers before `until_us` that no record counts, because the spool was full
    counts: tuple[AccessCount, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """Somebody has seen an entry of a log and says what became of it."""

    log: str
    index: int
    outcome: str  # seen, handled or false_alarm
    subject: str
    acknowledged_at_us: int
