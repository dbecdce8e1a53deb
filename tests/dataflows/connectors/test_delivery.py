"""Simulated delivery: delays, duplicates, the log's order, and no event before it occurred."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from dataflows.connectors.delivery import REPEAT_WITHIN_MS, Delivery, DeliveryRules, Entries
from schemas.errors import UsageError
from schemas.events.codec import EventColumns, encode_events
from schemas.events.partitioner import partition_of

START_US = 1_400_000_000_000_000
FOREVER = (1 << 63) - 1


def events(times_us: list[int], first: int = 0) -> EventColumns:
    """One started ride at each time."""
    n = len(times_us)
    ids = [f"ride-{number}" for number in range(first, first + n)]
    return EventColumns(ids, ids, np.full(n, 2, np.uint8), np.array(times_us, np.int64), "nyc", np.full(n, 40.7), np.full(n, -74.0))


def log_of(entries: list[Entries]) -> dict[int, list[tuple[int, bytes, bytes]]]:
    """Entries by partition."""
    out: dict[int, list[tuple[int, bytes, bytes]]] = {}
    for partition, times, keys, values in entries:
        out.setdefault(partition, []).extend(zip(times.tolist(), keys, values, strict=True))
    return out


def test_without_rules_events_arrive_when_they_occur() -> None:
    """Each event is logged at its own time, in its order, in the partition that Kafka would choose."""
    columns = events([START_US + 1_000 * row for row in range(50)])
    log = log_of(list(Delivery(4, DeliveryRules()).push(columns, FOREVER)))
    keys = [ride.encode() for ride in columns.ride_id]
    rows = list(zip(columns.occurred_at_us.tolist(), keys, encode_events(columns), strict=True))
    places = partition_of(keys, 4)
    assert log == {partition: [row for row, place in zip(rows, places, strict=True) if place == partition] for partition in log}
    assert sum(map(len, log.values())) == 50


def test_log_times_are_whole_milliseconds_and_not_early() -> None:
    """Kafka keeps milliseconds: a time is rounded up, so that no event is logged before it occurred."""
    log = log_of(list(Delivery(1, DeliveryRules()).push(events([START_US + 1, START_US + 1_000]), FOREVER)))
    assert [time for time, _, _ in log[0]] == [START_US + 1_000, START_US + 1_000]


def test_jitter_and_duplicates() -> None:
    """Delays stay within their bound, duplicates are the same bytes shortly after, and each log is in order."""
    columns = events([START_US + 1_000_000 * row for row in range(5_000)])
    delivery = Delivery(4, DeliveryRules(120, 0.05, 1))
    log = log_of(list(delivery.push(columns, FOREVER)))
    happened = dict(zip([ride.encode() for ride in columns.ride_id], columns.occurred_at_us.tolist(), strict=True))
    seen: dict[bytes, tuple[int, bytes]] = {}
    delays, repeats = [], 0
    for rows in log.values():
        assert [row[0] for row in rows] == sorted(row[0] for row in rows)
        for time, key, value in rows:
            if key in seen:
                repeats += 1
                assert value == seen[key][1]
                assert 0 < time - seen[key][0] <= REPEAT_WITHIN_MS * 1_000
            else:
                seen[key] = (time, value)
                delays.append(time - happened[key])
    assert len(seen) == 5_000
    assert 200 < repeats == delivery.repeated < 300
    assert delivery.delivered == 5_000 + repeats
    assert 0 <= min(delays) < 1_000_000 < 119_000_000 < max(delays) <= 120_000_000


@given(
    st.lists(st.integers(0, 5_000), min_size=1, max_size=60),
    st.lists(st.integers(1, 59), max_size=5),
    st.sampled_from((0.0, 0.5, 3.0)),
    st.sampled_from((0.0, 0.4)),
    st.integers(0, 3),
)
@settings(max_examples=100, deadline=None)
def test_batches_of_events_do_not_matter(gaps_ms: list[int], cuts: list[int], jitter_s: float, duplicates: float, seed: int) -> None:
    """The same events in any number of batches give the same log."""
    times = (START_US + 1_000 * np.cumsum(gaps_ms)).tolist()
    rules = DeliveryRules(jitter_s, duplicates, seed)
    whole = log_of(list(Delivery(3, rules).push(events(times), FOREVER)))
    delivery, parts = Delivery(3, rules), list[Entries]()
    bounds = sorted({0, len(times), *(cut for cut in cuts if cut < len(times))})
    for start, stop in pairwise(bounds):
        parts += delivery.push(events(times[start:stop], start), times[stop] if stop < len(times) else times[-1])
    parts += delivery.finish()
    assert log_of(parts) == whole


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ((-1.0, 0.0, 0), "--jitter-s: expected 0 to 86400 seconds, got -1"),
        ((float("nan"), 0.0, 0), "--jitter-s: expected"),
        ((0.0, 1.5, 0), "--duplicates: expected a share from 0 to 1, got 1.5"),
        ((0.0, 0.0, -1), "--seed: expected 0 or more, got -1"),
    ],
)
def test_rules_out_of_bounds(rules: tuple[float, float, int], message: str) -> None:
    """Rules out of bounds are refused with their option's name."""
    with pytest.raises(UsageError, match=message):
        DeliveryRules(*rules)
