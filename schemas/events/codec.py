"""Encodes and decodes ride events, and decides which bytes are a ride event.

A value is Avro, framed so that it names its schema: single-object encoding, or Confluent's framing if a
registry's schemas are given. It is accepted if and only if fastavro decodes it and encoding the result
again gives the same bytes (`decode_slow`). `Decoder` gives the same result for a whole batch at once.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import fastavro
import numpy as np

from schemas.encoding.avro_files import AvroSchema, fingerprint, head, plain_parsed, released, without_logical_types
from schemas.encoding.evolution import check
from schemas.errors import ConfigError, ContractError
from schemas.events.avro_columns import MAX_ID_BYTES, REGION_ID, FastColumns, hash_id, read_columns
from schemas.events.measures import KINDS
from schemas.events.ride_columns import EventColumns, RideFields, encode_blocks
from schemas.events.rides import NO_REGION, NO_TIME, OTHER_REGION, RawBatch, Reason, Rejected, RideBatch

__all__ = ["Decoder", "EventColumns", "RideFields", "decode_slow", "encode_event", "encode_events", "event_columns_reference"]

RIDE_EVENT = "ride_event.v1"  # the version that we write, and convert others to
CONFLUENT_MAGIC = b"\x00"  # then four bytes of schema id, big-endian
BLOCK_ROWS = 4_096  # encoded at once: about a megabyte, which fits the cache
_KIND_INDEX = {str(kind): index for index, kind in enumerate(KINDS)}


def encode_event(event: RideFields) -> bytes:
    """Encode one event, in single-object encoding.

    Args:
        event: The schema's fields; times in microseconds, nullable ones may be missing.
    Raises:
        ContractError: a field is missing or of another type.
    """
    out = io.BytesIO()
    out.write(head(RIDE_EVENT))
    try:
        fastavro.schemaless_writer(out, plain_parsed(RIDE_EVENT), event, strict_allow_default=True)
    except (TypeError, ValueError, KeyError, OverflowError, AttributeError) as cause:
        raise ContractError(f"ride event: expected the fields of {RIDE_EVENT}, got {cause}") from cause
    return out.getvalue()


def encode_events(columns: EventColumns) -> list[bytes]:
    """Encode every row: the same bytes as `encode_event`, much faster."""
    if not len(columns):
        return []
    if int(columns.kind.max()) >= len(KINDS):
        raise ContractError(f"EventColumns: kind: expected an index below {len(KINDS)}, got {columns.kind.max()}")
    values: list[bytes] = []
    for start in range(0, len(columns), BLOCK_ROWS):
        part = columns.part(start, start + BLOCK_ROWS)
        values += encode_blocks(part) or [encode_event(fields) for fields in part.rows()]
    return values


# --- one value, slow reference --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Writer:
    """A writer's schema, parsed, and whether it is our own version."""

    parsed: AvroSchema
    same: bool


class Registry:
    """Writers' schemas by Confluent schema id, each checked to be readable as our ride event.

    Raises:
        ConfigError: a schema that cannot be read as ours; the text names the fields.
    """

    def __init__(self, schemas: Mapping[int, AvroSchema] | None = None) -> None:
        ours = released(RIDE_EVENT)
        self._by_id: dict[int, _Writer] = {}
        self.heads = [head(RIDE_EVENT)]
        for schema_id, schema in (schemas or {}).items():
            problems = check(reader=ours, writer=schema)
            if problems:
                raise ConfigError(f"schema id {schema_id} cannot be read as {RIDE_EVENT}: {'; '.join(problems)}")
            same = fingerprint(schema) == fingerprint(ours)
            self._by_id[schema_id] = _Writer(fastavro.parse_schema(without_logical_types(schema)), same)
            if same:
                self.heads.append(CONFLUENT_MAGIC + schema_id.to_bytes(4, "big"))
        self._ours = _Writer(plain_parsed(RIDE_EVENT), True)

    def writer_of(self, value: bytes) -> tuple[_Writer | None, int]:
        """The schema that a value names and where its body starts; None if it is unknown."""
        if value[:10] == self.heads[0]:
            return self._ours, 10
        if value[:1] == CONFLUENT_MAGIC and len(value) >= 5:
            return self._by_id.get(int.from_bytes(value[1:5], "big")), 5
        return None, 0


NO_REGISTRY = Registry()


def decode_slow(value: bytes, registry: Registry = NO_REGISTRY) -> RideFields | str:
    """Decode one value, or explain why it is not a ride event.

    Args:
        value: Framed bytes.
        registry: Schemas by Confluent schema id.
    Returns:
        The fields of our own version, times in microseconds; or the reason as text.

    >>> decode_slow(b"{}")
    'expected a frame of ride_event.v1, got 7b7d'
    """
    writer, start = registry.writer_of(value)
    if writer is None:
        return f"expected a frame of {RIDE_EVENT}, got {value[:10].hex() or 'no bytes'}"
    source = io.BytesIO(value)
    source.seek(start)
    again = io.BytesIO()
    try:
        fields = fastavro.schemaless_reader(source, writer.parsed, None)
        fastavro.schemaless_writer(again, writer.parsed, fields)
        if source.tell() != len(value):
            return f"expected {source.tell()} bytes, got {len(value)}"
        if again.getvalue() != value[start:]:
            return "expected the shortest encoding of each value"
        if not writer.same:
            source.seek(start)
            fields = fastavro.schemaless_reader(source, writer.parsed, plain_parsed(RIDE_EVENT))
    except Exception as cause:  # fastavro's C code raises various exceptions; all mean the same here.
        return f"does not decode: {type(cause).__name__} at byte {source.tell()}"  # The exception's text may contain a memory address.
    return cast(RideFields, fields)


