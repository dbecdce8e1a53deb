"""The formats as they were released: exact bytes in `tests/golden/formats.json`.

`python -m tests.schemas.golden --write` regenerates them; do so only when a format changes on purpose, with a
new version of its schema and a decision record.
"""

import hashlib
import json
import sys
from importlib import resources
from pathlib import Path

import numpy as np

from schemas.encoding.avro_files import head, released
from schemas.events.avro_columns import hash_id
from schemas.events.codec import encode_event
from schemas.events.partitioner import partition_of
from schemas.events.rides import NO_TIME, Reason, Rejected
from schemas.forecasts.chunks import ForecastColumns, encode_chunks, pack_blob
from schemas.forecasts.messages import Cursor, encode_cursor, encode_demand_forecasts, encode_reject
from schemas.records.records import ForecastIssued

FILE = Path(__file__).resolve().parents[1] / "golden" / "formats.json"
# A message of the first release, whose bytes were not sealed.
CLEAR_REJECT = bytes.fromhex("c3011f9e9a117b112aab0452028090b8e8dfd2fc04106261645f666172650e66617265202d310400ff")
TARGET_US = 1_400_000_400_000_000

FULL_EVENT: dict[str, object] = {
    "event_id": "8b4f0f0e5d1c4a3e9f6a7b2c1d0e9f8a",
    "ride_id": "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    "kind": "completed",
    "occurred_at": TARGET_US,
    "logged_at": TARGET_US + 1_500_000,
    "region": "tehran",
    "lat": 35.6892,
    "lon": 51.389,
    "dropoff_lat": 35.7,
    "dropoff_lon": 51.4,
    "rider_id": "rider",
    "driver_id": "driver",
    "vehicle_class": "eco",
    "fare": 12.5,
}
OPTIONAL = ("logged_at", "dropoff_lat", "dropoff_lon", "rider_id", "driver_id", "vehicle_class", "fare")
SPARE_EVENT = FULL_EVENT | dict.fromkeys(OPTIONAL)


def forecasts() -> ForecastColumns:
    """17 cells, so two chunks, with numbers that differ in every place."""
    numbers = np.arange(17 * 3, dtype=np.int64).reshape(17, 3) * 37
    cells = (np.arange(17, dtype=np.uint64) ** np.uint64(3)) + np.uint64(0x1A2B3C40)
    fallback = (np.arange(17) % 5).astype(np.uint8)
    return ForecastColumns(cells, (15, 30, 60), numbers, numbers // 2, numbers // 4, numbers * 2, numbers + 100, numbers + 1, fallback)


def issued() -> ForecastIssued:
    """The entry that the forecasts belong to."""
    return ForecastIssued(
        region="nyc",
        measure="pickups",
        slot=4_666_667,
        target_us=TARGET_US,
        horizons_min=(15, 30, 60),
        models=(bytes(range(32)),),
        features_digest=b"",
        family="negative_binomial",
        spread=(),
        cells=17,
        chunks=2,
        root=b"",
        blob=b"",
        fallbacks={},
        universe_version=1,
        slot_status="observed",
    )


def formats() -> dict[str, str]:
    """What the code writes now: name -> bytes in hexadecimal."""
    chunks = encode_chunks(forecasts())
    messages = encode_demand_forecasts(forecasts(), issued(), 812, 6)
    values = {
        "ride_event.full": encode_event(FULL_EVENT),
        "ride_event.spare": encode_event(SPARE_EVENT),
        "ride_event.id_hash": hash_id(b"8b4f0f0e5d1c4a3e9f6a7b2c1d0e9f8a").to_bytes(8, "big"),
        "forecast_chunk.first": chunks[0],
        "forecast_chunk.last": chunks[1],
        "forecast_blob.sha256": hashlib.sha256(pack_blob(chunks)).digest(),
        "demand_forecast.key": messages[16][0],
        "demand_forecast.value": messages[16][1],
        "reject.key": encode_reject(Rejected(2, 41, TARGET_US, Reason.BAD_FARE, b"\x00\xff", "fare -1"))[0],
        "reject.value_v1": CLEAR_REJECT,
        "reject.value": encode_reject(Rejected(2, 41, TARGET_US, Reason.BAD_FARE, b"\x00\xff", "fare -1"))[1],
        "reject.key_v3": encode_reject(Rejected(2, 41, TARGET_US, Reason.BAD_FARE, b"\x00\xff", "fare -1", '{"topic_id":"a"}'))[0],
        "reject.value_v3": encode_reject(Rejected(2, 41, TARGET_US, Reason.BAD_FARE, b"\x00\xff", "fare -1", '{"topic_id":"a"}'))[1],
        "reject.value_without_time": encode_reject(Rejected(2, 41, NO_TIME, Reason.UNDECODABLE, b""))[1],
        "publish_cursor": encode_cursor("region/nyc", Cursor(812)),
        "publish_cursor.topic": encode_cursor("region/nyc", Cursor(812, bytes(range(32)), "a topic id")),
        "publish_cursor.root": encode_cursor("region/nyc", Cursor(812, bytes(range(32)))),
        "partitions": bytes(partition_of([f"ride-{number}".encode() for number in range(16)], 4).tolist()),
    }
    for item in sorted((resources.files("schemas") / "avro").iterdir(), key=lambda item: item.name):
        if item.name.endswith(".avsc"):
            name = item.name.removesuffix(".avsc")
            assert released(name)
            values[f"schema.{name}.head"] = head(name)
            values[f"schema.{name}.sha256"] = hashlib.sha256(item.read_bytes()).digest()
    return {name: value.hex() for name, value in values.items()}


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        raise SystemExit("usage: python -m tests.schemas.golden --write")
    FILE.write_text(json.dumps(formats(), indent=1) + "\n", "utf-8")
    print(FILE)
