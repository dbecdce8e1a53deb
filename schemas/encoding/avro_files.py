"""Released Avro schemas, as files that never change, and their fingerprints."""

import json
from functools import cache
from importlib import resources
from typing import Any

import fastavro

AvroSchema = Any  # a schema as parsed JSON: dict, list or str

MARKER = b"\xc3\x01"  # Avro 1.12 specification, "Single-object encoding"


def fingerprint(schema: AvroSchema) -> bytes:
    """CRC-64-AVRO of a schema's parsing canonical form, 8 bytes little-endian."""
    canonical = fastavro.schema.to_parsing_canonical_form(schema)
    return bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))


@cache
def released(name: str) -> AvroSchema:
    """The released schema in `avro/<name>.avsc`, exactly as written.

    >>> released("ride_event.v1")["name"]
    'RideEvent'
    """
    return json.loads((resources.files("schemas") / "avro" / f"{name}.avsc").read_text("utf-8"))


def without_logical_types(schema: AvroSchema) -> AvroSchema:
    """The same schema with times as plain integers: same bytes, same fingerprint, no datetime limits.

    So a time in the year 30,000 can be decoded, and intake rejects it by its rule on times.
    """
    if isinstance(schema, list):
        return [without_logical_types(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: value for key, value in schema.items() if key != "logicalType"}
    for key in ("type", "items", "values"):
        if key in plain:
            plain[key] = without_logical_types(plain[key])
    if "fields" in plain:
        plain["fields"] = [{**field, "type": without_logical_types(field["type"])} for field in plain["fields"]]
    return plain


@cache
def plain_parsed(name: str) -> AvroSchema:
    """A released schema, without logical types, parsed for fastavro."""
    return fastavro.parse_schema(without_logical_types(released(name)))


@cache
def head(name: str) -> bytes:
    """The ten bytes before every value of a released schema: marker and fingerprint.

    Source:
        Avro 1.12 specification, "Single-object encoding".

    >>> head("ride_event.v1").hex()[:4]
    'c301'
    """
    return MARKER + fingerprint(released(name))
