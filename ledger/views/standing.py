"""How regions are served: with their models, held (without models, by the baseline), or halted (no slot of them closes)."""

from dataclasses import dataclass
from enum import StrEnum

from ledger.store.log import Ledger, holds
from ledger.views.follow import Change, Follower, Place
from schemas.records.records import CONTROL_LOG, RUNS_LOG, RegionHalted, RegionHeld, RegionReleased, RunStarted


class Standing(StrEnum):
    """What a region is served with."""

    NORMAL = "normal"  # its champions, or the baseline where there are none
    HELD = "held"  # the baseline, until `ridecast ledger release`
    HALTED = "halted"  # what it issued last: it closes no slots until a run resumes it


@dataclass(frozen=True, slots=True)
class Stand:
    """A region's standing.

    Attributes:
        slot: Since when; -1 if the region did not start.
        reason: The error.
    """

    standing: Standing = Standing.NORMAL
    slot: int | None = None
    reason: str | None = None

    def line(self) -> str:
        """In words, empty where there is nothing to say.

        >>> Stand(Standing.HELD, 7, "DamagedError: model").line()
        'held without models since slot 7: DamagedError: model'
        """
        match self.standing:
            case Standing.NORMAL:
                return ""
            case Standing.HELD:
                return f"held without models since slot {self.slot}: {self.reason}"
            case Standing.HALTED:
                return f"halted at slot {self.slot}: {self.reason}"


NORMAL = Stand()


class Standings:
    """Follows the logs that say how regions are served; reads only what is new."""

    def __init__(self, ledger: Ledger) -> None:
        self._control = Follower(ledger, CONTROL_LOG, kinds=(RegionHeld, RegionReleased))
        self._runs = Follower(ledger, RUNS_LOG, kinds=(RunStarted, RegionHalted))
        self._held: dict[str, Stand] = {}
        self._halted: dict[str, Stand] = {}

    def refresh(self) -> None:
        """Read what was appended since.

        Raises:
            StoreUnavailable: the ledger does not answer; what was read before stays.
        """
        for follower, into in ((self._control, self._held), (self._runs, self._halted)):
            for batch in follower.catch_up():
                if batch.change is not Change.NONE:
                    into.clear()
                    follower.move(Place(batch.next.number, 0))
                    continue
                for stored in batch.entries:
                    if holds(stored, RegionHeld):
                        into[stored.record.region] = Stand(Standing.HELD, stored.record.slot, stored.record.reason)
                    elif holds(stored, RegionHalted):
                        into[stored.record.region] = Stand(Standing.HALTED, stored.record.slot, stored.record.reason)
                    elif holds(stored, RegionReleased):
                        into.pop(stored.record.region, None)
                    elif holds(stored, RunStarted):
                        into.pop(stored.record.command.removeprefix("run "), None)  # a start tries again
                follower.move(batch.next)

    def of(self, region: str) -> Stand:
        """A region's standing as last read; halted says more than held."""
        return self._halted.get(region) or self._held.get(region) or NORMAL
