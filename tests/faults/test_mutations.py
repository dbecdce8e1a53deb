"""Damaged events through the whole pipeline: every event is accounted for, and rejected ones are stored."""

import re
from pathlib import Path

import numpy as np
import pytest

from dataflows.connectors.files.ridelog import RideLogWriter
from dataflows.connectors.rejects_at import open_rejects
from schemas.events.codec import decode_slow, encode_event
from schemas.events.measures import KINDS
from schemas.events.rides import Reason
from tests.simulation.runs import LOG, Place, closed_slots, finish, payloads_at, settle, start_cluster
from tests.simulation.world import MIN_US, PLACES, S_US, SKEW_S, START_US, World, make_region

SEED = 20_140_501
PARTITIONS = 3
ABSURD: dict[str, tuple[object, ...]] = {
    "event_id": ("", "x" * 64, "x" * 65, "x" * 5_000, "\x00", "ride \N{AUTOMOBILE}"),
    "ride_id": ("", "y" * 70_000),
    "kind": tuple(str(kind) for kind in KINDS),
    "occurred_at": (0, -1, 2**63 - 1, -(2**63), START_US - 1, START_US - 86_400 * S_US, 10**15),
    "region": ("", "smal", "small ", "SMALL", "smalls", "z" * 300),
    "lat": (float("nan"), float("inf"), -1e308, 90.0, 5e-324, -0.0),
    "lon": (float("nan"), float("-inf"), 1e308, 180.0, 13.3),
    "dropoff_lat": (float("nan"), 1e308),
    "fare": (-0.01, -0.0, float("nan"), float("inf"), 1e300, 5e-324),
    "rider_id": ("", "r" * 1_000, None),
    "logged_at": (0, -1, 2**62),
}


def mutated(rng: np.random.Generator, number: int, at_us: int) -> bytes:
    """One event with one kind of damage, or none."""
    lat, lon = PLACES[int(rng.integers(len(PLACES)))]
    fields: dict[str, object] = {
        "event_id": f"event-{number}",
        "ride_id": f"ride-{number}",
        "kind": "requested",
        "occurred_at": at_us,
        "region": "small",
        "lat": lat,
        "lon": lon,
        "fare": 7.5,
    }
    match int(rng.integers(6)):
        case 0:  # bits flipped
            data = bytearray(encode_event(fields))
            for _ in range(int(rng.integers(1, 4))):
                data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
            return bytes(data)
        case 1:  # truncated, or too long
            value = encode_event(fields)
            return value[: int(rng.integers(len(value)))] if rng.random() < 0.7 else value + rng.bytes(int(rng.integers(1, 20)))
        case 2:  # arbitrary bytes, with or without the frame of an event
            junk = [rng.bytes(int(rng.integers(0, 200))), b'{"event_id": 7}', b"", b"\x00" * 40, "سفر".encode()][int(rng.integers(5))]
            return junk if rng.random() < 0.5 else encode_event(fields)[:10] + junk
        case 3:  # fields moved: other types than expected
            value = encode_event(fields)
            at, size = int(rng.integers(10, len(value))), int(rng.integers(1, 9))
            return value[:at] + (rng.bytes(size) if rng.random() < 0.5 else b"") + value[at + size :]
        case 4:
            for name in rng.choice(sorted(ABSURD), int(rng.integers(1, 3)), replace=False):
                fields[str(name)] = ABSURD[name][int(rng.integers(len(ABSURD[name])))]
    return encode_event(fields)


