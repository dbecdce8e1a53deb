"""Faults of reports and messages in detail: what arrives when, where, and in which order."""

import numpy as np
import pytest

from schemas.events.cells import encode
from schemas.events.codec import decode_slow, encode_event
from state.simulation.faults.breaks import WAYS, broken_value
from state.simulation.faults.kinds import chances, producers_of
from tests.state.simulation.faults.logs import HOUR_US, START_US, TEHRAN, Log, event_of, log_of

FROM_US = START_US + 32 * HOUR_US
EVENT = {
    "event_id": "e" * 64,
    "ride_id": "r" * 200,
    "kind": "requested",
    "occurred_at": 1_400_000_000_000_000,
    "region": "tehran",
    "lat": 35.7,
    "lon": 51.4,
}


def during(log: Log, from_us: int, hours: float, partition: int | None = None) -> int:
    """Rows of a time, of one partition or all."""
    until_us = from_us + round(hours * HOUR_US)
    return sum(from_us <= row.logged_at_us < until_us and partition in (None, row.partition) for row in log.rows)


def test_an_outage_is_silence() -> None:
    """In an outage of a partition nothing arrives in it; in one of the region nothing arrives at all."""
    usual = log_of()
    one, all_of_them = (log_of(f"outage:{which}from=+1d8h,hours=2") for which in ("partition=2,", ""))
    assert during(usual, FROM_US, 2, 2) > 0
    assert [0, 0] == [during(one, FROM_US, 2, 2), during(all_of_them, FROM_US, 2)]
    assert during(usual, FROM_US, 2, 1) == during(one, FROM_US, 2, 1)


def test_after_an_outage_a_backlog_arrives() -> None:
    """With after=late nothing is lost: all that was missing arrives within two minutes, in its order."""
    usual, seen = log_of(), log_of("outage:from=+1d8h,hours=2,after=late")
    assert during(seen, FROM_US, 2) == 0
    assert sorted(row.value for row in usual.rows) == sorted(row.value for row in seen.rows)
    until_us = FROM_US + 2 * HOUR_US
    missing = {row.value for row in usual.rows if FROM_US <= row.logged_at_us < until_us}
    for partition in range(4):
        backlog = [row for row in seen.rows if row.partition == partition and row.value in missing]
        assert backlog
        assert all(until_us <= row.logged_at_us <= until_us + HOUR_US // 30 for row in backlog)
        order = [row.value for row in usual.rows if row.partition == partition and row.value in missing]
        assert order == [row.value for row in backlog]


def test_a_slow_partition_keeps_its_order() -> None:
    """The partition lags by its delay, its events stay in order, and the others are as before."""
    usual, seen = log_of(), log_of("slow-partition:partition=1,delay_s=900,from=+1d8h,hours=3")
    for partition in range(4):
        before, after = ([row for row in log.rows if row.partition == partition] for log in (usual, seen))
        assert [row.value for row in before] == [row.value for row in after]
        lags = np.array([late.logged_at_us - row.logged_at_us for row, late in zip(before, after, strict=True)])
        within = np.array([FROM_US <= row.logged_at_us < FROM_US + 3 * HOUR_US for row in before])
        assert (lags[within] == (900_000_000 if partition == 1 else 0)).all()
        assert (lags[~within] < 900_000_000).all()


def test_late_events_are_late_by_their_delay() -> None:
    """A fifth of the events comes half an hour late at most, and a quarter at least."""
    usual, seen = log_of(), log_of("late:from=+1d8h,hours=6")
    at = {row.value: row.logged_at_us for row in usual.rows}
    lags = np.array([row.logged_at_us - at[row.value] for row in seen.rows])
    assert 900_000_000 <= lags[lags > 0].min()
    assert lags.max() <= 1_800_000_000
    assert 0.2 == pytest.approx(float(np.count_nonzero(lags)) / during(usual, FROM_US, 6), abs=0.05)


def test_a_hot_key_fills_one_partition() -> None:
    """Half of the events are under one key, so that its partition has several times the events of another."""
    log = log_of("hot-key:from=+1d8h,hours=6")
    (partition,) = log.labels[0]["partitions"]
    counts = [during(log, FROM_US, 6, number) for number in range(4)]
    assert counts[partition] > 3 * max(counts[number] for number in range(4) if number != partition)


def test_spoofed_rides_stay_at_their_place() -> None:
    """Every step of a spoofed ride in the time of the fault reports the same place in the cell."""
    log, usual = log_of("spoofing:share=0.5,from=+1d8h,hours=6"), log_of()
    known = {row.value for row in usual.rows}
    places: dict[str, set[tuple[float, float]]] = {}
    for row in log.rows:
        if row.value not in known and (event := event_of(row)):
            places.setdefault(event["ride_id"], set()).add((event["lat"], event["lon"]))
    assert len(places) > 20
    assert {1} == {len(found) for found in places.values()}
    lat, lon = np.array([place for found in places.values() for place in found]).T
    assert 1 == len(np.unique(encode(lat, lon, TEHRAN.cell_bits)))


def test_poisoning_is_regular() -> None:
    """Invented rides are requested at the given rate by the given number of riders, and none is served."""
    log, usual = log_of("poisoning:per_hour=30,riders=3,from=+1d8h,hours=6"), log_of()
    known = {row.value for row in usual.rows}
    events = [event for row in log.rows if row.value not in known and (event := event_of(row))]
    assert 180 == sum(event["kind"] == "requested" for event in events)
    assert {"requested", "cancelled"} == {event["kind"] for event in events}
    assert 3 == len({event["rider_id"] for event in events})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("chance", [0.0, 0.5, 0.9999999])
def test_broken_values_never_decode(way: str, chance: float) -> None:
    """No event decodes after a break, also one with long ids and one that is cut before its last byte."""
    value = encode_event(EVENT)
    assert isinstance(decode_slow(value), dict)
    broken = broken_value(value, way, chance)
    assert isinstance(decode_slow(broken), str)
    assert broken != value


def test_chances_are_uniform_and_independent() -> None:
    """Chances of ids are spread over [0, 1), and differ from one fault to the next."""
    ids = [f"{number:016x}-0" for number in range(20_000)]
    first, second = chances(ids, 1), chances(ids, 2)
    assert 0.0 <= first.min()
    assert first.max() < 1.0
    assert (np.abs(np.histogram(first, 20, (0, 1))[0] - 1_000) < 150).all()
    assert abs(float(np.corrcoef(first, second)[0, 1])) < 0.03


def test_producers_are_the_first_digit() -> None:
    """The sixteen producers are the hexadecimal digits."""
    assert list(range(16)) == producers_of([f"{number:x}0" for number in range(16)]).tolist()
