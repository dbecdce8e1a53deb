"""The entries that record schemas in a log, and which of them an entry needs before it.

A future reader may have the log and its blobs but not our code. Every entry names its schema by fingerprint; these
entries define the fingerprints of entries and of the blobs that they name.
"""

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from importlib import resources

import fastavro

from schemas.encoding.avro_files import MARKER, AvroSchema, fingerprint, released
from schemas.records.kinds import ROWS, BlobContent
from schemas.records.record_codec import VERSIONS, encode, schema_of
from schemas.records.records import SchemaRecorded, SlotCounts

CHUNK = "forecast_chunk.v1"


@cache
def schema_entries() -> dict[bytes, bytes]:
    """Fingerprint -> the entry that records its schema, for every released record and every blob that is Avro."""
    folder = resources.files("schemas") / "avro" / "records"
    found = [json.loads(item.read_text("utf-8")) for item in folder.iterdir() if item.name.endswith(".avsc")]
    return {fingerprint(schema): encode(_recorded(schema)) for schema in (*found, released(CHUNK))}


def _recorded(schema: AvroSchema) -> SchemaRecorded:
    text = fastavro.schema.to_parsing_canonical_form(schema)
    version = int(schema["namespace"].rsplit("v", 1)[1])
    return SchemaRecorded(
        kind=schema["name"], version=version, fingerprint=fingerprint(schema), sha256=hashlib.sha256(text.encode()).digest(), text=text
    )


@cache
def own_fingerprint() -> bytes:
    """Fingerprint of `SchemaRecorded` itself."""
    return fingerprint(schema_of(SchemaRecorded))


@cache
def _of_blobs() -> dict[bytes, bytes]:
    """Fingerprint of a record -> fingerprint of the schema of the blobs that it names."""
    counts, chunk = fingerprint(schema_of(SlotCounts)), fingerprint(released(CHUNK))
    contents = {BlobContent.COUNTS: counts, BlobContent.CHUNKS: chunk}
    kinds = {row.name: contents[what] for row in ROWS for _, what in row.blobs if what in contents}
    folder = resources.files("schemas") / "avro" / "records"
    versions = [(kind, number) for kind in kinds for number in range(1, VERSIONS.get(kind, 1) + 1)]
    return {fingerprint(json.loads((folder / f"{kind}.v{number}.avsc").read_text("utf-8"))): kinds[kind] for kind, number in versions}


def fingerprints_of(payload: bytes) -> Iterator[bytes]:
    """Fingerprints of the schemas that a reader of an entry and of its blobs needs; none for bytes that are not a record.

    >>> from schemas.records.records import ModelPromoted
    >>> record = ModelPromoted(region="nyc", measure="pickups", model=b"", alias="champion", reason="")
    >>> [found.hex() for found in fingerprints_of(encode(record))]
    ['edb987c52f6762f8']
    """
    own = payload[2:10]
    if payload[:2] == MARKER and own in schema_entries():
        yield own
        if own in _of_blobs():
            yield _of_blobs()[own]
