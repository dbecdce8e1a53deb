"""Encodes and decodes records: Avro single-object encoding, so that every entry names its own schema.

A record's Avro schema is derived from its dataclass, written once to `avro/records/` by
`python -m schemas.records.record_codec --write`, and never edited after release: a changed record gets the
next version number, and an upcaster from the old version.
"""

import dataclasses
import io
import json
import sys
import typing
from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, overload

import fastavro

from schemas.encoding.avro_files import MARKER, fingerprint
from schemas.errors import ContractError, DamagedError
from schemas.records.kinds import ROWS
from schemas.records.records import BLOB_RECORDS, RECORDS, Record
from schemas.records.upcasters import DOWNCASTERS, UPCASTERS, AvroDict

R = TypeVar("R")
VERSIONS = {row.name: row.version for row in ROWS if row.version != 1}  # current version, if it is not 1


def _avro_type(annotation: Any, seen: set[str]) -> Any:
    origin = typing.get_origin(annotation)
    if annotation is int:
        return "long"
    if annotation is str:
        return "string"
    if annotation is bytes:
        return "bytes"
    if annotation is bool:
        return "boolean"
    if origin is tuple:
        return {"type": "array", "items": _avro_type(typing.get_args(annotation)[0], seen)}
    if origin is dict:
        return {"type": "map", "values": _avro_type(typing.get_args(annotation)[1], seen)}
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        if annotation.__name__ in seen:
            return annotation.__name__
        return _record_type(annotation, seen)
    raise ContractError(f"record field: no Avro type for {annotation!r}")


def _record_type(cls: type, seen: set[str]) -> AvroDict:
    seen.add(cls.__name__)
    hints = typing.get_type_hints(cls)
    fields = [{"name": field.name, "type": _avro_type(hints[field.name], seen)} for field in dataclasses.fields(cls)]
    return {"type": "record", "name": cls.__name__, "fields": fields}


@cache
def schema_of(cls: Any) -> AvroDict:
    """The Avro schema of a record's dataclass; its namespace contains the version."""
    version = VERSIONS.get(cls.__name__, 1)
    return {**_record_type(cls, set()), "namespace": f"ridecast.v{version}"}


@cache
def _writer(cls: Any) -> tuple[bytes, Any]:
    schema = schema_of(cls)
    return MARKER + fingerprint(schema), fastavro.parse_schema(schema)


@cache
def _older_writer(name: str, version: int) -> tuple[bytes, Any]:
    schema = json.loads((resources.files("schemas") / "avro" / "records" / f"{name}.v{version}.avsc").read_text("utf-8"))
    return MARKER + fingerprint(schema), fastavro.parse_schema(schema)


@cache
def _readers() -> dict[bytes, tuple[type, int, Any]]:
    """Fingerprint -> (dataclass, version, parsed schema) for every released schema file."""
    classes = {cls.__name__: cls for cls in (*RECORDS, *BLOB_RECORDS)}
    found: dict[bytes, tuple[type, int, Any]] = {}
    for item in (resources.files("schemas") / "avro" / "records").iterdir():
        if item.name.endswith(".avsc"):
            schema = json.loads(item.read_text("utf-8"))
            version = int(schema["namespace"].rsplit("v", 1)[1])
            found[fingerprint(schema)] = classes[schema["name"]], version, fastavro.parse_schema(schema)
    return found


def encode(record: object) -> bytes:
    """Encode a record: marker, schema fingerprint, Avro body.

    The version is the current one, or an older one of `DOWNCASTERS` that loses nothing.
    """
    cls: Any = type(record)
    fields, version = _to_plain(record), VERSIONS.get(cls.__name__, 1)
    head, schema = _writer(cls)
    while (cls.__name__, version) in DOWNCASTERS:
        older = DOWNCASTERS[cls.__name__, version](fields)
        if UPCASTERS[cls.__name__, version - 1](older) != fields:
            break
        fields, version = older, version - 1
        head, schema = _older_writer(cls.__name__, version)
    out = io.BytesIO()
    out.write(head)
    fastavro.schemaless_writer(out, schema, fields)
    return out.getvalue()


def _to_plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_to_plain(item) for item in value] if value and dataclasses.is_dataclass(value[0]) else list(value)
    if isinstance(value, dict):
        return dict(sorted(value.items()))  # The order of a map affects the bytes, so it must not depend on insertion order.
    return value


@cache
def _builder(annotation: Any) -> Callable[[Any], Any]:
    origin = typing.get_origin(annotation)
    if origin is tuple:
        item = typing.get_args(annotation)[0]
        if item in (int, str, bytes, bool):
            return tuple
        build = _builder(item)
        return lambda values: tuple(build(value) for value in values)
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        hints = typing.get_type_hints(annotation)
        builders = {field.name: _builder(hints[field.name]) for field in dataclasses.fields(annotation)}
        return lambda fields: annotation(**{name: builders[name](value) for name, value in fields.items()})
    return lambda value: value


