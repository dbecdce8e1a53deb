"""The watcher: follows regions' logs, lets a detector see the records of each close, and appends what it says.

A detector starts with the log's first record, so that it is in the state that it would have without an interruption; what it
says about slots that are in the log of alerts already is not appended again.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from dataflows.connectors.alert_receivers import read_receivers
from dataflows.stream.stores import Stores, open_stores
from dataflows.watch.deliver import FOLDER, TOLD, Delivery, deliver
from dataflows.watch.hub import HubLog
from dataflows.watch.places import remove_others
from ledger.store.files import Held, held_alone, make_folder
from ledger.store.log import Ledger, Stored
from ledger.store.waiting import Patience
from ledger.views.follow import Follower, Pace, Stop
from ledger.views.regions import region_of
from schemas.configuration.settings import Settings
from schemas.errors import AccessRefused, StoreUnavailable, UsageError
from schemas.records.records import Record, SlotClosed, region_log
from schemas.regions import Region
from state.detect.signals import Signal

log = logging.getLogger(__name__)

LOCK_FILE = "watch.lock"
RECEIVERS_FILE = "receivers.json"
PATIENCE = Patience(first_s=0.5, longest_s=30.0)
TICK_S = 10.0  # between two looks at alerts whose time is the machine's

Detect = Callable[[Sequence[Stored[Record]]], Sequence[Signal]]
NewDetect = Callable[[Region], Detect]


class RegionWatch:
    """One region, watched by a detector.

    Args:
        new_detect: Makes the detector; called again when the log has another origin, since what was seen may not be part of it.
    """

    def __init__(self, ledger: Ledger, region: Region, new_detect: NewDetect) -> None:
        self.region, self._new_detect = region, new_detect
        self._follower = Follower(ledger, region_log(region.id))
        self._detect = new_detect(region)
        self._close: list[Stored[Record]] = []  # entries since the last close

    def step(self, hub: HubLog, now_us: Callable[[], int]) -> int:
        """Let the detector see what is new, close by close; returns the number of closes."""
        batch = self._follower.step()
        if batch is None:
            return 0
        if not batch.entries and batch.change.value != "none":
            self._detect, self._close = self._new_detect(self.region), []
            self._follower.move(type(batch.next)(batch.next.number, 0))
            return 1
        closes = 0
        for stored in batch.entries:
            if isinstance(stored.record, SlotClosed) and self._close:
                closes += self._see(hub, now_us)
            self._close.append(stored)
        self._follower.move(batch.next)
        if batch.next.index >= batch.head.size:
            closes += self._see(hub, now_us)  # a close is appended whole
        return closes

    def _see(self, hub: HubLog, now_us: Callable[[], int]) -> int:
        entries, self._close = self._close, []
        signals = self._detect(entries)
        slots = [stored.record.slot for stored in entries if isinstance(stored.record, SlotClosed)]
        if signals or (slots and hub.hub.open):
            clocks = {"": now_us()} | ({self.region.id: (slots[-1] + 1) * self.region.slot_us} if slots else {})
            hub.observe(signals, clocks)
        return 1


def watch(ledger: Ledger, names: Sequence[str], stop: Stop, new_detect: NewDetect, now: Callable[[], float]) -> None:
    """Watch regions until `stop` is set. While the ledger does not answer it waits, then begins again with each region's first record.

    Args:
        now: Seconds since 1970.
    Raises:
        AccessRefused: waiting does not help.
    """
    failures = 0

    def answered() -> None:
        nonlocal failures
        if failures:
            log.info("the watcher goes on: the ledger answers again")
        failures = 0

    while not stop.is_set():
        try:
            _watch(ledger, names, stop, new_detect, now, answered)
        except AccessRefused:
            raise
        except StoreUnavailable as away:  # a detector may have seen a part of what was read, so none of them is kept
            failures += 1
            if failures == 1:
                log.error("the watcher waits: %s", away)
            stop.wait(PATIENCE.wait_s(failures, 1.0))


def _watch(
    ledger: Ledger, names: Sequence[str], stop: Stop, new_detect: NewDetect, now: Callable[[], float], answered: Callable[[], None]
) -> None:
    """Watch until `stop` is set or the ledger does not answer."""
    hub = HubLog(ledger)
    hub.read()
    watched = [RegionWatch(ledger, region_of(ledger, name), new_detect) for name in names]
    ticked_s = 0.0
    with closing(ledger.wakeup(*map(region_log, names))) as wakeup:
        pace = Pace(wakeup)
        while not stop.is_set():
            closes = sum(one.step(hub, lambda: int(now() * 1_000_000)) for one in watched)
            answered()
            if closes:
                pace.restart()
                continue
            if now() - ticked_s >= TICK_S:
                ticked_s = now()
                hub.read()
                hub.observe((), {"": int(ticked_s * 1_000_000)})
            pace.wait(stop)


def run_watch(
    settings: Settings, names: Sequence[str], receivers: Path | None, stop: Stop, detectors: Callable[[Stores], NewDetect]
) -> None:
    """Watch and deliver until `stop` is set; one process per home.

    Args:
        detectors: Makes the detectors of a region from the open stores.
    Raises:
        UsageError: another process watches this home.
        ConfigError: the file of receivers cannot be used.
    """
    folder = settings.home / FOLDER
    path = receivers or folder / RECEIVERS_FILE
    found = read_receivers(path, settings.instance) if receivers or path.exists() else []
    stores = open_stores(settings)
    try:
        make_folder(folder)
        with ExitStack() as held:
            try:
                held.enter_context(held_alone(folder / LOCK_FILE, "ridecast watch run"))
            except Held:
                raise UsageError(f"home {settings.home}: expected no other `ridecast watch run`, and one runs") from None
            told = [Delivery(stores.ledger, one, folder / TOLD, settings.instance, time.time) for one in found]
            remove_others(folder / TOLD, [one.name for one in found])
            ended = threading.Event()
            threads = deliver(told, ended, random.random)
            try:
                watch(stores.ledger, names, stop, detectors(stores), time.time)
            finally:
                ended.set()
                for thread in threads:
                    thread.join()
    finally:
        stores.close()