# --- whole batches --------------------------------------------------------------------------------


class Decoder:
    """Decodes the values of the ride log to columns; values that are not ride events become rejects.

    Args:
        regions: Region ids; `RideBatch.region` is an index into them.
        registry: Schemas by Confluent schema id; none by default.
    """

    def __init__(self, regions: tuple[str, ...], registry: Registry = NO_REGISTRY) -> None:
        self._regions = tuple(region.encode() for region in regions)
        self._registry = registry
        self._heads = tuple(registry.heads)

    def decode(self, raw: RawBatch) -> tuple[RideBatch, list[Rejected]]:
        """The events of a batch, in order, and the values that match no known schema.

        Every value is in exactly one of the two, independent of the other values.
        """
        columns = read_columns(raw.values, self._heads, self._regions)
        rejects: list[Rejected] = []
        for row in np.flatnonzero(~columns.ok).tolist():
            fields = decode_slow(raw.values[row], self._registry)
            if isinstance(fields, str):
                rejects.append(_undecodable(raw, row, fields))
            else:
                _put(columns, row, fields, self._regions)
        return _batch(raw, columns), rejects


def event_columns_reference(raw: RawBatch, regions: tuple[str, ...], registry: Registry = NO_REGISTRY) -> tuple[RideBatch, list[Rejected]]:
    """Reference for `Decoder.decode`, one value at a time."""
    n, names = len(raw), tuple(region.encode() for region in regions)
    columns = FastColumns(
        ok=np.zeros(n, np.bool_),
        event_hash=np.zeros(n, np.uint64),
        kind=np.zeros(n, np.uint8),
        occurred_at_us=np.zeros(n, np.int64),
        event_logged_at_us=np.zeros(n, np.int64),
        region=np.zeros(n, np.int16),
        lat=np.zeros(n),
        lon=np.zeros(n),
        end_lat=np.zeros(n),
        end_lon=np.zeros(n),
        bad_id=np.zeros(n, np.bool_),
        bad_fare=np.zeros(n, np.bool_),
    )
    rejects: list[Rejected] = []
    for row, value in enumerate(raw.values):
        fields = decode_slow(value, registry)
        if isinstance(fields, str):
            rejects.append(_undecodable(raw, row, fields))
        else:
            _put(columns, row, fields, names)
    return _batch(raw, columns), rejects


def _undecodable(raw: RawBatch, row: int, detail: str) -> Rejected:
    return Rejected(raw.partition, int(raw.offsets[row]), int(raw.logged_at_us[row]), Reason.UNDECODABLE, raw.values[row], detail)


def _put(columns: FastColumns, row: int, fields: RideFields, regions: tuple[bytes, ...]) -> None:
    """Write one event's fields to its row."""
    event_id, region = cast(str, fields["event_id"]).encode(), cast(str, fields["region"]).encode()
    fare = cast(float | None, fields["fare"])
    logged_at = cast(int | None, fields["logged_at"])
    columns.ok[row] = True
    columns.event_hash[row] = hash_id(event_id)
    columns.kind[row] = _KIND_INDEX[cast(str, fields["kind"])]
    columns.occurred_at_us[row] = cast(int, fields["occurred_at"])
    columns.event_logged_at_us[row] = NO_TIME if logged_at is None else logged_at
    columns.region[row] = regions.index(region) if region in regions else OTHER_REGION if REGION_ID.fullmatch(region) else NO_REGION
    columns.lat[row] = cast(float, fields["lat"])
    columns.lon[row] = cast(float, fields["lon"])
    for column, name in ((columns.end_lat, "dropoff_lat"), (columns.end_lon, "dropoff_lon")):
        place = cast(float | None, fields[name])
        column[row] = np.nan if place is None else place
    columns.bad_id[row] = not 0 < len(event_id) <= MAX_ID_BYTES
    columns.bad_fare[row] = fare is not None and not 0 <= fare < float("inf")


def _batch(raw: RawBatch, columns: FastColumns) -> RideBatch:
    """The rows that are events, each with the best known log time."""
    own = np.where(columns.event_logged_at_us == NO_TIME, columns.occurred_at_us, columns.event_logged_at_us)
    batch = RideBatch(
        partition=raw.partition,
        offset=raw.offsets,
        event_hash=columns.event_hash,
        kind=columns.kind,
        occurred_at_us=columns.occurred_at_us,
        logged_at_us=np.where(raw.logged_at_us == NO_TIME, own, raw.logged_at_us),
        region=columns.region,
        lat=columns.lat,
        lon=columns.lon,
        bad_id=columns.bad_id,
        bad_fare=columns.bad_fare,
        by_broker=raw.by_broker,
        end_lat=columns.end_lat,
        end_lon=columns.end_lon,
    )
    if columns.ok.all():
        return batch
    kept = {name: getattr(batch, name)[columns.ok] for name in RideBatch.__slots__ if name not in ("partition", "by_broker")}
    return RideBatch(partition=raw.partition, **kept, by_broker=None if raw.by_broker is None else raw.by_broker[columns.ok])