@overload
def decode(payload: bytes) -> Record: ...
@overload
def decode(payload: bytes, kind: type[R]) -> R: ...
def decode(payload: bytes, kind: type[Any] | None = None) -> Any:
    """Decode a record, and upcast it to its current version.

    Args:
        payload: Exact bytes of an entry, or of a blob that holds a record.
        kind: The class of record that must come out; any if None.
    Raises:
        DamagedError: no released schema has that fingerprint, the body does not match it, or it is of another kind.
    """
    known = _readers().get(payload[2:10]) if payload[:2] == MARKER else None
    if known is None:
        raise DamagedError(f"entry: expected a released schema's fingerprint, got {payload[:10].hex()}")
    cls, version, schema = known
    if kind is not None and cls is not kind:
        raise DamagedError(f"entry: expected a {kind.__name__}, got a {cls.__name__}")
    source = io.BytesIO(payload)
    source.seek(10)
    try:
        fields = fastavro.schemaless_reader(source, schema, None)
    except Exception as cause:  # fastavro's C code raises various exceptions; all mean the same here.
        raise DamagedError(f"entry: {cls.__name__} v{version} does not decode: {cause}") from cause
    if source.tell() != len(payload) or not isinstance(fields, dict):
        raise DamagedError(f"entry: {cls.__name__} v{version}: expected {source.tell()} bytes, got {len(payload)}")
    for step in range(version, VERSIONS.get(cls.__name__, 1)):
        fields = UPCASTERS[cls.__name__, step](fields)
    return _builder(cls)(fields)


def decode_if_known(payload: bytes) -> Record | None:
    """As `decode`, or None for a record of a newer version, which may be valid although this version cannot decode it.

    >>> decode_if_known(b"a record of tomorrow") is None
    True
    """
    try:
        return decode(payload)
    except DamagedError:
        return None


def kind_of(payload: bytes) -> str:
    """Name of the encoded record, without decoding its body."""
    known = _readers().get(payload[2:10]) if payload[:2] == MARKER else None
    return known[0].__name__ if known else "unknown"


def place_of(record: Record) -> tuple[int | None, str]:
    """(slot, subject) under which a log indexes a record; always derived from the record."""
    slot = getattr(record, "slot", None)
    return (slot if isinstance(slot, int) else None), str(getattr(record, "measure", ""))


@cache
def _place_readers() -> dict[bytes, tuple[str, Any]]:
    """Fingerprint -> (kind, schema of the fields up to the last one needed for the place, or None)."""
    found: dict[bytes, tuple[str, Any]] = {}
    for item in (resources.files("schemas") / "avro" / "records").iterdir():
        if item.name.endswith(".avsc"):
            schema = json.loads(item.read_text("utf-8"))
            names = [field["name"] for field in schema["fields"]]
            length = max((names.index(name) + 1 for name in ("slot", "measure") if name in names), default=0)
            start = fastavro.parse_schema({**schema, "fields": schema["fields"][:length]}) if length else None
            found[fingerprint(schema)] = schema["name"], start
    return found


def place_in(payload: bytes) -> tuple[str, int | None, str]:
    """(kind, slot, subject) of an encoded record: as `kind_of` and `place_of`, but decodes only the first fields.

    Bytes that are not a known record have the kind "unknown" and no place.
    """
    kind, start = _place_readers().get(payload[2:10], ("unknown", None)) if payload[:2] == MARKER else ("unknown", None)
    if start is None:
        return kind, None, ""
    try:
        fields = fastavro.schemaless_reader(io.BytesIO(payload[10:]), start, None)
    except Exception as cause:  # As in `decode`.
        raise DamagedError(f"entry: {kind} does not decode: {cause}") from cause
    assert isinstance(fields, dict)
    return kind, fields.get("slot"), str(fields.get("measure", ""))


def write_schemas(folder: Path) -> list[Path]:
    """Write the schema of each current record that has no file yet; refuse to change an existing file."""
    written = []
    cls: Any
    for cls in (*RECORDS, *BLOB_RECORDS):
        schema = schema_of(cls)
        path = folder / f"{cls.__name__}.v{VERSIONS.get(cls.__name__, 1)}.avsc"
        text = json.dumps(schema, indent=2) + "\n"
        if path.exists() and path.read_text("utf-8") != text:
            raise ContractError(f"{path.name} is released and differs from its dataclass: give the record a new version")
        if not path.exists():
            path.write_text(text, "utf-8")
            written.append(path)
    return written


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        raise SystemExit("usage: python -m schemas.records.record_codec --write")
    target = Path(__file__).parents[1] / "avro" / "records"
    target.mkdir(parents=True, exist_ok=True)
    for path in write_schemas(target):
        print(path)