def reason_of(value: bytes, logged_at_us: int) -> Reason | None:
    """The reason to reject an event, rule by rule from its fields; None to accept it, counted or not."""
    fields = decode_slow(value)
    if isinstance(fields, str):
        return Reason.UNDECODABLE
    event_id, at_us, lat, lon, fare = (fields[name] for name in ("event_id", "occurred_at", "lat", "lon", "fare"))
    assert isinstance(event_id, str)
    assert isinstance(at_us, int)
    assert isinstance(lat, float)
    assert isinstance(lon, float)
    assert isinstance(fare, float | None)
    if fields["region"] != "small" and re.fullmatch("[a-z][a-z0-9_-]{0,31}", str(fields["region"])):
        return None  # another region's event is none of this region's business
    rules = (
        (Reason.BAD_ID, 0 < len(event_id.encode()) <= 64),
        (Reason.UNKNOWN_REGION, fields["region"] == "small"),
        (Reason.TIME_OUT_OF_BOUNDS, 946_684_800 * S_US <= at_us < 4_102_444_800 * S_US),
        (Reason.AHEAD_OF_LOG, at_us <= logged_at_us + SKEW_S * S_US),
        (Reason.OUTSIDE_REGION, 52.45 <= lat < 52.55 and 13.30 <= lon < 13.50),
        (Reason.BAD_FARE, fare is None or 0 <= fare < float("inf")),
    )
    return next((reason for reason, kept in rules if not kept), None)


def written(folder: Path, events: int) -> tuple[Place, dict[tuple[int, int], tuple[Reason | None, bytes]]]:
    """A place with that many mutated events, and per (partition, offset) the verdict that each must get."""
    rng = np.random.default_rng(SEED)
    verdicts: dict[tuple[int, int], tuple[Reason | None, bytes]] = {}
    times: list[list[int]] = [[] for _ in range(PARTITIONS)]
    values: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
    for number in range(events):
        partition, at_us = number % PARTITIONS, START_US + number * 240 * MIN_US // events
        value, logged_at_us = mutated(rng, number, at_us), at_us // 1000 * 1000 + 2 * S_US
        verdicts[partition, len(values[partition])] = reason_of(value, logged_at_us), value
        times[partition].append(logged_at_us)
        values[partition].append(value)
    with RideLogWriter(folder / "rides", PARTITIONS) as log:
        for partition in range(PARTITIONS):
            log.append(partition, np.array(times[partition]), [b""] * len(values[partition]), values[partition])
    world = World(SEED, make_region(), ((),) * PARTITIONS)
    return settle(world, folder, rides=str(folder / "rides")), verdicts


def check(folder: Path, events: int) -> str:
    """Run the real flow over that many mutated events and compare its result with each event's verdict."""
    place, verdicts = written(folder, events)
    finish(place, *start_cluster(place, 2, 5_000), limit_s=600)
    stores = place.open()
    sink = open_rejects(stores.settings)
    kept = {(reject.partition, reject.offset): (reject.reason, reject.value) for reject in sink.read()}
    sink.close()
    assert stores.ledger.head(LOG).size > 100
    stores.close()
    assert {place: verdict for place, verdict in verdicts.items() if verdict[0] is not None} == kept
    cuts = [cut for record in closed_slots(payloads_at(place)) for cut in record.partitions]
    for cut in cuts:
        assert cut.received == cut.accepted + cut.duplicate + sum(cut.rejected.values())
        assert cut.accepted == cut.counted + sum(cut.uncounted.values())
    received, rejected = sum(cut.received for cut in cuts), sum(sum(cut.rejected.values()) for cut in cuts)
    assert (events, len(kept)) == (received, rejected)
    accepted, duplicate = sum(cut.accepted for cut in cuts), sum(cut.duplicate for cut in cuts)
    return f"received={received} accepted={accepted} duplicate={duplicate} rejected={rejected}"


def test_mutated_events_are_all_accounted_for(tmp_path: Path) -> None:
    """Of 5,000 damaged events each is accepted, a duplicate, or rejected with its bytes stored; none stops the flow."""
    print(f"seed {SEED}: {check(tmp_path, 5_000)}")


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_a_hundred_thousand_mutated_events_are_all_accounted_for(tmp_path: Path) -> None:
    """Of 100,000 damaged events each is accepted, a duplicate, or rejected with its bytes stored; none stops the flow."""
    print(f"mutated, seed {SEED}: {check(tmp_path, 100_000)}")
