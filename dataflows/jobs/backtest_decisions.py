"""What was decided about models during a backtest, with the slot from which on it held: read back from the ledger."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from dataflows.stream.stores import Stores
from ledger.views.model_story import stories_of
from schemas.records.records import (
    CONTROL_LOG,
    Cause,
    ModelPromoted,
    ModelRejected,
    ModelTrained,
    SlotClosed,
    region_log,
)
from schemas.regions import Region
from schemas.times import local_iso
from state.decide.probation import is_confirmation
from state.decide.refits import PROBATION


class Decided(StrEnum):
    """What a decision did, as a sentence about the model says it."""

    TRAINED = "trained"
    PROMOTED = "promoted"
    ON_PROBATION = "promoted on probation"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled back to"


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestDecision:
    """A record about a model.

    Attributes:
        slot: The first that was closed after it: the first that a promoted model served. The end of the test if none was.
        at: Local time at which this slot began.
        model: First digits of its digest.
        category: `improvement` or `refit`, what the gates asked for; empty if no gate decided.
        reason: One sentence.
        data_until: Of a training, local time at which its data end; else empty.
    """

    slot: int
    at: datetime
    measure: str
    model: str
    what: Decided
    category: str = ""
    reason: str = ""
    data_until: str = ""

    def sentence(self) -> str:
        """The decision for people, without its time."""
        kind = f" as a {self.category}" if self.category == "refit" and self.what in (Decided.PROMOTED, Decided.ON_PROBATION) else ""
        data = f" on everything before {self.data_until}" if self.data_until else ""
        return f"{self.measure}: {self.what} {self.model}{kind}{data}{f': {self.reason}' if self.reason else ''}"

    def line(self) -> str:
        """Local time and sentence."""
        return f"{self.at:%Y-%m-%d %H:%M}  {self.sentence()}"


def decisions_of(stores: Stores, region: Region, begun: int, end: int) -> tuple[BacktestDecision, ...]:
    """What the control log says of a region's models since it had a size, in order.

    Args:
        end: First slot after the test.
    """
    size = stores.ledger.head(region_log(region.id)).size
    closes = iter(stores.ledger.scan(region_log(region.id), 0, size, SlotClosed))
    close = next(closes, None)
    found = []
    for stored in stores.ledger.read_kinds(CONTROL_LOG, begun, None, (ModelTrained, ModelPromoted, ModelRejected)):
        while close is not None and close.record.control_size <= stored.index:
            close = next(closes, None)
        slot = min(close.record.slot, end) if close is not None else end
        if stored.record.region == region.id:
            found.append(_decision(stored.record, slot, region))
    return tuple(found)


def _decision(record: ModelTrained | ModelPromoted | ModelRejected, slot: int, region: Region) -> BacktestDecision:
    model, measure, at = record.model.hex()[:12], record.measure, datetime.fromisoformat(local_iso(slot * region.slot_us, region))
    if isinstance(record, ModelTrained):
        until = local_iso(record.until_slot * region.slot_us, region)[:16].replace("T", " ")
        why = record.parameters.get("trigger", "")
        return BacktestDecision(slot=slot, at=at, measure=measure, model=model, what=Decided.TRAINED, reason=why, data_until=until)
    what = _what(record) if isinstance(record, ModelPromoted) else Decided.REJECTED
    return BacktestDecision(slot=slot, at=at, measure=measure, model=model, what=what, category=record.category, reason=record.reason)


def _what(record: ModelPromoted) -> Decided:
    if record.cause == Cause.ROLLBACK:
        return Decided.ROLLED_BACK
    if is_confirmation(record):
        return Decided.CONFIRMED
    return Decided.ON_PROBATION if any(gate.gate == PROBATION for gate in record.evidence) else Decided.PROMOTED


def champions_at(stores: Stores, region: Region, control_size: int) -> dict[str, str]:
    """First digits of the champion of each measure when the control log had a size; measures without one are left out."""
    stories = stories_of(stores.ledger, control_size)
    return {measure: story.champion.hex()[:12] for (scope, measure), story in stories.items() if scope == region.id and story.champion}
