"""Regions that are added to a home: who adds one leaves a file, and a live run finds it and takes the region up.

`HOME/regions/<id>.json` says that live runs of this home run the region, named or not, from now on. It is written after
the bootstrap of the region, atomically, so that a run never sees half an addition. The run reads the folder in the thread
that looks up its progress: neither a disk nor a database that hangs holds up the supervisor.
"""

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol

from dataflows.connectors.source_watch import PinnedRides
from dataflows.connectors.sources import RideSource
from dataflows.stream.resume import ResumePlan
from dataflows.stream.start import check_rules, plan_regions
from dataflows.stream.stores import Stores
from ledger.store.files import make_folder, write_durably
from ledger.views.regions import bootstrap_of, region_of
from schemas.errors import RidecastError, StoreUnavailable
from schemas.records.records import SlotClosed, region_log
from schemas.regions import US_PER_MIN, Region

FOLDER = "regions"  # in the home
LOOK_EVERY_S = 0.5
# A region that is further behind the others than this runs in a process of its own until it has caught up.
FAR_BEHIND_US = 60 * US_PER_MIN
NEAR_SLOTS = 2  # so close to the others it goes on together with them

_FILE = re.compile(r"([a-z][a-z0-9_-]{0,31})\.json")


class RunningRegions(Protocol):
    """The supervisor of a live run: see `ridecast.supervise.Supervisor`."""

    def take_up(self, region: str) -> None: ...
    def join(self, region: str) -> None: ...


def note_added(home: Path, region: Region) -> None:
    """Let live runs of this home run a region from now on.

    Raises:
        StoreUnavailable: the disk refuses.
    """
    try:
        make_folder(home / FOLDER)
        write_durably(home / FOLDER / f"{region.id}.json", region.to_json().encode())
    except OSError as cause:
        raise StoreUnavailable(f"home {home}: {cause.strerror}") from cause


def added_in(home: Path) -> dict[str, int]:
    """The regions that were added to a home, each with the time of its file, by which a repeated addition is noticed."""
    found: dict[str, int] = {}
    try:
        for path in sorted((home / FOLDER).iterdir()):
            if match := _FILE.fullmatch(path.name):
                found[match[1]] = path.stat().st_mtime_ns
    except FileNotFoundError:
        pass
    return found


def far_behind(plans: Sequence[ResumePlan]) -> list[str]:
    """Regions that would hold up others of a live run: these have closed slots, and are far ahead."""
    begun = [_reached_us(plan) for plan in plans if plan.next_slot > plan.bootstrapped.start_slot]
    return [str(plan.region.id) for plan in plans if _reached_us(plan) + FAR_BEHIND_US < max(begun, default=0)]


def _reached_us(plan: ResumePlan) -> int:
    return plan.next_slot * plan.region.slot_us


class Additions:
    """Finds regions that were added since a live run started, and those that have caught up.

    Args:
        home: The home of the run.
        stores, source: Open stores and rides; used in the thread that calls `look`.
        together: Names of the regions that share their forecasters.
        beside: Names of the regions that have a forecaster of their own.
        added: Called with a region that is taken up, in the thread that calls `look`.
        warn: Reports a region that cannot be taken up.
    """

    def __init__(
        self,
        home: Path,
        stores: Stores,
        source: RideSource,
        together: Sequence[str],
        beside: Sequence[str],
        added: Callable[[Region], None],
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home, self._stores, self._source, self._clock = home, stores, source, clock
        self._together, self._beside, self._added, self._warn = list(together), list(beside), added, warn
        self._refused: dict[str, int] = {}
        self._looked_at_s = -LOOK_EVERY_S
        self._changes: SimpleQueue[tuple[str, bool]] = SimpleQueue()  # a region, and whether it has caught up

    def look(self) -> None:
        """Look for changes, at most twice a second; what cannot be read now is left to the next look."""
        now = self._clock()
        if now - self._looked_at_s < LOOK_EVERY_S:
            return
        self._looked_at_s = now
        with suppress(StoreUnavailable):
            self._look()

    def _look(self) -> None:
        for name, at in added_in(self._home).items():
            if name not in (*self._together, *self._beside) and self._refused.get(name) != at:
                self._try(name, at)
        for name in list(self._beside):
            if self._has_caught_up(name):
                self._beside.remove(name)
                self._together.append(name)
                self._changes.put((name, True))

    def apply(self, running: RunningRegions) -> None:
        """Do what was found; call it in the supervisor's own thread."""
        with suppress(Empty):
            while True:
                name, caught_up = self._changes.get_nowait()
                if caught_up:
                    running.join(name)
                else:
                    running.take_up(name)

    def _try(self, name: str, at: int) -> None:
        """Take a region up; one that cannot run is refused once, and disturbs nothing."""
        try:
            [plan] = plan_regions(self._stores, PinnedRides(self._source), [name])
            check_rules([bootstrap_of(self._stores.ledger, self._together[0]), plan.bootstrapped])
        except StoreUnavailable:
            raise
        except RidecastError as refused:
            self._refused[name] = at
            self._warn(f"region {name} was added but cannot be taken up: {refused}; the run goes on without it")
            return
        self._added(plan.region)
        self._beside.append(name)
        self._changes.put((name, False))

    def _has_caught_up(self, name: str) -> bool:
        mine = self._closed_us(name)
        if mine is None:
            return False
        others = [found for other in self._together if (found := self._closed_us(other)) is not None]
        return all(mine[0] + NEAR_SLOTS * max(mine[1], other[1]) >= other[0] for other in others)

    def _closed_us(self, name: str) -> tuple[int, int] | None:
        """End of the last closed slot of a region, and the length of its slots; None before the first."""
        ledger = self._stores.ledger
        closed = ledger.find(region_log(name), SlotClosed)
        if closed is None:
            return None
        slot_us = region_of(ledger, name).slot_us
        return (closed.slot + 1) * slot_us, slot_us
