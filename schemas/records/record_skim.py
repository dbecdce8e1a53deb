"""Reads the kind, place and named blobs of an encoded record without decoding all of it.

Walks the Avro body by its schema up to the last of the few fields that a reader of a whole log needs, which makes
reading millions of entries fast. `schemas.records.record_codec.decode` is the simple way to read one completely.
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
from schemas.records.kinds import KINDS

# The place, the root of chunks, and every field that names blobs.
FIELDS_READ = frozenset({"slot", "measure", "root", *(field for kind in KINDS.values() for field, _ in kind.blobs)})
HEAD_SIZE_BYTES = 10  # marker and fingerprint (Avro 1.12, "Single-object encoding")
FEW = 12  # number of values up to which a loop is faster
ENDS = bytes([1] * 128 + [0] * 128)  # for bytes.translate: 1 for the last byte of an integer

Step = Callable[[bytes, int], int]  # (bytes, position of a value) -> position after it
Reader = Callable[[bytes, int], tuple[Any, int]]


class Skimmed(NamedTuple):
    """The part of an entry that `skim` reads.

    Attributes:
        kind: Name of the record.
        slot, subject: As in `schemas.records.record_codec.place_of`.
        fields: Those of FIELDS_READ that the record has; tuples are lists here.
    """

    kind: str
    slot: int | None
    subject: str
    fields: Mapping[str, Any]


def skim(payload: bytes) -> Skimmed:
    """Read an entry up to the last of FIELDS_READ.

    Raises:
        DamagedError: no released schema has that fingerprint, or the body does not match it up to there.

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
        raise DamagedError(f"entry: {kind} v{version} does not decode: {cause} after byte {at}") from cause
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
                walk.pop()  # Fields after the last of FIELDS_READ are not read.
            found[fingerprint(schema)] = schema["name"], int(schema["namespace"].rsplit("v", 1)[1]), walk
    return found


# --- values that are read ---------------------------------------------------------------------------


def _reader(field: dict[str, Any]) -> Reader | None:
    if field["name"] not in FIELDS_READ:
        return None
    kind = field["type"]
    if isinstance(kind, dict):
        return _bytes_list if kind == {"type": "array", "items": "bytes"} else None
    return {"long": _long, "string": _string, "bytes": _bytes}.get(kind)


def _long(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 128:  # Most integers: lengths of names, counts, small numbers.
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


# --- values that are skipped -------------------------------------------------------------------------


def _step(kind: Any, named: dict[str, Step]) -> Step:
    """The function that skips a value of a type."""
    name = kind if isinstance(kind, str) else kind["type"]
    if longs := _longs_of(kind):
        step = partial(_skip_longs, count=longs)
        if name == "record":
            named[kind["name"]] = step
        return step
    match name:
        case "string" | "bytes":
            return lambda data, at: _bytes(data, at)[1]
        case "array":
            longs = _longs_of(kind["items"])
            return _skip_long_blocks(longs) if longs else _skip_blocks(_step(kind["items"], named))
        case "map":
            value = _step(kind["values"], named)
            return _skip_blocks(lambda data, at: value(data, _bytes(data, at)[1]))
        case "record":
            named[kind["name"]] = _skip_all(_steps([field["type"] for field in kind["fields"]], named))
            return named[kind["name"]]
    return named[name]


def _steps(kinds: list[Any], named: dict[str, Step]) -> list[Step]:
    """The functions that skip values of these types; consecutive integers are skipped at once."""
    steps: list[Step] = []
    for are_longs, group in groupby(kinds, lambda kind: _longs_of(kind) > 0):
        if are_longs:
            steps.append(partial(_skip_longs, count=sum(map(_longs_of, group))))
        else:
            steps += [_step(kind, named) for kind in group]
    return steps


def _skip_all(steps: list[Step]) -> Step:
    def skip(data: bytes, at: int) -> int:
        for step in steps:
            at = step(data, at)
        return at

    return skip


def _skip_blocks(step: Step) -> Step:
    def skip(data: bytes, at: int) -> int:
        count, at = _block(data, at)
        while count:
            for _ in range(count):
                at = step(data, at)
            count, at = _block(data, at)
        return at

    return skip


def _longs_of(kind: Any) -> int:
    """Number of integers that a type consists of (a boolean counts as one); 0 for other types."""
    if kind in ("long", "boolean"):
        return 1
    if isinstance(kind, dict) and kind["type"] == "record":
        each = [_longs_of(field["type"]) for field in kind["fields"]]
        return sum(each) if all(each) else 0
    return 0


def _skip_long_blocks(longs: int) -> Step:
    def skip(data: bytes, at: int) -> int:
        count, at = _block(data, at)
        while count:
            at = _skip_longs(data, at, count * longs)
            count, at = _block(data, at)
        return at

    return skip


def _skip_longs(data: bytes, at: int, count: int) -> int:
    if count <= FEW:
        while count:
            if data[at] < 128:
                count -= 1
            at += 1
        return at
    ends = data.translate(ENDS)
    stop = at + count
    # Each missing integer takes at least one more byte: this never goes too far, and ends on the last one.
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
