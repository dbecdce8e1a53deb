"""Says in words what is wrong with a rejected event: the rule, what was expected, and what the event holds.

Intake, `ridecast rejects show` and `ridecast events validate` all take their texts from here.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import assert_never, cast

from schemas.events.avro_columns import MAX_ID_BYTES
from schemas.events.codec import RideFields, decode_slow
from schemas.events.rides import NO_TIME, Reason, Rejected
from schemas.regions import US_PER_S, Region

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_BYTES = 5  # enough for every framing; more could quote an id


def explain(rejected: Rejected, regions: Sequence[Region], skew_s: int, *, coarse: bool = False) -> str:
    """What is wrong with one event.

    Args:
        rejected: With its original bytes.
        regions: The regions that the intake counts.
        skew_s: How far an event may be ahead of its log time.
        coarse: For logs and status files: coordinates are rounded to a kilometre, and no bytes after a frame are quoted.
    Returns:
        One sentence part without ids of rides, events or people.

    >>> explain(Rejected(0, 7, NO_TIME, Reason.UNDECODABLE, b"{}", "expected a frame of ride_event.v1, got 7b7d"), (), 300)
    'expected a frame of ride_event.v1, got 7b7d (2 bytes)'
    """
    size = f"{len(rejected.value):,} bytes"
    fields = decode_slow(rejected.value)
    if isinstance(fields, str):
        detail = rejected.detail or fields
        return f"first bytes {rejected.value[:FIRST_BYTES].hex()}, {size}" if coarse and rejected.value else f"{detail} ({size})"
    return f"{_wrong(rejected, fields, regions, skew_s, coarse=coarse)} ({_place(fields, coarse=coarse)}, {size})"


def _wrong(rejected: Rejected, fields: RideFields, regions: Sequence[Region], skew_s: int, *, coarse: bool) -> str:
    at_us = cast(int, fields["occurred_at"])
    match rejected.reason:
        case Reason.UNDECODABLE:
            return rejected.detail or "not a ride event"
        case Reason.UNKNOWN_REGION:
            return f"expected region {' or '.join(region.id for region in regions)}, got {_text(fields['region'])}"
        case Reason.OUTSIDE_REGION:
            region = next((region for region in regions if region.id == fields["region"]), None)
            where = f"outside region {_text(fields['region'])}"
            return f"{_coordinates(fields, coarse=coarse)} is {where}" + (f", which spans {span_of(region)}" if region else "")
        case Reason.TIME_OUT_OF_BOUNDS:
            return f"expected occurred_at from 2000 to 2100 in microseconds since 1970, got {at_us}, which is {time_of(at_us)}"
        case Reason.AHEAD_OF_LOG:
            logged_us = log_time(rejected, fields)
            ahead_s = (at_us - logged_us) // US_PER_S
            return f"occurred_at is {ahead_s:,} s ahead of the log time {time_of(logged_us)}, expected at most {skew_s:,} s"
        case Reason.BAD_ID:
            length = len(cast(str, fields["event_id"]).encode())
            return f"expected an event_id of 1 to {MAX_ID_BYTES} bytes, got {length}"
        case Reason.BAD_FARE:
            return f"expected a fare >= 0 or none, got {fields['fare']}"
        case other:
            assert_never(other)


def _place(fields: RideFields, *, coarse: bool) -> str:
    kind, region = fields["kind"], _text(fields["region"])
    return f"{kind}, region {region}, at {_coordinates(fields, coarse=coarse)}, {time_of(cast(int, fields['occurred_at']))}"


def _coordinates(fields: RideFields, *, coarse: bool) -> str:
    lat, lon = cast(float, fields["lat"]), cast(float, fields["lon"])
    return f"{lat:.2f}, {lon:.2f}" if coarse else f"{lat:.6g}, {lon:.6g}"


def _text(value: object) -> str:
    """A text of an event, quoted if it is not an ordinary name, and never long."""
    text = str(value)
    return text if text.isascii() and text.isidentifier() and len(text) <= 32 else repr(text[:32])


def log_time(rejected: Rejected, fields: RideFields) -> int:
    """The log time that intake used: of the log, else the event's own, else when it occurred."""
    own = cast(int | None, fields.get("logged_at"))
    return rejected.logged_at_us if rejected.logged_at_us != NO_TIME else cast(int, fields["occurred_at"]) if own is None else own


def span_of(region: Region) -> str:
    """The rectangle around a region.

    >>> from schemas.regions import load_region
    >>> span_of(load_region("tehran"))
    'lat 35.5 to 35.85, lon 51.05 to 51.65'
    """
    lats, lons = zip(*region.polygon, strict=True)
    return f"lat {min(lats):g} to {max(lats):g}, lon {min(lons):g} to {max(lons):g}"


def time_of(at_us: int) -> str:
    """A time as text, whatever its size.

    >>> time_of(1_396_310_400_000_000), time_of(2**62)
    ('2014-04-01 00:00:00 UTC', 'beyond the year 9999')
    """
    try:
        return f"{EPOCH + timedelta(microseconds=at_us):%Y-%m-%d %H:%M:%S} UTC"
    except OverflowError:
        return "beyond the year 9999" if at_us > 0 else "before the year 1"
