"""Guesses why events are rejected: what a producer most likely did, from one event's bytes and the rule that it broke.

A guess only ends up in messages to people; nothing is accepted or rejected because of it.
"""

import difflib
import json
import math
from collections.abc import Sequence
from typing import assert_never, cast

import numpy as np

from schemas.encoding.avro_files import MARKER, head
from schemas.events.cells import inside
from schemas.events.codec import CONFLUENT_MAGIC, RIDE_EVENT, RideFields, decode_slow
from schemas.events.rides import Reason, Rejected
from schemas.regions import US_PER_S, Region
from state.counting.explain import log_time, time_of

GUIDE = "docs/producing.md"
OTHER_MESSAGES = ("demand_forecast.v1", "reject.v2", "reject.v1", "publish_cursor.v1", "forecast_chunk.v1")
LONGEST_GUESS_BYTES = 1 << 20  # larger values are not parsed for a guess
QUARTER_S = 900  # zones differ by whole quarters of an hour
ZONE_SLACK_S = 150  # between an event and its log time
FARTHEST_ZONE_S = 14 * 3_600
NEAR_NAME = 0.6  # similarity of two names by difflib; one letter of three differs
DEGREES_E7 = 1e7  # some receivers report coordinates as whole numbers of 1e-7 degrees

# First bytes of formats that are sent by mistake.
MAGIC = (
    (b"Obj\x01", "looks like a whole Avro file: send one event per message, in single-object encoding"),
    (b"PAR1", "looks like a Parquet file: convert it with `ridecast import`"),
    (b"\x1f\x8b", "looks like gzip: let the Kafka client compress (compression.type), not the producer's own code"),
    (b"\x28\xb5\x2f\xfd", "looks like zstd: let the Kafka client compress (compression.type), not the producer's own code"),
    (b"\x04\x22\x4d\x18", "looks like LZ4: let the Kafka client compress (compression.type), not the producer's own code"),
)
SCALES = ((1_000_000, "seconds"), (1_000, "milliseconds"))


