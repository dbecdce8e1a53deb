"""Ride events as columns for producers, and their encoding in bulk."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np

from schemas.encoding.avro_files import head
from schemas.encoding.varints import encode_longs
from schemas.errors import ContractError
from schemas.events.measures import KINDS
from schemas.events.rides import NO_TIME, Bools, Float64s, Int64s, UInt8s

RideFields = dict[str, object]  # one event, by the schema's field names; times in microseconds
Texts = list[str]
MaybeTexts = list[str | None]
WIDEST_TEXT = 256  # bytes; a block pads to its longest text, so longer texts are encoded one by one


@dataclass(frozen=True, slots=True)
class EventColumns:
    """Ride events of one region, n rows.

    Attributes:
        event_id, ride_id: n texts.
        kind: uint8[n], index into `schemas.events.measures.KINDS`.
        occurred_at_us: int64[n], UTC.
        logged_at_us: int64[n], UTC, NO_TIME where absent; None if absent in all rows.
        region: Id of the region.
        lat, lon: float64[n], degrees.
        dropoff_lat, dropoff_lon, fare: float64[n], NaN where absent; None if absent in all rows.
        rider_id, driver_id, vehicle_class: n texts, None where absent; None if absent in all rows.
    """

    event_id: Texts
    ride_id: Texts
    kind: UInt8s
    occurred_at_us: Int64s
    region: str
    lat: Float64s
    lon: Float64s
    logged_at_us: Int64s | None = None
    dropoff_lat: Float64s | None = None
    dropoff_lon: Float64s | None = None
    rider_id: MaybeTexts | None = None
    driver_id: MaybeTexts | None = None
    vehicle_class: MaybeTexts | None = None
    fare: Float64s | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            column = getattr(self, name)
            if name != "region" and column is not None and len(column) != len(self.event_id):
                raise ContractError(f"EventColumns: {name}: expected {len(self.event_id)} rows, got {len(column)}")

    def __len__(self) -> int:
        return len(self.event_id)

    def part(self, start: int, stop: int) -> "EventColumns":
        """The rows [start, stop)."""
        columns = {name: getattr(self, name) for name in self.__slots__}
        return EventColumns(**{k: v if v is None or k == "region" else v[start:stop] for k, v in columns.items()})

    def rows(self) -> Iterator[RideFields]:
        """Each event as the fields for `schemas.events.codec.encode_event`."""
        for row in range(len(self)):
            logged_at = NO_TIME if self.logged_at_us is None else int(self.logged_at_us[row])
            yield {
                "event_id": self.event_id[row],
                "ride_id": self.ride_id[row],
                "kind": str(KINDS[self.kind[row]]),
                "occurred_at": int(self.occurred_at_us[row]),
                "logged_at": None if logged_at == NO_TIME else logged_at,
                "region": self.region,
                "lat": float(self.lat[row]),
                "lon": float(self.lon[row]),
                "dropoff_lat": _number(self.dropoff_lat, row),
                "dropoff_lon": _number(self.dropoff_lon, row),
                "rider_id": self.rider_id[row] if self.rider_id else None,
                "driver_id": self.driver_id[row] if self.driver_id else None,
                "vehicle_class": self.vehicle_class[row] if self.vehicle_class else None,
                "fare": _number(self.fare, row),
            }


def _number(column: Float64s | None, row: int) -> float | None:
    return None if column is None or np.isnan(column[row]) else float(column[row])


# --- columns to bytes ---------------------------------------------------------------------------

Block = tuple[UInt8s, Bools | None]  # uint8[n, width] and which bytes are used; None for all


def encode_blocks(columns: EventColumns) -> list[bytes] | None:
    """Encode every row, all rows in parallel; None if a text is too long.

    Each field becomes a block uint8[n, width]; the blocks are joined side by side, and the padding is
    removed, which leaves the events one after another.
    """
    n = len(columns)
    region = columns.region.encode()
    event_id, ride_id = _Texts.of(columns.event_id), _Texts.of(columns.ride_id)
    optional = (columns.rider_id, columns.driver_id, columns.vehicle_class)
    rider_id, driver_id, vehicle_class = (None if values is None else _Texts.of(values) for values in optional)
    if any(texts is not None and texts.widest > WIDEST_TEXT for texts in (event_id, ride_id, rider_id, driver_id, vehicle_class)):
        return None
    parts = [
        _constant(head("ride_event.v1"), n),
        *event_id.blocks(),
        *ride_id.blocks(),
        (columns.kind[:, None] << np.uint8(1), None),
        _long(columns.occurred_at_us),
        *_maybe_long(columns.logged_at_us, n),
        _constant(encode_longs(np.array([len(region)]))[0].tobytes() + region, n),
        (_double(columns.lat), None),
        (_double(columns.lon), None),
        *_maybe_double(columns.dropoff_lat, n),
        *_maybe_double(columns.dropoff_lon, n),
        *_maybe_text(rider_id, n),
        *_maybe_text(driver_id, n),
        *_maybe_text(vehicle_class, n),
        *_maybe_double(columns.fare, n),
    ]
    whole = np.concatenate([block for block, _ in parts], axis=1)
    if all(counts is None for _, counts in parts):
        data, ends = whole.tobytes(), np.arange(1, n + 1) * whole.shape[1]
    else:
        counts = np.concatenate([np.ones(block.shape, np.bool_) if kept is None else kept for block, kept in parts], axis=1)
        data, ends = whole[counts].tobytes(), np.cumsum(np.count_nonzero(counts, axis=1))
    bounds = [0, *ends.tolist()]
    return [data[start:stop] for start, stop in pairwise(bounds)]


def _constant(data: bytes, n: int) -> Block:
    return np.broadcast_to(np.frombuffer(data, np.uint8), (n, len(data))), None


def _padded(sizes: Int64s, width: int) -> Bools | None:
    return None if not len(sizes) or int(sizes.min()) == width else np.arange(width) < sizes[:, None]


def _long(values: Int64s) -> Block:
    flat, sizes = encode_longs(values)
    width = int(sizes.max(initial=0))
    counts = _padded(sizes, width)
    if counts is None:
        return flat.reshape(len(values), width), None
    block = np.zeros((len(values), width), np.uint8)
    block[counts] = flat
    return block, counts


def _double(values: Float64s) -> UInt8s:
    return np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(len(values), 8)


@dataclass(frozen=True, slots=True)
class _Texts:
    """Texts of n rows as concatenated bytes: their sizes int64[n], and which are present (None for all)."""

    data: bytes
    sizes: Int64s
    present: Bools | None

    @classmethod
    def of(cls, values: Texts | MaybeTexts) -> "_Texts":
        present = np.array([value is not None for value in values], np.bool_) if None in values else None
        texts = [value or "" for value in values] if present is not None else cast(Texts, values)
        joined = "".join(texts)
        # ASCII texts have as many bytes as characters, so they need not be encoded one by one.
        lengths = map(len, texts) if joined.isascii() else (len(text.encode()) for text in texts)
        return cls(joined.encode(), np.fromiter(lengths, np.int64, len(texts)), present)

    @property
    def widest(self) -> int:
        return int(self.sizes.max(initial=0))

    def blocks(self) -> list[Block]:
        width = self.widest
        counts = _padded(self.sizes, width)
        letters = np.frombuffer(self.data, np.uint8)
        if counts is None:
            return [_long(self.sizes), (letters.reshape(len(self.sizes), width), None)]
        block = np.zeros((len(self.sizes), width), np.uint8)
        block[counts] = letters
        return [_long(self.sizes), (block, counts)]


def _optional(present: Bools, blocks: list[Block]) -> list[Block]:
    """A union with null: the branch as one byte, and the value where present."""
    if present.all():
        return [_constant(b"\x02", len(present)), *blocks]
    index = (present.view(np.uint8) << np.uint8(1))[:, None]
    kept = [(block, np.broadcast_to(present[:, None], block.shape) & (True if counts is None else counts)) for block, counts in blocks]
    return [(index, None), *kept]


def _maybe_long(values: Int64s | None, n: int) -> list[Block]:
    return [_constant(b"\x00", n)] if values is None else _optional(values != NO_TIME, [_long(values)])


def _maybe_double(values: Float64s | None, n: int) -> list[Block]:
    return [_constant(b"\x00", n)] if values is None else _optional(~np.isnan(values), [(_double(values), None)])


def _maybe_text(values: _Texts | None, n: int) -> list[Block]:
    if values is None:
        return [_constant(b"\x00", n)]
    return _optional(np.ones(n, np.bool_) if values.present is None else values.present, values.blocks())
