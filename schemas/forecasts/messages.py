"""Published messages: forecasts per cell, rejected events and publishing positions, as keys and values of topics."""

import hashlib
import io
from typing import NamedTuple, cast

import fastavro
import numpy as np
import numpy.typing as npt

from schemas.encoding.avro_files import head, plain_parsed
from schemas.encoding.varints import encode_longs
from schemas.errors import DamagedError
from schemas.events.rides import NO_TIME, Bools, Reason, Rejected, UInt8s, UInt64s
from schemas.forecasts.chunks import ForecastColumns
from schemas.records.records import BY_MODEL, FALLBACKS, ForecastIssued

DEMAND_FORECAST = "demand_forecast.v1"
REJECT = "reject.v3"
SOURCELESS_REJECT = "reject.v2"  # of earlier releases: without the ride log that the offset is of
CLEAR_REJECT = "reject.v1"  # of the first release: the same fields as version 2, with unencrypted bytes
CURSOR = "publish_cursor.v3"
TOPICLESS_CURSOR = "publish_cursor.v2"  # of earlier releases
ROOTLESS_CURSOR = "publish_cursor.v1"  # of the first releases
SOURCE_DIGITS = 16  # of a digest in the key of a rejected event: sources of one home are few
LETTERS = np.frombuffer(b"0123456789bcdefghjkmnpqrstuvwxyz", np.uint8)  # geohash base 32, as in schemas/events/cells.py

Fields = dict[str, object]


# --- demand.forecasts ---------------------------------------------------------------------------------


def encode_demand_forecasts(
    columns: ForecastColumns,
    issued: ForecastIssued,
    index: int,
    precision: int,
    *,
    further: bool = False,
    challenged: Bools | None = None,
) -> list[tuple[bytes, bytes]]:
    """Encode the messages of one issue: (key, value) per cell, in order of cells.

    Args:
        columns: The issue's forecasts.
        issued: Its entry.
        index: The entry's index in the region's log.
        precision: Letters of a cell's geohash.
        further: Whether the measure is not its region's first, see `forecast_key`.
        challenged: bool[n], which forecasts the second of the issue's models made, in an experiment; None for none.
    """
    columns.check()
    letters = _letters(columns.cells, precision)
    digests = [model.hex() for model in issued.models[:2]] or [""]
    other = challenged if challenged is not None else np.zeros(len(columns), np.bool_)
    before = _texts(issued.region, issued.measure) + _long(precision)
    after = _long(issued.target_us) + _long(issued.slot) + _texts(issued.slot_status) + _long(index)
    values = _horizons(columns)
    out = [b""] * len(columns)
    kinds = ((code, fallback, which) for code, fallback in enumerate(FALLBACKS) for which in (False, True))
    for code, fallback, which in kinds:
        rows = np.flatnonzero((columns.fallback == code) & (other == which))
        digest = digests[which] if which < len(digests) else ""
        end = _texts(fallback, digest if fallback in BY_MODEL else "")
        parts = [head(DEMAND_FORECAST) + before, letters[rows], after + _long(len(columns.horizons_min)), values[rows], b"\x00" + end]
        block = np.concatenate([_repeated(part, len(rows)) if isinstance(part, bytes) else part for part in parts], axis=1)
        data, size = block.tobytes(), block.shape[1]
        for place, row in enumerate(rows.tolist()):
            out[row] = data[place * size : (place + 1) * size]
    names = letters.tobytes().decode("ascii")
    measure = issued.measure if further else ""
    return [(forecast_key(issued.region, names[at * precision : (at + 1) * precision], measure), value) for at, value in enumerate(out)]


def forecast_key(region: str, cell: str, further_measure: str = "") -> bytes:
    """Key of a cell's message in `demand.forecasts`; without a value it is the tombstone of a retired cell.

    The key of an additional measure includes its name, because compaction would keep only one measure otherwise.

    >>> forecast_key("nyc", "dr5reg"), forecast_key("nyc", "dr5reg", "pickups")
    (b'nyc/dr5reg', b'nyc/dr5reg/pickups')
    """
    return f"{region}/{cell}{'/' if further_measure else ''}{further_measure}".encode()


def decode_demand_forecast(value: bytes) -> Fields:
    """Decode one message to its fields; `target` in microseconds.

    Raises:
        DamagedError: not a forecast message.
    """
    return _decode(DEMAND_FORECAST, value)


def _letters(cells: UInt64s, precision: int) -> UInt8s:
    """Geohash texts as bytes: uint8[n, precision]."""
    shifts = np.uint64(5) * np.arange(precision - 1, -1, -1, dtype=np.uint64)
    return LETTERS[(cells[:, None] >> shifts & np.uint64(31)).astype(np.int64)]


def _horizons(columns: ForecastColumns) -> UInt8s:
    """The items of every cell's horizons: uint8[n, bytes]."""
    parts: list[UInt8s] = []
    for place, horizon_min in enumerate(columns.horizons_min):
        parts.append(_repeated(_long(horizon_min), len(columns)))
        for name in ("mean", "median", "lower", "upper", "baseline"):
            rides = np.ascontiguousarray(getattr(columns, name)[:, place] / 1000, "<f8")
            parts.append(rides.view(np.uint8).reshape(len(columns), 8))
    return np.concatenate(parts, axis=1)