def guess(rejected: Rejected, regions: Sequence[Region], others: Sequence[Region] = ()) -> str:
    """The most likely mistake behind a rejected event.

    Args:
        rejected: With its original bytes.
        regions: The regions that the intake counts.
        others: Further regions that exist, for events that were meant for them.
    Returns:
        A sentence part, or "" without a guess.

    >>> from schemas.events.rides import NO_TIME
    >>> guess(Rejected(0, 7, NO_TIME, Reason.UNDECODABLE, b'{"ride_id": 1}'), ())
    'looks like JSON: encode events as Avro, see docs/producing.md'
    """
    fields = decode_slow(rejected.value)
    if isinstance(fields, str):
        return _guess_bytes(rejected.value)
    match rejected.reason:
        case Reason.UNDECODABLE:
            return ""
        case Reason.UNKNOWN_REGION:
            return guess_region(cast(str, fields["region"]), regions, others)
        case Reason.OUTSIDE_REGION:
            return _guess_place(fields, regions, others)
        case Reason.TIME_OUT_OF_BOUNDS:
            return _guess_scale(cast(int, fields["occurred_at"]))
        case Reason.AHEAD_OF_LOG:
            return _guess_zone((cast(int, fields["occurred_at"]) - log_time(rejected, fields)) // US_PER_S)
        case Reason.BAD_ID:
            return "event_id is required" if not fields["event_id"] else "shorten event_id, or send a hash of it"
        case Reason.BAD_FARE:
            return "send null for an unknown fare"
        case other:
            assert_never(other)


def guess_region(name: str, regions: Sequence[Region], others: Sequence[Region] = ()) -> str:
    """What was probably meant by the name of a region that is not counted.

    >>> from schemas.regions import load_region
    >>> guess_region("NYC", [load_region("nyc")])
    "looks like a misspelling of 'nyc': ids are compared letter by letter"
    """
    known = [region.id for region in regions]
    near = difflib.get_close_matches(name.strip().lower(), known, 1, NEAR_NAME)
    if any(name == region.id for region in others):
        return f"region {name} is not part of this run: run with --region {name} to forecast it"
    if near:
        return f"looks like a misspelling of {near[0]!r}: ids are compared letter by letter"
    return "region is empty: set it to the id of a region" if not name.strip() else ""


def _guess_bytes(value: bytes) -> str:
    if not value:
        return "the message is empty (a tombstone): send nothing instead"
    if value.startswith(head(RIDE_EVENT)):
        return "the header is right, but the body is not: was it written with another schema than ride_event.v1?"
    for magic, text in MAGIC:
        if value.startswith(magic):
            return text
    if value.startswith(MARKER):
        known = next((name for name in OTHER_MESSAGES if value.startswith(head(name))), None)
        what = f"is a {known}" if known else f"has another Avro schema (fingerprint {value[2:10].hex()})"
        return f"the message {what}: expected {RIDE_EVENT}" + (", is this the right topic?" if known else f", see {GUIDE}")
    if value.startswith(CONFLUENT_MAGIC) and len(value) > 5:
        schema_id = int.from_bytes(value[1:5], "big")
        return (
            f"looks like Confluent framing (magic 0, schema id {schema_id}): "
            f"replace those 5 bytes with the 10 of single-object encoding, see {GUIDE}"
        )
    if not isinstance(decode_slow(head(RIDE_EVENT) + value), str):
        return f"looks like Avro without a header: put the 10 bytes of single-object encoding before it, see {GUIDE}"
    return _guess_text(value)


def _guess_text(value: bytes) -> str:
    if len(value) > LONGEST_GUESS_BYTES:
        return ""
    try:
        text = value.decode("utf-8").strip().removeprefix("\ufeff")
    except UnicodeDecodeError:
        return ""
    if not all(letter.isprintable() or letter.isspace() for letter in text):
        return ""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        if text[:1] in ("{", "["):
            return f"looks like incomplete JSON: encode events as Avro, see {GUIDE}"
        if text.startswith("<"):
            return f"looks like XML: encode events as Avro, see {GUIDE}"
        return "looks like CSV: convert the file with `ridecast import`" if text.count(",") + text.count(";") + text.count("\t") > 2 else ""
    return f"looks like JSON: encode events as Avro, see {GUIDE}" if isinstance(parsed, dict | list | str) else ""


def _guess_scale(at_us: int) -> str:
    for factor, unit in SCALES:
        if _plausible(at_us * factor):
            return f"timestamps look like {unit}: {time_of(at_us * factor)} if multiplied by {factor:,}"
    if _plausible(at_us // 1_000):
        return f"timestamps look like nanoseconds: {time_of(at_us // 1_000)} if divided by 1,000"
    return "the time is missing: 0 is 1970" if at_us == 0 else ""


def _plausible(at_us: int) -> bool:
    """Whether a time is of this age: 2000 to 2100."""
    return 946_684_800 * US_PER_S <= at_us < 4_102_444_800 * US_PER_S


def _guess_zone(ahead_s: int) -> str:
    zone_s = round(ahead_s / QUARTER_S) * QUARTER_S
    if 2 * QUARTER_S <= zone_s <= FARTHEST_ZONE_S and abs(ahead_s - zone_s) <= ZONE_SLACK_S:
        hours, rest = divmod(zone_s // 60, 60)
        return f"looks like local time of UTC+{hours}:{rest:02d} written as UTC"
    return "the producer's clock is ahead, or it wrote planned instead of actual times"


def _guess_place(fields: RideFields, regions: Sequence[Region], others: Sequence[Region]) -> str:
    lat, lon = cast(float, fields["lat"]), cast(float, fields["lon"])
    if not (math.isfinite(lat) and math.isfinite(lon)):
        return "coordinates are not numbers: drop events without a position"
    if lat == 0 and lon == 0:
        return "coordinates are 0, 0: a position that was never set"
    meant = next((region for region in regions if region.id == fields["region"]), None)
    if meant is not None:
        if _within(meant, lon, lat):
            return "coordinates look swapped: lat holds the longitude"
        if _within(meant, lat, -lon) or _within(meant, -lat, lon) or _within(meant, -lat, -lon):
            return "a coordinate has the wrong sign: west and south are negative"
        if _within(meant, lat / DEGREES_E7, lon / DEGREES_E7):
            return "coordinates look like 1e-7 degrees: divide by 10,000,000"
        if _within(meant, math.degrees(lat), math.degrees(lon)):
            return "coordinates look like radians: convert them to degrees"
    for region in (*regions, *others):
        if _within(region, lat, lon):
            return f"the place is in region {region.id}: set region to {region.id}"
    return ""


def _within(region: Region, lat: float, lon: float) -> bool:
    return -90 <= lat <= 90 and -180 <= lon <= 180 and bool(inside(region.polygon, np.array([lat]), np.array([lon]))[0])
