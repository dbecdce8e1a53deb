"""Delivers transitions of alerts to one receiver: at least once, in order, and never lost while it is down.

The log of alerts is the queue. A cursor, a file in the home, says up to which entry a receiver has been told; it moves after
the receiver has accepted. Each receiver has a thread of its own, so that one that fails blocks nobody else.
"""

import json
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from dataflows.connectors.alert_receivers import Notice, Receiver
from dataflows.watch.hub import HubLog
from ledger.store.files import make_folder, write_durably
from ledger.store.log import Ledger
from ledger.store.waiting import Patience
from ledger.views.follow import Stop
from schemas.errors import RidecastError
from schemas.records.records import ALERTS_LOG, AlertChanged, AlertOpened, AlertResolved, Record
from state.decide.alerts import Alert, Hub

log = logging.getLogger(__name__)

FOLDER = "alerts"  # in the home
REMIND_EVERY_S = 60.0  # Alertmanager's resolve_timeout is 5 minutes by default
LOOK_EVERY_S = 0.5
PATIENCE = Patience(first_s=0.5, longest_s=60.0)


class Delivery:
    """What one receiver has been told.

    Args:
        folder: Of the cursors; created if it is missing.
        instance: Part of the keys of notices.
        clock: Seconds since 1970.
    """

    def __init__(self, ledger: Ledger, receiver: Receiver, folder: Path, instance: str, clock: Callable[[], float]) -> None:
        self._ledger, self.receiver, self._instance, self._clock = ledger, receiver, instance, clock
        make_folder(folder)
        self._path = folder / f"{receiver.name}.json"
        self._hub = Hub()
        self._next = 0  # index of the next entry to tell
        self._reminded_s = float("-inf")
        self.failures = 0  # in a row
        self._start()

    def step(self) -> int:
        """Tell everything that is new; returns the number of notices.

        Raises:
            StoreUnavailable: the receiver did not accept a notice, which is kept; or the ledger does not answer.
        """
        told = 0
        now_s = self._clock()
        for stored in self._ledger.scan(ALERTS_LOG, self._next):
            record: Record = stored.record
            before = self._hub.alerts.get(record.alert) if isinstance(record, AlertOpened | AlertChanged | AlertResolved) else None
            if isinstance(record, AlertOpened | AlertChanged | AlertResolved):
                after = self._after(stored.index, record, before)
                if after is not None and is_told(record):
                    self._send(Notice(self._key(record.alert, stored.index), stored.index, NAMES[type(record)], before, after))
                    told += 1
            self._hub.apply(stored.index, record)
            self._next = stored.index + 1
            if told and isinstance(record, AlertOpened | AlertChanged | AlertResolved):
                self._save("")
        if now_s - self._reminded_s >= REMIND_EVERY_S:
            self.receiver.remind([alert for alert in self._hub.open if not alert.shown.silenced], now_s)
            self._reminded_s = now_s
        return told

    def run(self, stop: Stop, lot: Callable[[], float]) -> None:
        """Tell until `stop` is set; after a failure wait longer each time."""
        while not stop.is_set():
            try:
                self.step()
                if self.failures:
                    log.info("receiver %s: accepts again", self.receiver.name)
                self.failures = 0
                stop.wait(LOOK_EVERY_S)
            except RidecastError as cause:
                self.failures += 1
                if self.failures == 1:
                    log.error("%s; kept, and tried again", cause)
                self._save(str(cause))
                stop.wait(PATIENCE.wait_s(self.failures, lot()))

    def _send(self, notice: Notice) -> None:
        self.receiver.send(notice, self._clock())

    def _key(self, alert: str, index: int) -> str:
        return f"{self._instance}-{alert}-{index}"

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
        size = self._ledger.head(ALERTS_LOG).size
        if self._path.exists():
            self._next = min(int(json.loads(self._path.read_text("utf-8"))["next"]), size)
        else:
            self._next = min((alert.opened for alert in HubLog(self._ledger).read().open), default=size)
            self._save("")
        for stored in self._ledger.scan(ALERTS_LOG, 0, self._next):
            self._hub.apply(stored.index, stored.record)

    def _save(self, error: str) -> None:
        said = {"receiver": self.receiver.name, "next": self._next, "failures": self.failures, "error": error}
        write_durably(self._path, json.dumps(said).encode())


NAMES = {AlertOpened: "opened", AlertChanged: "changed", AlertResolved: "resolved"}


def is_told(record: AlertOpened | AlertChanged | AlertResolved) -> bool:
    """Whether receivers are told of a transition: of silenced alerts only that they are over."""
    return isinstance(record, AlertResolved) or not record.silenced


def deliver(deliveries: Sequence[Delivery], stop: Stop, lot: Callable[[], float]) -> list[threading.Thread]:
    """Start one thread per receiver; they end after `stop` is set."""
    threads = [threading.Thread(target=one.run, args=(stop, lot), name=f"alerts to {one.receiver.name}") for one in deliveries]
    for thread in threads:
        thread.start()
    return threads


__all__ = ["FOLDER", "Delivery", "deliver", "is_told"]