def _long(value: int) -> bytes:
    return encode_longs(np.array([value], np.int64))[0].tobytes()


def _texts(*texts: str) -> bytes:
    return b"".join(_long(len(text.encode())) + text.encode() for text in texts)


def _repeated(data: bytes, n: int) -> npt.NDArray[np.uint8]:
    return np.broadcast_to(np.frombuffer(data, np.uint8), (n, len(data)))


# --- rides.rejected -----------------------------------------------------------------------------------


def encode_reject(rejected: Rejected) -> tuple[bytes, bytes]:
    """(key, value) of a rejected event, encrypted: the key is source/partition/offset, so that writing it again changes nothing.

    The source of the key is a digest. Without a source the event has the key and the version of earlier releases.
    """
    fields: Fields = {
        "partition": rejected.partition,
        "offset": rejected.offset,
        "logged_at": None if rejected.logged_at_us == NO_TIME else rejected.logged_at_us,
        "reason": str(rejected.reason),
        "detail": rejected.detail,
        "value": rejected.value,
    }
    key = f"{rejected.partition}/{rejected.offset}"
    if not rejected.source:
        return key.encode(), _encode(SOURCELESS_REJECT, fields)
    source = hashlib.sha256(rejected.source.encode()).hexdigest()[:SOURCE_DIGITS]
    return f"{source}/{key}".encode(), _encode(REJECT, fields | {"source": rejected.source})


def decode_reject(value: bytes) -> Rejected:
    """Decode a rejected event, still encrypted.

    Raises:
        DamagedError: not a message of a rejected event.

    >>> decode_reject(encode_reject(Rejected(0, 7, NO_TIME, Reason.BAD_ID, b"..."))[1]).offset
    7
    """
    fields = _decode(_version(value, REJECT, SOURCELESS_REJECT, CLEAR_REJECT), value)
    logged_at = cast(int | None, fields["logged_at"])
    try:
        reason = Reason(cast(str, fields["reason"]))
    except ValueError as cause:
        raise DamagedError(f"{REJECT}: expected one of {', '.join(Reason)}, got {fields['reason']!r}") from cause
    return Rejected(
        partition=cast(int, fields["partition"]),
        offset=cast(int, fields["offset"]),
        logged_at_us=NO_TIME if logged_at is None else logged_at,
        reason=reason,
        value=cast(bytes, fields["value"]),
        detail=cast(str, fields["detail"]),
        source=cast(str, fields.get("source", "")),
    )


# --- ridecast.cursors ---------------------------------------------------------------------------------


class Cursor(NamedTuple):
    """How far a log is published.

    Attributes:
        next_index: Index of the first entry that is not published yet.
        root: Root of the log's tree at that size; empty in cursors of earlier releases.
        topic: Id of the topic that has the forecasts; empty in cursors of earlier releases.
    """

    next_index: int
    root: bytes = b""
    topic: str = ""


def encode_cursor(log: str, cursor: Cursor) -> bytes:
    """Value of a publishing position; its key is `log`. Without a topic it has the second version, without a root the first."""
    fields: Fields = {"log": log, "next_index": cursor.next_index}
    if cursor.topic:
        return _encode(CURSOR, fields | {"root": cursor.root, "topic": cursor.topic})
    return _encode(TOPICLESS_CURSOR, fields | {"root": cursor.root}) if cursor.root else _encode(ROOTLESS_CURSOR, fields)


def decode_cursor(value: bytes) -> tuple[str, Cursor]:
    """(log, cursor) of a publishing position.

    Raises:
        DamagedError: not a message of a publishing position.

    >>> decode_cursor(encode_cursor("region/nyc", Cursor(12)))
    ('region/nyc', Cursor(next_index=12, root=b'', topic=''))
    """
    fields = _decode(_version(value, CURSOR, TOPICLESS_CURSOR, ROOTLESS_CURSOR), value)
    root, topic = cast(bytes, fields.get("root", b"")), cast(str, fields.get("topic", ""))
    return cast(str, fields["log"]), Cursor(cast(int, fields["next_index"]), root, topic)


def _version(value: bytes, newest: str, *older: str) -> str:
    """The version of a message; the newest if it has none of them."""
    return next((name for name in older if value.startswith(head(name))), newest)


def _encode(name: str, fields: Fields) -> bytes:
    out = io.BytesIO()
    out.write(head(name))
    fastavro.schemaless_writer(out, plain_parsed(name), fields)
    return out.getvalue()


def _decode(name: str, value: bytes) -> Fields:
    source = io.BytesIO(value)
    source.seek(len(head(name)))
    try:
        if value[: source.tell()] != head(name):
            raise ValueError(f"starts with {value[:10].hex()}")
        fields = fastavro.schemaless_reader(source, plain_parsed(name), None)
        if source.tell() != len(value):
            raise ValueError(f"{len(value)} bytes where {source.tell()} are read")
    except Exception as cause:  # fastavro raises what its C code happens to raise; all mean the same here.
        raise DamagedError(f"expected a message of {name}, got {cause}") from cause
    return cast(Fields, fields)
