"""What intake tells a person during a run: a warning when events are refused, and a failure when nothing was usable.

The figures come from the tallies in the home (`ledger.store.tally_files`), which exist before any slot closes.
"""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from ledger.store.tally_files import clear_tallies, read_tallies
from schemas.errors import NothingUsable as NothingUsable
from schemas.events.measures import MEASURES
from schemas.events.rides import Uncounted
from schemas.events.tally import IntakeTally, Totals, main_example, totals_of
from schemas.regions import Region, load_region, shipped_regions
from state.counting.guess import guess_region

WARN_SHARE = 0.1
LEAST_REFUSED = 10  # fewer are not worth a warning while a run goes on; its end reports any share
LOOK_EVERY_S = 1.0
WARN_EVERY_S = 600.0


class IntakeReport:
    """Follows the tallies of a run that starts now.

    Args:
        home: The home of the run; tallies of earlier runs are removed from it.
        regions: The regions of the run.
        say: Shows a warning to the person.
        proven: Names of the regions of which rides were counted before, so that these names are right.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        home: Path,
        regions: Sequence[Region],
        say: Callable[[str], None],
        *,
        proven: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home, self._regions, self._say, self._proven, self._clock = home, list(regions), say, proven, clock
        self._looked_at, self._warned_at = -LOOK_EVERY_S, -WARN_EVERY_S
        self._warned_of: dict[str, Totals] = {}  # region -> its totals at the last warning
        self._told_others: set[str] = set()
        self.tallies: list[IntakeTally] = []
        clear_tallies(home)

    def add(self, region: Region) -> None:
        """Report on one more region."""
        self._regions.append(region)

    def look(self) -> None:
        """Read the tallies, at most once per second, and warn where it is due."""
        now = self._clock()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        self.tallies = read_tallies(self._home)
        if now - self._warned_at >= WARN_EVERY_S and self._warn(LEAST_REFUSED):
            self._warned_at = now

    def totals(self, region: str) -> Totals:
        """What the run has read by now, since its forecasters were started."""
        self.tallies = read_tallies(self._home)
        return totals_of(self.tallies, region)

    def words(self, region: str) -> str:
        """What was read at the last look, for the progress line; "" before the first event."""
        found = totals_of(self.tallies, region)
        return found.words() if found.received else ""

    def finish(self, *, bounded: bool) -> None:
        """Report the outcome of a run that has ended.

        Args:
            bounded: Whether the run was to process everything, and closed no slot with a ride.
        Raises:
            NothingUsable: it was, and none of the events that it read could be counted.
        """
        self.tallies = read_tallies(self._home)
        totals = {region.id: totals_of(self.tallies, region.id) for region in self._regions}
        useless = [region for region in self._regions if bounded and _useless(totals[region.id], proven=region.id in self._proven)]
        if useless and len(useless) == len(self._regions):
            raise NothingUsable(". ".join(map(self._complaint, self._regions)))
        self._warn(1)
        for region in useless:
            if region.id not in self._warned_of and region.id not in self._told_others:
                self._say(self._complaint(region))

    def _warn(self, least: int) -> bool:
        warned = False
        for region in self._regions:
            found, before = totals_of(self.tallies, region.id), self._warned_of.get(region.id, Totals())
            if found.received < before.received:  # a forecaster was restarted and counts from zero
                before = self._warned_of[region.id] = Totals()
            refused, received = found.refused - before.refused, found.received - before.received
            if refused >= least and refused > WARN_SHARE * received:
                self._warned_of[region.id] = found
                self._say(self._complaint(region))
                warned = True
            elif region.id not in self._told_others and (why := self._uncounted(region)):
                self._told_others.add(region.id)
                self._say(f"{region.id}: {why}")
        return warned

    def _complaint(self, region: Region) -> str:
        """What is wrong with the events of a run: numbers, an example, a guess, and where to look."""
        found = totals_of(self.tallies, region.id)
        parts = [f"{region.id}: {found.words()}"]
        parts += main_example(self.tallies, found)
        if why := self._uncounted(region):
            parts.append(why)
        elif found.accepted and _elsewhere(found) == found.accepted:
            parts.append(f"none of them is of region {region.id}")
        if found.rejected:
            parts.append(f"`ridecast rejects show --home {self._home} --decoded` shows them")
        return "; ".join(parts)

    def _uncounted(self, region: Region) -> str:
        """Why accepted events are not counted, where most of them are not; events that another region of the run counts are normal."""
        beside = [totals_of(self.tallies, other.id) for other in self._regions if other.id != region.id]
        return uncounted(region, totals_of(self.tallies, region.id), self.tallies, beside)


def _useless(found: Totals, *, proven: bool) -> bool:
    """Whether events were read and nothing came of them; events of other regions only are normal once a region has had rides."""
    if found.counted or found.uncounted.get(Uncounted.BEFORE_START):
        return False
    elsewhere = _elsewhere(found) + found.uncounted.get(Uncounted.OTHER_KIND, 0)
    return (found.refused > 0 and not found.accepted) or (elsewhere > 0 and not proven)


def uncounted(region: Region, found: Totals, tallies: Iterable[IntakeTally], beside: Sequence[Totals] = ()) -> str:
    """Why accepted events are not counted, where most of them are not; "" if that is normal.

    Args:
        beside: Totals of the other regions of the run.
    """
    names: dict[str, int] = {}
    for tally in tallies:
        for name, number in tally.others.items():
            names[name] = names.get(name, 0) + number
    elsewhere, kinds = _elsewhere(found), found.uncounted.get(Uncounted.OTHER_KIND, 0)
    others = elsewhere - sum(other.accepted - _elsewhere(other) + other.duplicate for other in beside)
    if others > WARN_SHARE * max(found.received, LEAST_REFUSED) and (names or not beside):
        ranked = sorted(names.items(), key=lambda item: (-item[1], item[0]))
        known = [load_region(name) for name in shipped_regions() if name != region.id]
        hint = next((text for name, _ in ranked if (text := guess_region(name, [region], known))), "")
        sample = ", ".join(f"{name!r} {number}" for name, number in ranked[:5])
        return f"{others:,} of {found.received:,} events are of other regions and not counted (in a sample: {sample})" + (
            f"; {hint}" if hint else ""
        )
    if kinds >= LEAST_REFUSED and kinds + elsewhere >= found.accepted and not found.counted:
        wanted = ", ".join(f"{name} counts {MEASURES[name].kind}" for name in region.measures)
        return f"{kinds:,} of {found.received:,} events are of kinds that no measure counts: {wanted}; the region's `measures` name others"
    return ""


def _elsewhere(found: Totals) -> int:
    """Events of other regions."""
    return found.uncounted.get(Uncounted.OTHER_REGION, 0)
