"""Which record some bytes hold, where it belongs and which blobs it names, without making its values.

Walks the Avro body by its schema as far as the last of the few fields that a reader of a whole log needs, so that
millions of entries can be looked at. `schemas.records.record_codec.decode` is the plain way to read one, to its last byte.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import resources
from itertools import groupby
from typing import Any, NamedTuple

from schemas.encoding.avro_files import MARKER, fingerprint
from schemas.encoding.varints import MAX_BYTES
from schemas.errors import DamagedError

WANTED = frozenset({"slot", "measure", "root", "blob", "counts_blob", "model", "models"})
HEAD_SIZE_BYTES = 10  # marker and fingerprint (Avro 1.12, "Single-object encoding")
FEW = 12  # values up to which a loop is faster
ENDS = bytes([1] * 128 + [0] * 128)  # for bytes.translate: 1 where the last byte of an integer is

Step = Callable[[bytes, int], int]  # (bytes, place of a value) -> place behind it
Reader = Callable[[bytes, int], tuple[Any, int]]


class Skimmed(NamedTuple):
    """What a look at an entry's bytes told.

    Attributes:
        kind: Name of the record.
        slot, subject: As `schemas.records.record_codec.place_of` says.
        fields: Those of WANTED that the record has; tuples are lists here.
    """

    kind: str
    slot: int | None
    subject: str
    fields: Mapping[str, Any]


def skim(payload: bytes) -> Skimmed:
    """Look at an entry, as far as the last field that is wanted.

    Raises:
        DamagedError: no released schema has that fingerprint, or the body does not fit it up to there.

    >>> from schemas.records.record_codec import encode
    >>> from schemas.records.records import ModelPromoted
    >>> seen = skim(encode(ModelPromoted(region="nyc", measure="pickups", model=b"digest", alias="champion", reason="better")))
    >>> seen.kind, seen.subject, seen.fields["model"]
    ('ModelPromoted', 'pickups', b'digest')
    """
    known = _walks().get(payload[2:HEAD_SIZE_BYTES]) if payload[:2] == MARKER else None
    if known is None:
        raise DamagedError(f"entry: expected a released schema's fingerprint, got {payload[:HEAD_SIZE_BYTES].hex()}")
    kind, version, walk = known
    fields: dict[str, Any] = {}
    at = HEAD_SIZE_BYTES
    try:
        for name, read, skip in walk:
            if read is None:
                at = skip(payload, at)
            else:
                fields[name], at = read(payload, at)
    except (IndexError, ValueError) as cause:
        raise DamagedError(f"entry: {kind} v{version} does not decode: {cause} behind byte {at}") from cause
    slot = fields.get("slot")
    return Skimmed(kind, slot if isinstance(slot, int) else None, str(fields.get("measure", "")), fields)


@cache
def _walks() -> dict[bytes, tuple[str, int, list[tuple[str, Reader | None, Step]]]]:
    """Fingerprint -> (kind, version, how to walk each field) of every released schema file."""
    found = {}
    for item in (resources.files("schemas") / "avro" / "records").iterdir():
        if item.name.endswith(".avsc"):
            schema = json.loads(item.read_text("utf-8"))
            named: dict[str, Step] = {}
            walk = [(field["name"], _reader(field), _step(field["type"], named)) for field in schema["fields"]]
            while walk and walk[-1][1] is None:
                walk.pop()  # Behind the last wanted field there is nothing to see.
            found[fingerprint(schema)] = schema["name"], int(schema["namespace"].rsplit("v", 1)[1]), walk
    return found


# --- values that are made ---------------------------------------------------------------------------


def _reader(field: dict[str, Any]) -> Reader | None:
    if field["name"] not in WANTED:
        return None
    kind = field["type"]
    if isinstance(kind, dict):
        return _bytes_list if kind == {"type": "array", "items": "bytes"} else None
    return {"long": _long, "string": _string, "bytes": _bytes}.get(kind)


def _long(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 128:  # Most of them: names' lengths, counts, small numbers.
        return (byte >> 1) ^ -(byte & 1), at + 1
    value = shift = 0
    for place in range(at, at + MAX_BYTES):
        byte = data[place]
        value |= (byte & 127) << shift
        if byte < 128:
            return (value >> 1) ^ -(value & 1), place + 1
        shift += 7
    raise ValueError("an integer of more than 64 bits")


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _long(data, at)
    if not 0 <= size <= len(data) - at:
        raise ValueError(f"{size} bytes where {len(data) - at} are left")
    return data[at : at + size], at + size


def _string(data: bytes, at: int) -> tuple[str, int]:
    value, at = _bytes(data, at)
    return value.decode("utf-8"), at


def _bytes_list(data: bytes, at: int) -> tuple[list[bytes], int]:
    values = []
    count, at = _block(data, at)
    while count:
        for _ in range(count):
            value, at = _bytes(data, at)
            values.append(value)
        count, at = _block(data, at)
    return values, at


# --- values that are passed over ---------------------------------------------------------------------


def _step(kind: Any, named: dict[str, Step]) -> Step:
    """How to pass over a value of a type."""
    name = kind if isinstance(kind, str) else kind["type"]
    if longs := _longs_of(kind):
        step = partial(_behind_longs, count=longs)
        if name == "record":
            named[kind["name"]] = step
        return step
    match name:
        case "string" | "bytes":
            return lambda data, at: _bytes(data, at)[1]
        case "array":
            longs = _longs_of(kind["items"])
            return _behind_long_blocks(longs) if longs else _behind_blocks(_step(kind["items"], named))
        case "map":
            value = _step(kind["values"], named)
            return _behind_blocks(lambda data, at: value(data, _bytes(data, at)[1]))
        case "record":
            named[kind["name"]] = _behind_all(_steps([field["type"] for field in kind["fields"]], named))
            return named[kind["name"]]
    return named[name]


def _steps(kinds: list[Any], named: dict[str, Step]) -> list[Step]:
    """How to pass over values of these types, integers in a row at once."""
    steps: list[Step] = []
    for are_longs, group in groupby(kinds, lambda kind: _longs_of(kind) > 0):
        if are_longs:
            steps.append(partial(_behind_longs, count=sum(map(_longs_of, group))))
        else:
            steps += [_step(kind, named) for kind in group]
    return steps


def _behind_all(steps: list[Step]) -> Step:
    def behind(data: bytes, at: int) -> int:
        for step in steps:
            at = step(data, at)
        return at

    return behind


def _behind_blocks(step: Step) -> Step:
    def behind(data: bytes, at: int) -> int:
        count, at = _block(data, at)
        while count:
            for _ in range(count):
                at = step(data, at)
            count, at = _block(data, at)
        return at

    return behind


def _longs_of(kind: Any) -> int:
    """How many integers a type always is, and nothing else, a truth value being one; 0 for other types."""
    if kind in ("long", "boolean"):
        return 1
    if isinstance(kind, dict) and kind["type"] == "record":
        each = [_longs_of(field["type"]) for field in kind["fields"]]
        return sum(each) if all(each) else 0
    return 0


def _behind_long_blocks(longs: int) -> Step:
    def behind(data: bytes, at: int) -> int:
        count, at = _block(data, at)
        while count:
            at = _behind_longs(data, at, count * longs)
            count, at = _block(data, at)
        return at

    return behind


def _behind_longs(data: bytes, at: int, count: int) -> int:
    if count <= FEW:
        while count:
            if data[at] < 128:
                count -= 1
            at += 1
        return at
    ends = data.translate(ENDS)
    stop = at + count
    # What is missing lies behind, one byte each at least: this never goes too far, and ends on the last one.
    while missing := count - ends.count(1, at, stop):
        if stop >= len(data):
            raise ValueError(f"{count} integers where {count - missing} end")
        stop += missing
    return stop


def _block(data: bytes, at: int) -> tuple[int, int]:
    """Items in the next block of an array or map, 0 for none; a negative count is followed by the block's size."""
    count, at = _long(data, at)
    if count < 0:
        size, at = _long(data, at)
        count = -count
        if not 0 <= size <= len(data) - at:
            raise ValueError(f"a block of {size} bytes where {len(data) - at} are left")
    if count > len(data) - at:
        raise ValueError(f"{count} items where {len(data) - at} bytes are left")
    return count, at
