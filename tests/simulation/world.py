"""A seeded small world: a region, some days of history, and one log of ride events with everything that can go wrong in it.

Every entry carries the plain truth beside its bytes, from which `tests.state.counting.plain_slots` computes the expected result.
The live hours start at the local midnight before Berlin's clocks change.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from dataflows.connectors.files.ridelog import RideLogWriter
from dataflows.connectors.kafka.producer import KafkaRideSink
from schemas.events.codec import EventColumns, encode_event, encode_events
from schemas.events.measures import KINDS, RideKind
from schemas.events.rides import Reason
from schemas.regions import Region, region_from_json
from state.counting.evidence import EvidenceRules
from tests.state.counting.plain_slots import SLOT_US, Event

S_US = 1_000_000
MIN_US = 60 * S_US
UNTIL = "2024-03-31"
START_US = int(datetime(2024, 3, 30, 23, tzinfo=UTC).timestamp()) * S_US  # midnight of that day in Berlin
START_SLOT = START_US // SLOT_US
HISTORY_DAYS = 8  # the profile looks one week back first
DEDUP_TOTAL_EVENTS = 1_000  # the minimum that settings allow
SKEW_S = 300
EVIDENCE = EvidenceRules(10, 16, 259_200)  # the defaults of the settings

DEFINITION = {
    "id": "small",
    "timezone": "Europe/Berlin",
    "polygon": [[52.45, 13.30], [52.45, 13.50], [52.55, 13.50], [52.55, 13.30]],
    "measures": ["requests"],
}
PLACES = tuple((52.46 + 0.02 * (n % 4), 13.32 + 0.04 * (n // 4)) for n in range(14))  # one cell each
OUTAGE_MIN = (100, 150)  # no event occurs in these minutes after the start
SILENT_MIN = (30, 55)  # no rides, and none expected


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a partition's log, and its expected result (its offset is its index in the log)."""

    logged_at_us: int
    value: bytes
    event: Event


@dataclass(frozen=True, slots=True)
class World:
    """The world of a seed.

    Attributes:
        logs: Per partition, its entries by log time.
        lateness_us: Time from a slot's end to its cut.
    """

    seed: int
    region: Region
    logs: tuple[tuple[Entry, ...], ...] = field(repr=False)  # the seed stands for them

    @property
    def lateness_us(self) -> int:
        return self.region.issue_lateness_s * S_US

    @property
    def horizon(self) -> int:
        """Number of offsets of a partition within which deduplication finds repeats."""
        return DEDUP_TOTAL_EVENTS // len(self.logs)

    @property
    def truth(self) -> dict[int, list[Event]]:
        """The logs as input of the plain reference."""
        return {p: [entry.event for entry in log] for p, log in enumerate(self.logs)}

    @property
    def ends(self) -> dict[int, int]:
        return {p: len(log) for p, log in enumerate(self.logs)}


# --- the live hours --------------------------------------------------------------------------------


def make_world(seed: int, *, hours: float = 6.0, partitions: int = 3, damage: bool = True) -> World:
    """The world of a seed: a few events a minute, unevenly; the last partition is sparse and becomes idle early.

    Args:
        damage: Whether there are rejects among the events; there are always late rides and duplicates.
    """
    rng = np.random.default_rng(seed)
    weights = np.array([1.0] * (partitions - 1) + [0.15])
    logs: list[list[tuple[int, bytes, Event]]] = [[] for _ in range(partitions)]
    minutes = np.arange(-20, int(60 * hours))
    for number, at_us in enumerate(_times(rng, minutes)):
        partition = int(rng.choice(partitions, p=weights / weights.sum()))
        if partition == partitions - 1 and at_us > START_US + 0.6 * hours * 60 * MIN_US:
            continue
        place = PLACES[_place(rng)]
        logs[partition].append(_ride(rng, number, at_us, place, RideKind.REQUESTED))
        if rng.random() < 0.2:
            after = at_us + int(rng.integers(2, 30)) * MIN_US
            logs[partition].append(_ride(rng, number, after, place, RideKind.COMPLETED))
        if damage and rng.random() < 0.04:
            logs[partition].append(_reject(rng, number, at_us, place))
    finished = tuple(_with_duplicates(rng, sorted(log, key=lambda entry: entry[0])) for log in logs)
    return World(seed, make_region(), finished)


def make_region(**changes: object) -> Region:
    """The small region, with some fields changed."""
    return region_from_json(json.dumps(DEFINITION | changes), where="small world")


def _times(rng: np.random.Generator, minutes: np.ndarray) -> Iterator[int]:
    """Event times of the rides of these minutes after the start, in order."""
    for minute in minutes.tolist():
        if OUTAGE_MIN[0] <= minute < OUTAGE_MIN[1] or SILENT_MIN[0] <= minute < SILENT_MIN[1]:
            continue
        for second in sorted(rng.uniform(0, 60, rng.poisson(rate(minute)))):
            yield START_US + minute * MIN_US + int(second * 1000) * 1000


def rate(minute: int) -> float:
    """Expected rides per minute at a minute after the start: none at first, many later."""
    return 0.3 if minute % 1440 < 60 else 4.0 + 2.0 * float(np.sin(minute / 90))


def _place(rng: np.random.Generator) -> int:
    return min(int(rng.zipf(1.6)) - 1, len(PLACES) - 1)


def _ride(rng: np.random.Generator, number: int, at_us: int, place: tuple[float, float], kind: RideKind) -> tuple[int, bytes, Event]:
    """One valid event; most are logged within a minute, some after many minutes, a few after hours."""
    late_s = rng.choice([rng.uniform(0, 40), rng.uniform(300, 3_000), rng.uniform(3_600, 9_000)], p=[0.95, 0.04, 0.01])
    counted = kind is RideKind.REQUESTED
    value = encode_event(_fields(number, at_us, place, kind))
    return at_us + int(late_s * 1000) * 1000, value, Event(-1, 2 * number + (not counted), at_us, place, counted=counted)


