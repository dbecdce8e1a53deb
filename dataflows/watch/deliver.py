"""Delivers transitions of alerts to one receiver: at least once, in order, and never lost while it is down.

The log of alerts is the queue. A place, a file in the home, says up to which entry a receiver has been told; it moves after
the receiver has accepted. A notice that it refuses is skipped after some attempts, and the place says so. Each receiver has a
thread of its own, so that one that fails blocks nobody else.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from dataflows.connectors.alert_receivers import Notice, Receiver, Refused
from dataflows.watch.places import LONGEST_ERROR, REFUSALS_KEPT, Place, Refusal, is_told, read_place, write_place
from ledger.store.files import make_folder
from ledger.store.log import Ledger
from ledger.store.waiting import Patience
from ledger.views.follow import Change, Follower, Place as LogPlace, Stop
from schemas.errors import RidecastError
from schemas.records.records import ALERTS_LOG, AlertChanged, AlertOpened, AlertResolved, Record
from state.decide.alerts import KINDS, Alert, Hub, fold_alert

log = logging.getLogger(__name__)

FOLDER = "alerts"  # in the home
TOLD = "told"  # in that folder: the places of receivers
REMIND_EVERY_S = 60.0  # Alertmanager's resolve_timeout is 5 minutes by default
LOOK_EVERY_S = 0.5
PATIENCE = Patience(first_s=0.5, longest_s=60.0)
MOST_REFUSALS = 10  # attempts at a notice that is refused: about three minutes, so that a receiver may be restarted


class Delivery:
    """What one receiver has been told.

    Args:
        folder: Of the places; created if it is missing.
        instance: Part of the keys of notices.
        clock: Seconds since 1970.
    """

    def __init__(self, ledger: Ledger, receiver: Receiver, folder: Path, instance: str, clock: Callable[[], float]) -> None:
        self._ledger, self.receiver, self._instance, self._clock = ledger, receiver, instance, clock
        make_folder(folder)
        self._path = folder / f"{receiver.name}.json"
        self._follower = Follower(ledger, ALERTS_LOG, kinds=KINDS)
        self._hub = Hub()
        self._place = Place(receiver.name, 0)
        self._reminded_s = float("-inf")
        self._start()

    @property
    def failures(self) -> int:
        """Attempts in a row that failed."""
        return self._place.failures

    def step(self) -> int:
        """Tell everything that is new; returns the number of notices.

        Raises:
            StoreUnavailable: the receiver did not accept a notice, which is kept; or the ledger does not answer.
        """
        told = 0
        now_s = self._clock()
        self._follower.move(LogPlace(self._place.number, self._place.next))
        for batch in self._follower.catch_up():
            if batch.change is not Change.NONE:
                self._begin_at(batch.next)
                continue
            for stored in batch.entries:
                told += self._tell(stored.index, stored.record)
            self._place = replace(self._place, next=batch.next.index)
            self._follower.move(batch.next)
        if now_s - self._reminded_s >= REMIND_EVERY_S:
            self.receiver.remind([alert for alert in self._hub.open if not alert.shown.silenced], now_s)
            self._reminded_s = now_s
        return told

    def run(self, stop: Stop, lot: Callable[[], float]) -> None:
        """Tell until `stop` is set; after a failure wait longer each time."""
        while not stop.is_set():
            try:
                self.step()
                if self._place.failures:
                    log.info("receiver %s: accepts again", self.receiver.name)
                    self._place = self._place.well()
                    write_place(self._path, self._place)
                stop.wait(LOOK_EVERY_S)
            except (RidecastError, OSError) as cause:  # OSError: the place cannot be written
                if not self._place.failures:
                    log.error("%s; kept, and tried again", cause)
                self._place = self._place.failed(str(cause), self._clock(), refused=isinstance(cause, Refused))
                with suppress(OSError):
                    write_place(self._path, self._place)
                stop.wait(PATIENCE.wait_s(self._place.failures, lot()))

    def _tell(self, index: int, record: Record) -> int:
        """Tell one entry, if receivers are told of it, and fold it; returns the number of notices."""
        notice = self._notice(index, record)
        place = replace(self._place, next=index)
        if notice is not None:
            place = self._send(place, notice)
        self._hub.apply(index, record)
        self._place = replace(place, next=index + 1)
        if notice is not None:
            write_place(self._path, self._place)
        return int(notice is not None)

    def _send(self, place: Place, notice: Notice) -> Place:
        """The place after a notice was accepted, or refused so often that it is skipped."""
        self._place = place
        try:
            self.receiver.send(notice, self._clock())
        except Refused as cause:
            if place.refusals + 1 < MOST_REFUSALS:
                raise
            log.error("%s; refused %d times, skipped: alert %s, %s", cause, MOST_REFUSALS, notice.alert.id, notice.transition)
            refusal = Refusal(notice.index, notice.key, notice.transition, str(cause)[:LONGEST_ERROR], self._clock())
            kept = (*place.refused, refusal)[-REFUSALS_KEPT:]
            return replace(place.well(), refused=kept, refused_count=place.refused_count + 1)
        return place.well()

    def _notice(self, index: int, record: Record) -> Notice | None:
        """What an entry makes known, if it does."""
        if not isinstance(record, AlertOpened | AlertChanged | AlertResolved) or not is_told(record):
            return None
        before = self._hub.alerts.get(record.alert)
        after = self._after(index, record, before)
        return None if after is None else Notice(self._key(record.alert, index), index, NAMES[type(record)], before, after)

    def _key(self, alert: str, index: int) -> str:
        number = self._place.number  # of the log's origin: a log that was continued uses some indexes twice
        return f"{self._instance}-{alert}-{index}" if number <= 1 else f"{self._instance}-{alert}-{number}.{index}"

    def _after(self, index: int, record: AlertOpened | AlertChanged | AlertResolved, before: Alert | None) -> Alert | None:
        """The alert after an entry, without folding it: a notice that fails is made again."""
        match record:
            case AlertOpened():
                return Alert(record, index, record.at_us, index, self._hub.opened)
            case AlertChanged() if before is not None:
                return Alert(record, before.opened, before.opened_at_us, index, before.number, before.acknowledged)
            case AlertResolved() if before is not None:
                return Alert(before.shown, before.opened, before.opened_at_us, index, before.number, before.acknowledged, record)
        return None

    def _start(self) -> None:
        """Go on where the cursor says. A new receiver begins with the oldest alert that is still open."""
        size, number = self._ledger.head(ALERTS_LOG).size, self._ledger.number(ALERTS_LOG)
        found = read_place(self._path)
        if found is None:
            hub = self._folded(size)
            self._place = Place(self.receiver.name, min((alert.opened for alert in hub.open), default=size), number)
        else:
            self._place = replace(found, next=min(found.next, size), number=found.number or number, removed=False)
        write_place(self._path, self._place)
        self._hub = self._folded(self._place.next)

    def _begin_at(self, place: LogPlace) -> None:
        """Go on at the first entry that cannot have been told, after the log got another origin or lost entries."""
        lost = self._hub.open
        self._hub = self._folded(place.index)
        lost = [alert for alert in lost if alert.id not in self._hub.alerts]
        if lost:
            says = "receiver %s: the log of alerts was continued without %d open alerts that it was told: %s"
            log.warning(says, self.receiver.name, len(lost), ", ".join(alert.id for alert in lost))
        self._place = replace(self._place, next=place.index, number=place.number)
        write_place(self._path, self._place)
        self._follower.move(place)

    def _folded(self, stop: int) -> Hub:
        hub = Hub()
        for stored in self._ledger.scan(ALERTS_LOG, 0, stop):
            hub = fold_alert(hub, stored.index, stored.record)
        return hub


NAMES = {AlertOpened: "opened", AlertChanged: "changed", AlertResolved: "resolved"}


def deliver(deliveries: Sequence[Delivery], stop: Stop, lot: Callable[[], float]) -> list[threading.Thread]:
    """Start one thread per receiver; they end after `stop` is set."""
    threads = [threading.Thread(target=one.run, args=(stop, lot), name=f"alerts to {one.receiver.name}") for one in deliveries]
    for thread in threads:
        thread.start()
    return threads


__all__ = ["FOLDER", "MOST_REFUSALS", "TOLD", "Delivery", "deliver"]
