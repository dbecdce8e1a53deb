"""Logs of a small simulated city with faults, as the rows that would be written."""

import json
from collections import Counter
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

from dataflows.connectors.delivery import Delivery, DeliveryRules
from schemas.events.codec import decode_slow
from schemas.regions import load_region
from state.simulation.city import build_city
from state.simulation.faults.kinds import Reports, Scene
from state.simulation.faults.run import FaultRun
from state.simulation.faults.syntax import parse_faults
from state.simulation.simulate import DAY_US, simulate_city

TEHRAN = load_region("tehran")
START_US = 1_743_798_600_000_000  # Saturday 2025-04-05, local midnight
SEED, DAYS, RIDES_PER_DAY, PARTITIONS = 7, 3, 400, 4
HOUR_US = 3_600_000_000

# Every kind of fault, large enough to be seen in a small city.
TEXTS = {
    "surge": "surge:factor=8,cells=60,from=+1d9h,hours=4",
    "level": "level:factor=0.5,from=+1d,until=+2d6h",
    "mix": "mix:share=0.3,from=+1d3h",
    "growth": "growth:per_day=0.3,from=+12h",
    "decline": "decline:per_day=0.3,from=+12h",
    "holiday": "holiday:from=+1d",
    "stadium": "stadium:crowd=60,from=+1d20h",
    "spoofing": "spoofing:share=0.3,from=+1d8h",
    "gps-drift": "gps-drift:m_per_hour=3000,producer=2,producers=3,from=+1d8h",
    "poisoning": "poisoning:per_hour=20,from=+1d20h",
    "hot-key": "hot-key:from=+1d8h",
    "clock-skew": "clock-skew:from=+1d8h",
    "clock-jumps": "clock-jumps:by_s=-900,producers=4,from=+1d8h",
    "schema": "schema:share=0.2,from=+1d8h",
    "outage": "outage:partition=2,from=+1d8h,hours=3",
    "duplicates": "duplicates:from=+1d8h",
    "late": "late:from=+1d8h",
    "disorder": "disorder:from=+1d8h,hours=3",
    "slow-partition": "slow-partition:partition=1,from=+1d8h",
}
OTHERS = (
    "level:factor=1.5,from=+2d8h,hours=2",
    "level:factor=0.5,from=+1d9h,hours=2",
    "level:factor=0.01,from=+2d19h",  # also rides that are under way at the end
    "level:factor=3,from=+2d19h",
    "outage:from=+1d10h,hours=2",
    "outage:producer=4,producers=2,after=late,from=+1d10h,hours=3",
    "clock-skew:by_s=-600,producer=15,producers=2,from=+1d10h",
    "schema:how=truncated,producer=1,share=1,from=+2d",
)


class Row(NamedTuple):
    """One entry of a log."""

    partition: int
    logged_at_us: int
    key: bytes
    value: bytes


@dataclass(frozen=True)
class Log:
    """The rows of a simulation, partition by partition, and the labels of its faults."""

    rows: list[Row]
    labels: list[dict[str, Any]]

    @cached_property
    def counted(self) -> Counter[Row]:
        """How often each row is there."""
        return Counter(self.rows)


@cache
def scene(days: int = DAYS) -> Scene:
    """The city of these logs."""
    return Scene(TEHRAN, build_city(TEHRAN, SEED), SEED, START_US, START_US + days * DAY_US, RIDES_PER_DAY, PARTITIONS)


def log_of(*texts: str, days: int = DAYS) -> Log:
    """The log under some faults; without any, as it is written when none is asked for."""
    place = scene(days)
    faults = FaultRun(place, parse_faults(texts, TEHRAN, START_US, place.end_us))
    delivery = Delivery(PARTITIONS, DeliveryRules(), faults.delivered if texts else None)
    rows = list[Row]()
    for day, events in enumerate(simulate_city(TEHRAN, START_US, days, SEED, RIDES_PER_DAY, faults if texts else None)):
        from_us = START_US + day * DAY_US
        reports = Reports(events, events.occurred_at_us, from_us, from_us + DAY_US)
        if texts:
            reports = faults.reported(reports)
        for entries in delivery.push(reports.columns, reports.until_us, reports.sent_at_us if texts else None):
            rows += rows_of(*entries)
    for entries in delivery.finish():
        rows += rows_of(*entries)
    return Log(sorted(rows, key=lambda row: row.partition), json.loads(faults.labels())["faults"])


def rows_of(partition: int, times: Any, keys: list[bytes], values: list[bytes]) -> list[Row]:
    """The rows of some entries."""
    return [Row(partition, *row) for row in zip(times.tolist(), keys, values, strict=True)]


def event_of(row: Row) -> dict[str, Any] | None:
    """The event of a row, None if it is broken."""
    fields = decode_slow(row.value)
    return None if isinstance(fields, str) else fields
