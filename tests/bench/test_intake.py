"""How fast one process takes rides in, against the bare Kafka consumer in the same run."""

import cProfile
import io
import os
import pstats
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from dataflows.connectors.rejects import FileRejects
from dataflows.connectors.sources import open_rides
from dataflows.stream.pump import PartitionPump, PumpLimits
from dataflows.stream.resume import FROM_LOWEST, ResumePlan
from schemas.events.codec import Decoder, EventColumns, encode_events
from schemas.events.measures import KINDS, RideKind
from schemas.events.rides import Int64s
from schemas.records.records import RegionBootstrapped
from schemas.regions import load_region
from state.counting.intake import IntakeRules
from state.counting.partials import ResumePoint

PARTITIONS = 4
EVENTS = int(os.environ.get("RIDECAST_BENCH_EVENTS", 4_000_000))
ROUNDS = int(os.environ.get("RIDECAST_BENCH_ROUNDS", 5))
NINE_WEEKS_US = 63 * 86_400_000_000  # weekdays stay when the months repeat
REGION = load_region("nyc")
START = 1_396_000_000_000_000 // REGION.slot_us
TUNED = {"fetch.queue.backoff.ms": 5, "enable.auto.commit": False, "enable.auto.offset.store": False}


def load(bootstrap: str, topic: str, shared: Path) -> None:
    """New York's months, repeated to EVENTS rides in stream order, each with its own id, spread over four partitions."""
    months = [pq.read_table(shared / f"data/uber_nyc_2014-{m}.parquet", columns=["time", "lat", "lon"]) for m in ("04", "05")]
    at = np.concatenate([m["time"].to_numpy().astype("datetime64[us]").astype(np.int64) for m in months])
    lat, lon = (np.concatenate([m[name].to_numpy() for m in months]) for name in ("lat", "lon"))
    rng = np.random.default_rng(2014)
    at = at + 4 * 3_600_000_000 + rng.integers(0, 60_000_000, len(at))
    order = np.argsort(at, kind="stable")
    copies = -(-EVENTS // len(at))
    times: Int64s = np.concatenate([at[order] + i * NINE_WEEKS_US for i in range(copies)])[:EVENTS]
    lats, lons = np.tile(lat[order], copies)[:EVENTS], np.tile(lon[order], copies)[:EVENTS]
    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 20, "batch.size": 1_000_000, "queue.buffering.max.messages": 1_000_000}
    )
    for start in range(0, EVENTS, 100_000):
        part = slice(start, start + 100_000)
        n = len(times[part])
        ids = [f"{start + i:032x}" for i in range(n)]
        kind = np.full(n, KINDS.index(RideKind.STARTED), np.uint8)
        columns = EventColumns(
            event_id=ids,
            ride_id=ids,
            kind=kind,
            occurred_at_us=times[part],
            logged_at_us=times[part],
            region=REGION.id,
            lat=lats[part],
            lon=lons[part],
        )
        for i, value in enumerate(encode_events(columns)):
            while True:
                try:
                    producer.produce(topic, value, partition=i % PARTITIONS, timestamp=int(times[start + i]) // 1000)
                    break
                except BufferError:
                    producer.poll(0.05)
        producer.poll(0)
    assert producer.flush(60) == 0


def bare(bootstrap: str, topic: str) -> float:
    """Seconds that a bare, tuned consume loop needs to count every message."""
    began = time.perf_counter()
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench", **TUNED})
    consumer.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
    total = 0
    while total < EVENTS:
        total += len(consumer.consume(5_000, 0.05))
    spent = time.perf_counter() - began
    consumer.close()
    return spent


def intake(bootstrap: str, topic: str, rejects: FileRejects) -> float:
    """Seconds that the shipped intake needs to decode, validate, deduplicate and count the same messages."""
    began = time.perf_counter()
    source = open_rides(f"kafka://{bootstrap}/{topic}")
    point = ResumePoint(FROM_LOWEST, 0, START - 1, -1, START)
    boot = RegionBootstrapped(
        region=REGION.id,
        definition="",
        until="",
        first_slot=START,
        start_slot=START,
        rides=0,
        counts_blob=b"",
        evidence_events=10,
        evidence_window_events=16,
        hold_s=259_200,
    )
    plan = ResumePlan(REGION, boot, START, dict.fromkeys(range(PARTITIONS), point))
    pumps = [
        PartitionPump(source, p, [plan], Decoder((REGION.id,)), IntakeRules(), rejects, PumpLimits(), time.monotonic, bounded=True)
        for p in range(PARTITIONS)
    ]
    counted = 0
    while not all(pump.ended for pump in pumps):
        for pump in pumps:
            for partial in pump.step():
                counted += int(partial.totals["counted"].sum())
    spent = time.perf_counter() - began
    for pump in pumps:
        pump.close()
    source.close()
    assert counted == EVENTS
    return spent


@pytest.mark.bench
def test_intake_against_the_bare_consumer(kafka: str, kafka_topic: Callable[..., str], shared: Path, tmp_path: Path) -> None:
    """Intake in one process reaches at least 0.4 of the tuned bare consume loop, median of interleaved rounds."""
    topic = kafka_topic(PARTITIONS)
    load(kafka, topic, shared)
    rejects = FileRejects(tmp_path / "rejects.sqlite")
    ratios = []
    for number in range(ROUNDS):
        ceiling, mine = bare(kafka, topic), intake(kafka, topic, rejects)
        ratios.append(ceiling / mine)
        print(f"round {number + 1}: bare {EVENTS / ceiling:,.0f} events/s, intake {EVENTS / mine:,.0f} events/s, ratio {ratios[-1]:.2f}")
    profile = cProfile.Profile()
    profile.enable()
    intake(kafka, topic, rejects)
    profile.disable()
    out = io.StringIO()
    pstats.Stats(profile, stream=out).sort_stats("tottime").print_stats(22)
    print(out.getvalue())
    print(f"median ratio {statistics.median(ratios):.2f} over {ROUNDS} rounds of {EVENTS:,} events")
    assert statistics.median(ratios) >= 0.4
