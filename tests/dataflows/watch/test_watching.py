"""The watcher: a detector sees each close once, and a second watcher appends nothing again."""

import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import cast

import pytest

from dataflows.jobs.parameters import set_parameter
from dataflows.stream.stores import Stores
from dataflows.watch.detecting import detectors_of, thresholds_of
from dataflows.watch.hub import HubLog
from dataflows.watch.watching import RegionWatch, watch
from ledger.store.log import Stored
from ledger.store.waiting import Patience
from ledger.views.watched import watched_slots
from schemas.errors import StoreUnavailable
from schemas.events.cells import cell_code
from schemas.records.records import ALERTS_LOG, CONTROL_LOG, AlertOpened, Record, SignalObserved, SlotClosed, region_log
from schemas.regions import Region
from state.detect import surge
from state.detect.detector import Threshold
from state.detect.signals import Severity, Signal
from state.detect.table import DETECTORS, signals_of
from tests.api.town import Town


def first_close(seen: list[int]) -> Callable[[Region], Callable[[Sequence[Stored[Record]]], Sequence[Signal]]]:
    """Detectors that note the slots which they see and find the first one unusual."""

    def new_detect(region: Region) -> Callable[[Sequence[Stored[Record]]], Sequence[Signal]]:
        said: list[int] = []

        def detect(entries: Sequence[Stored[Record]]) -> Sequence[Signal]:
            closes = [(stored.index, stored.record.slot) for stored in entries if isinstance(stored.record, SlotClosed)]
            seen.extend(slot for _, slot in closes)
            if not closes or said:
                return ()
            [(index, slot)] = closes
            said.append(slot)
            found = (region_log(region.id), index, index)
            at_us = (slot + 1) * region.slot_us
            return (
                Signal("t", "surge", region.id, "region", slot, slot, at_us, Severity.INFO, True, 2.0, 1.0, "ratio", "Much.", (), found),
            )

        return detect

    return new_detect


def test_each_close_is_seen_once_and_said_once(growing_town: Town) -> None:
    """A detector sees every close in order; a watcher that starts again sees them again, and the log has the signal once."""
    ledger = growing_town.ledger
    closed = [record.slot for record in ledger.records(region_log("nyc"), SlotClosed)]
    for _ in range(2):
        seen: list[int] = []
        hub, one = HubLog(ledger), RegionWatch(ledger, growing_town.region, first_close(seen))
        while one.step(hub, lambda: 7):
            pass
        assert closed == seen
    [observed] = ledger.records(ALERTS_LOG, SignalObserved)
    [opened] = ledger.records(ALERTS_LOG, AlertOpened)
    assert (closed[0], "surge") == (observed.slot, opened.kind)
    assert ["alerts", "region/nyc"] == [one.log for one in opened.evidence]


def test_the_live_detectors_say_what_a_repetition_says(growing_town: Town) -> None:
    """Entries of each close, as the watcher reads them, give the signals of the same slots read from the whole log."""
    region, stores = growing_town.region, cast(Stores, growing_town)
    with pytest.MonkeyPatch.context() as patch:
        loud = {row.name: Threshold(0.01) for row in DETECTORS}  # so that they say something
        patch.setattr("dataflows.watch.detecting.thresholds", lambda in_force, name: loud)
        found: list[Signal] = []
        detect = detectors_of(stores)(region)

        def noted(entries: Sequence[Stored[Record]]) -> Sequence[Signal]:
            found.extend(detect(entries))
            return ()

        one = RegionWatch(growing_town.ledger, region, lambda _: noted)
        while one.step(HubLog(growing_town.ledger), lambda: 7):
            pass
        slots = watched_slots(growing_town.ledger, growing_town.blobs, region, region.measures[0], 0, 2**40)
        assert found == list(signals_of(region, slots, thresholds_of(growing_town.ledger, region)))
        assert found


def test_a_slot_is_judged_by_the_thresholds_that_its_close_cites(growing_town: Town) -> None:
    """A close that cites the control log of before a change has the old threshold, one of after it the new, asked in any order."""
    ledger, region = growing_town.ledger, growing_town.region
    slots = list(watched_slots(ledger, growing_town.blobs, region, region.measures[0], 0, 2**40))
    head = ledger.head(CONTROL_LOG)
    old = dataclasses.replace(slots[0], control=(head.size, head.root))
    assert [slot.control for slot in slots] == [
        (one.control_size, one.control_root) for one in ledger.records(region_log("nyc"), SlotClosed)
    ]
    for cell, value in (("", "25"), ("dr5reg", "30")):
        set_parameter(ledger, "surge_threshold_nats", value, lambda: 1, region="nyc", cell=cell, author="test", reason="a test")
    head = ledger.head(CONTROL_LOG)
    new = dataclasses.replace(slots[0], control=(head.size, head.root))
    in_force = thresholds_of(ledger, region)
    usual = surge.THRESHOLD_NATS
    seen = [in_force(one)["surge"] for one in (old, new, old)]
    assert [Threshold(usual), Threshold(25.0, {cell_code("dr5reg"): 30.0}), Threshold(usual)] == seen


def test_it_stops_when_it_is_told_to(growing_town: Town) -> None:
    """A watcher follows until its stop event is set, and has seen everything by then."""
    seen: list[int] = []
    stop = threading.Event()
    running = threading.Thread(target=watch, args=(growing_town.ledger, ["nyc"], stop, first_close(seen), lambda: 7.0))
    running.start()
    closed = len(list(growing_town.ledger.records(region_log("nyc"), SlotClosed)))
    for _ in range(500):
        if len(seen) >= closed:
            break
        stop.wait(0.02)
    stop.set()
    running.join()
    assert closed == len(seen)


def test_it_waits_while_the_ledger_does_not_answer(growing_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that does not answer some reads ends nothing: the watcher goes on, and the log has each signal once."""
    seen: list[int] = []
    reads: list[bool] = []
    stop, ledger = threading.Event(), growing_town.ledger
    running = threading.Thread(target=watch, args=(ledger, ["nyc"], stop, first_close(seen), lambda: 7.0))
    read = ledger.read_kinds

    def often_away(*words: object) -> list[Stored[Record]]:
        if threading.current_thread() is running:
            reads.append(len(reads) in (0, 2, 3))
            if reads[-1]:
                raise StoreUnavailable("database error: connection refused")
        return read(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger, "read_kinds", often_away)
    monkeypatch.setattr("dataflows.watch.watching.PATIENCE", Patience(first_s=0.01, longest_s=0.02))
    running.start()
    for _ in range(500):
        if list(ledger.records(ALERTS_LOG, AlertOpened)) or not running.is_alive():
            break
        stop.wait(0.02)
    stop.set()
    running.join()
    assert (3, 1) == (sum(reads), len(list(ledger.records(ALERTS_LOG, SignalObserved))))
