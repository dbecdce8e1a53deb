"""Checks whether a reader of one schema can read data written with another, and explains why not.

The rules are those of Avro 1.12, "Schema Resolution", applied strictly: everything that the writer may write must
be readable. Two rules are our own: a time must keep its unit, and a personal field must keep its `pii` mark.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any

AvroSchema = Any  # a schema as parsed JSON: dict, list or str

PROMOTIONS = {  # writer's type -> types that a reader may use instead
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
NAMED = ("record", "enum", "fixed")


class Compatibility(StrEnum):
    """Which versions must be able to read which when a schema gets a new version."""

    BACKWARD = "backward"  # readers of the new version read data of the last one
    FORWARD = "forward"  # readers of the last version read data of the new one
    FULL = "full"  # both
    BACKWARD_TRANSITIVE = "backward_transitive"  # the same for every earlier version
    FORWARD_TRANSITIVE = "forward_transitive"
    FULL_TRANSITIVE = "full_transitive"


def judge(new: AvroSchema, history: Sequence[AvroSchema], mode: Compatibility) -> tuple[str, ...]:
    """Reasons not to release a new version; empty if there are none.

    Args:
        new: The schema to be released.
        history: Released versions, oldest first.
        mode: The required compatibility.

    >>> judge("long", ["int", "string"], Compatibility.BACKWARD_TRANSITIVE)
    ('new reads v2: expected long, writer has string',)
    """
    versions = list(enumerate(history, 1))
    problems: list[str] = []
    for number, old in versions if mode.endswith("_transitive") else versions[-1:]:
        if not mode.startswith("forward"):
            problems += [f"new reads v{number}: {problem}" for problem in check(reader=new, writer=old)]
        if not mode.startswith("backward"):
            problems += [f"v{number} reads new: {problem}" for problem in check(reader=old, writer=new)]
    return tuple(problems)


def check(*, reader: AvroSchema, writer: AvroSchema) -> tuple[str, ...]:
    """Reasons why a reader cannot read everything that a writer may write; empty if it can.

    >>> check(reader="long", writer="int")
    ()
    >>> check(reader="int", writer="long")
    ('expected int, writer has long',)
    """
    return tuple(_Check(reader, writer).differences(reader, writer, ""))


def difference(old: AvroSchema, new: AvroSchema) -> tuple[str, ...]:
    """Changes from one version of a record to the next, one line per field.

    >>> difference({"name": "A", "fields": [{"name": "x", "type": "int"}]}, {"name": "A", "fields": [{"name": "x", "type": "long"}]})
    ('~ x: int -> long',)
    """
    before = {field["name"]: _field_text(field) for field in old["fields"]}
    after = {field["name"]: _field_text(field) for field in new["fields"]}
    lines = [f"- {name}: {text}" for name, text in before.items() if name not in after]
    lines += [f"~ {name}: {before[name]} -> {text}" for name, text in after.items() if name in before and before[name] != text]
    lines += [f"+ {name}: {text}" for name, text in after.items() if name not in before]
    return tuple(lines)


class _Check:
    """One comparison; keeps the named types, and the pairs of records being compared."""

    def __init__(self, reader: AvroSchema, writer: AvroSchema) -> None:
        self.reader_types = dict(_named_types(reader))
        self.writer_types = dict(_named_types(writer))
        self.open: set[tuple[str, str]] = set()

    def differences(self, reader: AvroSchema, writer: AvroSchema, where: str) -> Iterator[str]:
        reader, writer = _resolved(reader, self.reader_types), _resolved(writer, self.writer_types)
        at = f"{where}: " if where else ""
        if isinstance(writer, list):
            for branch in writer:
                yield from self.differences(reader, branch, where)
            return
        if isinstance(reader, list):
            if all(any(True for _ in self.differences(branch, writer, where)) for branch in reader):
                yield f"{at}expected one of {_text(reader)}, writer has {_text(writer)}"
            return
        reads, writes = _kind(reader), _kind(writer)
        if reads != writes and reads not in PROMOTIONS.get(writes, ()):
            yield f"{at}expected {_text(reader)}, writer has {_text(writer)}"
        elif reads != writes:
            if _logical(writer) or _logical(reader):
                yield f"{at}expected {_text(reader)}, writer has {_text(writer)}"
        elif reads in NAMED and _short(reader) != _short(writer) and _short(writer) not in map(_last, reader.get("aliases", [])):
            yield f"{at}expected {reads} {_short(reader)}, writer has {_short(writer)}"
        elif reads == "record":
            yield from self._records(reader, writer, where)
        elif reads == "enum":
            missing = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
            if missing and "default" not in reader:
                yield f"{at}writer's symbols {', '.join(missing)} are unknown and the reader has no default"
        elif reads == "fixed":
            if reader["size"] != writer["size"]:
                yield f"{at}expected {reader['size']} bytes, writer has {writer['size']}"
        elif reads in ("array", "map"):
            inner = "items" if reads == "array" else "values"
            yield from self.differences(reader[inner], writer[inner], f"{where}[]")
        elif _logical(reader) != _logical(writer):
            yield f"{at}expected {_text(reader)}, writer has {_text(writer)}"

    def _records(self, reader: AvroSchema, writer: AvroSchema, where: str) -> Iterator[str]:
        pair = _short(reader), _short(writer)
        if pair in self.open:
            return
        self.open.add(pair)
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            path = f"{where}.{field['name']}" if where else field["name"]
            source = next((written[name] for name in (field["name"], *field.get("aliases", [])) if name in written), None)
            if source is None:
                if "default" not in field:
                    yield f"{path}: the writer has no such field and the reader no default"
                continue
            if source.get("pii") and not field.get("pii"):
                yield f"{path}: the writer marks it as personal (pii), the reader does not"
            yield from self.differences(field["type"], source["type"], path)
        self.open.discard(pair)


def _kind(schema: AvroSchema) -> str:
    kind = schema["type"] if isinstance(schema, dict) else schema
    return kind if isinstance(kind, str) else _kind(kind)


def _logical(schema: AvroSchema) -> str | None:
    return schema.get("logicalType") if isinstance(schema, dict) else None


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _short(schema: AvroSchema) -> str:
    return _last(schema["name"])


def _resolved(schema: AvroSchema, types: dict[str, AvroSchema]) -> AvroSchema:
    """A type without wrappers, with names resolved."""
    while isinstance(schema, dict) and not isinstance(schema["type"], str):
        schema = schema["type"]
    name = schema["type"] if isinstance(schema, dict) else schema
    return types.get(_last(name), schema) if isinstance(name, str) else schema


def _named_types(schema: AvroSchema) -> Iterator[tuple[str, AvroSchema]]:
    """Every named type inside a schema, by its short name."""
    if isinstance(schema, list):
        for branch in schema:
            yield from _named_types(branch)
    elif isinstance(schema, dict):
        if schema.get("type") in NAMED:
            yield _short(schema), schema
        for field in schema.get("fields", []):
            yield from _named_types(field["type"])
        for inner in ("type", "items", "values"):
            if isinstance(schema.get(inner), dict | list):
                yield from _named_types(schema[inner])


def _text(schema: AvroSchema) -> str:
    """A short description of a type.

    >>> _text(["null", {"type": "long", "logicalType": "timestamp-micros"}])
    'null | long (timestamp-micros)'
    """
    if isinstance(schema, list):
        return " | ".join(_text(branch) for branch in schema)
    if isinstance(schema, str):
        return _last(schema)
    match _kind(schema):
        case "enum":
            return f"enum {_short(schema)} ({', '.join(schema['symbols'])})"
        case "fixed":
            return f"fixed {_short(schema)} ({schema['size']} bytes)"
        case "record":
            return f"record {_short(schema)}"
        case "array":
            return f"array of {_text(schema['items'])}"
        case "map":
            return f"map of {_text(schema['values'])}"
        case kind:
            return f"{kind} ({schema['logicalType']})" if _logical(schema) else kind


def _field_text(field: AvroSchema) -> str:
    text = _text(field["type"])
    if "default" in field:
        text += f" = {field['default']!r}"
    return f"{text}, pii" if field.get("pii") else text
