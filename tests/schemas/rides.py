"""Ride events for tests: realistic ones, and Hypothesis strategies for absurd ones and for damage."""

import numpy as np
from hypothesis import strategies as st

from schemas.events.codec import EventColumns, RideFields
from schemas.events.measures import KINDS
from schemas.events.rides import NO_TIME, RawBatch, Rejected, RideBatch

REGIONS = ("nyc", "tehran")
BASE_US = 1_400_000_000_000_000  # 2014-05-13

ride_fields = st.fixed_dictionaries(
    {
        "event_id": st.text(max_size=70),
        "ride_id": st.text(max_size=20),
        "kind": st.sampled_from([str(kind) for kind in KINDS]),
        "occurred_at": st.one_of(st.integers(BASE_US, 2 * BASE_US), st.integers(-(2**63), 2**63 - 1)),
        "logged_at": st.none() | st.integers(0, 2**56),
        "region": st.sampled_from(["nyc", "tehran", "tehra", "tehran2", "", "a-longer-name-than-eight"]),
        "lat": st.floats(),
        "lon": st.floats(),
        "dropoff_lat": st.none() | st.floats(),
        "dropoff_lon": st.none() | st.floats(),
        "rider_id": st.none() | st.text(max_size=8),
        "driver_id": st.none() | st.text(max_size=8),
        "vehicle_class": st.none() | st.text(max_size=8),
        "fare": st.none() | st.floats(),
    }
)


def ride(**changes: object) -> RideFields:
    """One realistic event, with some fields changed."""
    fields: RideFields = {
        "event_id": "8b4f0f0e5d1c4a3e9f6a7b2c1d0e9f8a",
        "ride_id": "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "kind": "started",
        "occurred_at": BASE_US,
        "logged_at": BASE_US + 1_500_000,
        "region": "nyc",
        "lat": 40.7484,
        "lon": -73.9857,
        "dropoff_lat": None,
        "dropoff_lon": None,
        "rider_id": "c0ffee00c0ffee00",
        "driver_id": None,
        "vehicle_class": "eco",
        "fare": 12.5,
    }
    return fields | changes


def ride_columns(n: int, seed: int, *, full: bool = True) -> EventColumns:
    """Columns of realistic events; with or without what is optional."""
    rng = np.random.default_rng(seed)

    def ids(size_bytes: int) -> list[str]:
        return [rng.bytes(size_bytes).hex() for _ in range(n)]

    needed = EventColumns(
        event_id=ids(16),
        ride_id=ids(16),
        kind=rng.integers(0, len(KINDS), n).astype(np.uint8),
        occurred_at_us=BASE_US + rng.integers(0, 10**12, n),
        region="tehran",
        lat=35.7 + rng.normal(0, 0.1, n),
        lon=51.4 + rng.normal(0, 0.1, n),
    )
    if not full:
        return needed
    return EventColumns(
        **{name: getattr(needed, name) for name in ("event_id", "ride_id", "kind", "occurred_at_us", "region", "lat", "lon")},
        logged_at_us=np.where(rng.random(n) < 0.9, needed.occurred_at_us + 10**6, NO_TIME),
        dropoff_lat=np.where(rng.random(n) < 0.5, 35.7, np.nan),
        dropoff_lon=np.where(rng.random(n) < 0.5, 51.4, np.nan),
        rider_id=list(ids(8)),
        driver_id=[text if rng.random() < 0.7 else None for text in ids(8)],
        vehicle_class=[str(name) for name in rng.choice(["eco", "plus", "motö"], n)],
        fare=np.where(rng.random(n) < 0.5, rng.random(n) * 100, np.nan),
    )


def raw_batch(values: list[bytes], logged_at_us: int = NO_TIME) -> RawBatch:
    """Values as they lie in partition 3, at every second offset from 100 on."""
    return RawBatch(3, 100 + 2 * np.arange(len(values)), np.full(len(values), logged_at_us), values)


def assert_same(expected: tuple[RideBatch, list[Rejected]], got: tuple[RideBatch, list[Rejected]]) -> None:
    """Both decoders gave the same, to the last bit of every column."""
    assert expected[1] == got[1]
    assert expected[0].partition == got[0].partition
    for name in RideBatch.__slots__[1:]:
        wanted, column = getattr(expected[0], name), getattr(got[0], name)
        if wanted is None or column is None:
            assert (name, wanted) == (name, column)
            continue
        assert (name, wanted.dtype, wanted.tobytes()) == (name, column.dtype, column.tobytes())


@st.composite
def damaged(draw: st.DrawFn, value: bytes) -> bytes:
    """A value with up to three wounds, among them those that only a careful decoder sees."""
    data = bytearray(value)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(["flip", "set", "cut", "drop", "insert", "more", "stretch"])):
            case "flip" if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "set" if data:
                data[at] = draw(st.sampled_from([0, 1, 2, 3, 4, 12, 13, 0x7F, 0x80, 0xC3, 0xFF]))
            case "cut":
                del data[at:]
            case "drop" if data:
                del data[at]
            case "insert":
                data.insert(at, draw(st.integers(0, 255)))
            case "more":
                data += draw(st.binary(min_size=1, max_size=4))
            case "stretch" if data:  # the same varint in one byte more than it needs
                data[at : at + 1] = bytes([data[at] | 0x80, 0])
    return bytes(data)
