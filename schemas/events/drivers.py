"""States of drivers: what they do from a moment on, and where; the supply that rides meet."""

import io
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

import fastavro
import numpy as np

from schemas.encoding.avro_files import head, plain_parsed
from schemas.encoding.varints import encode_longs
from schemas.errors import DamagedError
from schemas.events.rides import Float64s, Int64s

DRIVER_STATE = "driver_state.v1"
StateFields = dict[str, object]  # one state, by the schema's field names; times in microseconds


class DriverState(StrEnum):
    """What a driver does; the order is that of the schema."""

    OFFLINE = "offline"
    IDLE = "idle"  # waits for a ride
    ON_THE_WAY = "on_the_way"  # has accepted a ride, and drives to its pickup
    OCCUPIED = "occupied"


DRIVER_STATES: tuple[DriverState, ...] = tuple(DriverState)


@dataclass(frozen=True, slots=True)
class DriverColumns:
    """States of drivers of one region, n rows.

    Attributes:
        driver: int64[n]; the id is `driver-` and the number.
        at_us: int64[n], UTC.
        state: int64[n], index into DRIVER_STATES.
        lat, lon: float64[n], degrees.
    """

    driver: Int64s
    at_us: Int64s
    state: Int64s
    lat: Float64s
    lon: Float64s
    region: str

    def __len__(self) -> int:
        return len(self.driver)

    def keys(self) -> list[bytes]:
        """The message key of each row, the driver's id."""
        return [b"driver-%d" % driver for driver in self.driver.tolist()]


def encode_driver_states(columns: DriverColumns) -> list[bytes]:
    """Encode every row in single-object encoding: n byte strings."""
    first, region = head(DRIVER_STATE), columns.region.encode()
    middles = [_size(len(region)) + region + _size(number) for number in range(len(DRIVER_STATES))]  # an enum is its number
    flat, sizes = encode_longs(columns.at_us)
    times, stops = flat.tobytes(), np.cumsum(sizes).tolist()
    places = np.ascontiguousarray(np.stack([columns.lat, columns.lon], axis=1), "<f8").tobytes()
    rows = zip(columns.keys(), [0, *stops[:-1]], stops, columns.state.tolist(), range(0, 16 * len(columns), 16), strict=True)
    return [
        b"".join((first, _size(len(key)), key, times[start:stop], middles[state], places[at : at + 16]))
        for key, start, stop, state, at in rows
    ]


def decode_driver_state(value: bytes) -> StateFields:
    """The fields of one encoded state.

    Raises:
        DamagedError: it is not a driver_state.v1.
    """
    first = head(DRIVER_STATE)
    if value[: len(first)] != first:
        raise DamagedError(f"driver state: expected a frame of {DRIVER_STATE}, got {value[: len(first)].hex() or 'no bytes'}")
    source = io.BytesIO(value[len(first) :])
    try:
        return cast(StateFields, fastavro.schemaless_reader(source, plain_parsed(DRIVER_STATE), None))
    except Exception as cause:  # fastavro's C code raises various types; all mean bytes that are not this schema's
        raise DamagedError(f"driver state: does not decode at byte {source.tell()}") from cause


_SIZES = [encode_longs(np.array([size]))[0].tobytes() for size in range(128)]


def _size(size: int) -> bytes:
    return _SIZES[size]