def _fields(number: int, at_us: int, place: tuple[float, float], kind: RideKind = RideKind.REQUESTED) -> dict[str, object]:
    return {
        "event_id": f"{kind}-{number}",
        "ride_id": f"ride-{number}",
        "kind": str(kind),
        "occurred_at": at_us,
        "region": "small",
        "lat": place[0],
        "lon": place[1],
        "rider_id": f"rider-{number % 97}",
    }


def _reject(rng: np.random.Generator, number: int, at_us: int, place: tuple[float, float]) -> tuple[int, bytes, Event]:
    """An event that breaks one rule; it has a valid event's id, which must not affect that event."""
    reason = Reason(str(rng.choice([str(reason) for reason in Reason])))
    fields = _fields(number + 3, at_us, place)
    logged_at_us = at_us + 1_000 * int(rng.integers(0, 30_000))
    match reason:
        case Reason.UNDECODABLE:
            value = encode_event(fields)
            cut = int(rng.integers(0, len(value)))
            return logged_at_us, [value[:cut], value + b"\x00", rng.bytes(30)][int(rng.integers(3))], Event(-1, -1, at_us, place, reason)
        case Reason.UNKNOWN_REGION:
            fields["region"] = "Smaller"  # no id of a region
        case Reason.OUTSIDE_REGION:
            fields["lat"] = float(rng.choice([0.0, float("nan"), float("inf"), -1e308, 52.56]))
        case Reason.TIME_OUT_OF_BOUNDS:
            fields["occurred_at"] = int(rng.choice([0, -1, 946_684_800 * S_US - 1, 4_102_444_800 * S_US]))
        case Reason.AHEAD_OF_LOG:
            fields["occurred_at"] = logged_at_us + SKEW_S * S_US + int(rng.choice([1, MIN_US, 86_400 * S_US]))
        case Reason.BAD_ID:
            fields["event_id"] = str(rng.choice(["", "x" * 65]))
        case Reason.BAD_FARE:
            fields["fare"] = float(rng.choice([-0.01, float("nan"), float("inf")]))
    return logged_at_us, encode_event(fields), Event(-1, -1, at_us, place, reason)


def _with_duplicates(rng: np.random.Generator, log: Sequence[tuple[int, bytes, Event]]) -> tuple[Entry, ...]:
    """Offsets, and repeats of 4 % of the entries: soon after, near the end of deduplication's horizon, and beyond it."""
    repeats: dict[int, list[tuple[int, bytes, Event]]] = {}
    for position, entry in enumerate(log):
        if rng.random() < 0.04:
            distance = int(rng.choice([rng.integers(0, 20), rng.integers(280, 340), rng.integers(340, 500)]))
            repeats.setdefault(position + distance, []).append(entry)
    out: list[Entry] = []
    for position, (logged_at_us, value, event) in enumerate(log):
        for _, again, same in ((logged_at_us, value, event), *repeats.get(position, [])):
            copy = Event(len(out), same.event_id, same.at_us, same.cell_at, same.reason, same.counted)
            if copy.reason == Reason.AHEAD_OF_LOG and same is not event:
                continue  # Logged later, it might no longer be ahead.
            out.append(Entry(logged_at_us, again, copy))
    return tuple(out)


# --- written down ----------------------------------------------------------------------------------


def write_region(world: World, folder: Path) -> Path:
    """The region's definition as a file for `--region`."""
    path = folder / "small.json"
    path.write_text(world.region.to_json(), "utf-8")
    return path


def write_history(folder: Path, partitions: int = 3, region: str = "small") -> None:
    """The days before the live hours, as a ride log; the same for every seed."""
    rng = np.random.default_rng(0)
    minutes = np.arange(-HISTORY_DAYS * 1440, 0)
    counts = rng.poisson([rate(minute) for minute in minutes.tolist()])
    at_us = START_US + np.repeat(minutes, counts) * MIN_US + rng.integers(0, 60_000, int(counts.sum())) * 1000
    at_us.sort()
    places = np.array([PLACES[_place(rng)] for _ in at_us])
    names = [f"old-{n}" for n in range(len(at_us))]
    kinds = np.full(len(at_us), KINDS.index(RideKind.REQUESTED), np.uint8)
    values = encode_events(EventColumns(names, names, kinds, at_us, region, places[:, 0].copy(), places[:, 1].copy()))
    with RideLogWriter(folder, partitions) as log:
        for partition in range(partitions):
            mine = values[partition::partitions]
            log.append(partition, at_us[partition::partitions], [b""] * len(mine), mine)


def write_files(world: World, folder: Path, segment_bytes: int = 8_000) -> None:
    """The live hours as a ride log of several small files."""
    with RideLogWriter(folder, len(world.logs), segment_bytes) as log:
        for partition, entries in enumerate(world.logs):
            for start in range(0, len(entries), 50):
                append(log, partition, entries[start : start + 50])
                log.flush()  # one block, after which another file may start


def write_kafka(world: World, bootstrap: str, topic: str) -> None:
    """Write the live hours to an empty topic."""
    sink = KafkaRideSink(bootstrap, topic, len(world.logs), append_to=False)
    for partition, entries in enumerate(world.logs):
        append(sink, partition, entries)
    sink.flush()


def append(log: RideLogWriter | KafkaRideSink, partition: int, entries: Sequence[Entry]) -> None:
    """Append entries at a partition's end."""
    times = np.array([entry.logged_at_us for entry in entries], np.int64)
    log.append(partition, times, [b""] * len(entries), [entry.value for entry in entries])
