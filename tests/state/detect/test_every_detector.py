"""One suite for every row of the table of detectors, and what each must see and how soon."""

import functools

import numpy as np
import pytest

from schemas.events.rides import Reason
from schemas.forecasts.watched import WatchedSlot
from state.decide.alert_causes import CAUSES
from state.detect.signals import Signal
from state.detect.table import DETECTORS, Row, signals_of
from tests.state.detect import streams

FAULTS = {
    "outage of the region": ("silence", "region", 2, streams.silent(range(streams.PARTITIONS)), None),
    "outage of a partition": ("silence", "partition:2", 2, streams.silent(range(2, 3)), None),
    "duplicates": ("duplicates", "region", 2, streams.with_rejects(0.2, None), None),
    "schema": ("schema", "region", 2, streams.with_rejects(0.05, Reason.UNDECODABLE), None),
    "clock": ("clock", "region", 2, streams.with_rejects(1 / 16, Reason.AHEAD_OF_LOG), None),
    "place": ("place", "region", 2, streams.with_rejects(0.05, Reason.OUTSIDE_REGION), None),
    "late events": ("lateness", "region", 2, streams.late, None),
    "surge": ("surge", "cells:", 3, None, streams.surge),
    "spoofing": ("spoofing", "cell:dr5ru7", 6, streams.spoofed, None),
    "level": ("level", "region", streams.DAY, None, streams.lower),
    "mix": ("mix", "region", streams.DAY, None, streams.shifted),
    "growth": ("growth", "region", 11 * streams.DAY, None, streams.growing),
}
SLOW = {"level", "mix", "growth"}


@functools.cache
def faulty(name: str, seed: int = 1) -> list[WatchedSlot]:
    """Three days of slots with a fault; weeks of them for detectors that compare weeks."""
    _, _, _, change, demand = FAULTS[name]
    return streams.stream(26.0 if name == "growth" else 15.5 if name in SLOW else 2.6, seed, change, demand)


def began(name: str) -> int:
    """Number of the first slot of a fault."""
    return streams.LONG_FAULT_DAY * streams.DAY + 150 if name in SLOW else streams.FAULT_AT


def peak(row: Row) -> int:
    """A slot in the middle of the fault of `of_row`."""
    return began(row.name) + (streams.DAY // 2 if row.name in SLOW else 12)


def said(row: Row, slots: list[WatchedSlot], threshold: float | None = None) -> list[Signal]:
    """What a detector says of slots."""
    detector = row.make(streams.REGION, row.threshold if threshold is None else threshold)
    return [signal for watched in slots for signal in detector.see(watched)]


def of_row(row: Row) -> list[WatchedSlot]:
    """Slots with the first fault that the row's detector must see."""
    return faulty(next(name for name, fault in FAULTS.items() if fault[0] == row.name))


def test_every_kind_of_signal_is_in_the_table_of_causes() -> None:
    """What a detector says has a kind that its row names, and that alerts can group with others."""
    known = set(CAUSES) | {kind for caused in CAUSES.values() for kind in caused}
    for row in DETECTORS:
        assert set(row.kinds) <= known
    for name, fault in FAULTS.items():
        row = next(row for row in DETECTORS if row.name == fault[0])
        kinds = {signal.kind for signal in said(row, faulty(name))}
        assert kinds
        assert kinds <= set(row.kinds)


each = pytest.mark.parametrize("row", DETECTORS, ids=lambda row: row.name)


@each
def test_state_goes_to_arrays_and_back(row: Row) -> None:
    """A detector restored in the middle of a fault from its arrays says what the one that went on says, from equal arrays."""
    slots = of_row(row)
    for cut in (20, peak(row)):
        first = row.make(streams.REGION, row.threshold)
        for watched in slots[:cut]:
            first.see(watched)
        second = row.make(streams.REGION, row.threshold)
        second.restore({name: array.copy() for name, array in first.arrays().items()})
        assert [first.see(watched) for watched in slots[cut:]] == [second.see(watched) for watched in slots[cut:]]
        left, right = first.arrays(), second.arrays()
        assert all(np.array_equal(left[name], right[name], equal_nan=left[name].dtype.kind == "f") for name in left)


@each
def test_no_look_ahead(row: Row) -> None:
    """What a detector says of a slot does not depend on later ones, and a repetition says the same."""
    slots = of_row(row)
    every = said(row, slots)
    assert every
    for cut in (began(row.name), peak(row)):
        assert said(row, slots[:cut]) == [signal for signal in every if signal.slot < streams.FIRST + cut]
    assert all(signal.since_slot <= signal.slot for signal in every)


@each
def test_monotone_in_its_threshold(row: Row) -> None:
    """A cell, or a subject without cells, that fires at a threshold fires in the same slots at every lower one."""
    slots = of_row(row)
    fires: list[set[tuple[int, str]]] = []
    for factor in (0.5, 1.0, 1.5):
        detector = row.make(streams.REGION, row.threshold * factor)
        now: dict[str, tuple[str, ...]] = {}
        seen: set[tuple[int, str]] = set()
        for watched in slots:
            for signal in detector.see(watched):
                now[signal.subject] = (signal.cells or (signal.subject,)) if signal.firing else ()
            seen |= {(watched.slot, about) for abouts in now.values() for about in abouts}
        fires.append(seen)
    assert fires[0] >= fires[1] >= fires[2]
    assert fires[2]


@each
def test_bounded_memory(row: Row) -> None:
    """The arrays of a detector are no larger after a week of usual slots than cells and partitions explain."""
    slots = streams.stream(3.0, 5)
    detector = row.make(streams.REGION, row.threshold)
    for watched in slots:
        detector.see(watched)
    most = row.bytes_per_cell * (len(slots[0].cells) + streams.PARTITIONS) + row.bytes_besides
    assert sum(array.nbytes for array in detector.arrays().values()) <= most


def delay(name: str, seed: int) -> int:
    """Slots that closed since a fault began until its detector fired about the right subject; it must not have fired before."""
    source, subject, _, _, _ = FAULTS[name]
    [row] = [row for row in DETECTORS if row.name == source]
    found = [signal for signal in said(row, faulty(name, seed)) if signal.subject.startswith(subject)]
    assert found
    assert found[0].firing
    assert found[0].slot >= streams.FIRST + began(name)
    return found[0].slot - streams.FIRST - began(name) + 1


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_seen_in_time(name: str) -> None:
    """Each fault is seen with every seed, and the median delay is within its bound of slots."""
    assert np.median([delay(name, seed) for seed in ((1,) if name in SLOW else (1, 2, 3))]) <= FAULTS[name][2]


@pytest.mark.parametrize("name", ["outage of the region", "surge"])
def test_a_fault_that_ends_is_ended(name: str) -> None:
    """A detector says that a fault is over within an hour after its last slot."""
    source, subject, _, change, demand = FAULTS[name]
    [row] = [row for row in DETECTORS if row.name == source]
    usual, until = streams.stream(4.0, 3), streams.FAULT_AT + 24
    found = said(row, streams.stream(4.0, 3, change, demand)[:until] + usual[until:])
    ended = [signal.slot - streams.FIRST for signal in found if signal.subject.startswith(subject) and not signal.firing]
    assert ended
    assert until <= ended[0] < until + 12


def test_usual_weeks_are_silent() -> None:
    """All detectors together say at most one thing in a week without a fault."""
    for seed in (11, 12):
        assert len([signal for signal in signals_of(streams.REGION, streams.stream(7.0, seed)) if signal.firing]) <= 1
