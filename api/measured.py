"""What an experiment says so far, measured in short turns.

It is computed from every issue that the experiment served, which takes minutes after some weeks. So each request goes on where the
last one stopped, for a short time, and the answer says until when it has measured: a page that asks again and again is soon up to
date, and stays so.
"""

import math
import threading
from collections.abc import Callable

from ledger.store.blobs import Blobs
from ledger.store.log import Ledger
from ledger.views.closes import Close, closes
from ledger.views.control import ControlView
from ledger.views.regions import defined_by
from schemas.errors import NotFound
from schemas.forecasts.chunks import ForecastColumns, unpack_blob
from schemas.records.count_table import from_table, tables_of
from schemas.records.records import CountTable, ExperimentStarted, ForecastIssued, RegionBootstrapped, SlotClosed, region_log
from schemas.times import iso
from state.counting.slots import NO_COUNTS, ClosedSlot, CountColumns
from state.decide.arm_losses import ArmLosses

TURN_S = 0.25  # how long one request measures


class Measured:
    """The losses of one experiment as far as they have been read; threads may share it."""

    def __init__(self, ledger: Ledger, blobs: Blobs, boot: RegionBootstrapped, started: ExperimentStarted) -> None:
        self._ledger, self._blobs, self._boot, self.started = ledger, blobs, boot, started
        self._region = defined_by(boot)
        self._lock = threading.Lock()
        self._control = ControlView(ledger)
        self._losses = ArmLosses(self._region, self._region.measures.index(started.measure), started)
        self._at = -1  # entries of the log that were read; -1 before its first slot

    def go_on(self, monotonic: Callable[[], float]) -> dict[str, object]:
        """Read on for a short time, and say what has been found."""
        with self._lock:
            ledger, log, until_s = self._ledger, region_log(self._boot.region), monotonic() + TURN_S
            size, complete = ledger.head(log).size, True
            if self._at < 0:
                first = ledger.entry(log, SlotClosed, self.started.start_slot, last=False)
                self._at = first.index if first is not None else size
                complete = first is not None
            last = self.started.until_slot + self._region.horizons[-1]
            if self._losses.next_slot < last:
                for close in closes(ledger, log, self._at, size):
                    if close.record.slot >= last:
                        break
                    if monotonic() > until_s:
                        complete = False
                        break
                    self._take(close)
                    self._at = close.entries[-1].index + 1
            if self._losses.next_slot < 0:
                self._at = -1  # it has not begun
            return self._said(complete)

    def _take(self, close: Close) -> None:
        record = close.record
        served = None
        for issued in (stored.record for stored in close.after if isinstance(stored.record, ForecastIssued)):
            if (issued.measure, issued.experiment) == (self.started.measure, self.started.experiment):
                served = self._columns(issued)
        control = self._control.at(record.control_size, record.control_root)
        counts, corrections = tables_of(record, self._blobs.get)
        closed = ClosedSlot(record.slot, record.partitions, self._of_measures(counts), self._of_measures(corrections))
        self._losses.take(closed, record.status, control.fold_version(self._boot, record.slot), served)

    def _columns(self, issued: ForecastIssued) -> ForecastColumns | None:
        try:
            return unpack_blob(self._blobs.get(issued.blob)).columns(issued.horizons_min) if issued.blob else None
        except NotFound:
            return None  # expired: its block says too little

    def _of_measures(self, tables: tuple[CountTable, ...]) -> tuple[CountColumns, ...]:
        found = {table.measure: CountColumns(*from_table(table)) for table in tables}
        return tuple(found.get(measure, NO_COUNTS) for measure in self._region.measures)

    def _said(self, complete: bool) -> dict[str, object]:
        found, slot_us = self._losses.compared(), self._region.slot_us
        at = found.at
        change = [float(values[at]) for values in (found.sequence.mean, found.sequence.lower, found.sequence.upper)] if at >= 0 else []
        mean, lower, upper = (value if math.isfinite(value) else None for value in (change or [math.inf] * 3))
        return {
            "finding": found.finding,
            "sentence": found.sentence(),
            "blocks": at + 1,
            "change": mean,
            "lower": lower,
            "upper": upper,
            "measured_until": iso(self._losses.next_slot * slot_us) if self._losses.next_slot >= 0 else None,
            "complete": complete,
        }
