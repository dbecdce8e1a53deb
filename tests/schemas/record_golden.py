"""Records as they were released: for every version of every record some bytes, and what they mean today.

`python -m tests.schemas.record_golden --write` adds what is new to `tests/golden/records.json`; it refuses to change
the bytes of a version that is there, and says so.
"""

import hashlib
import io
import json
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import fastavro

from ridecast.commands.ledger.log_choice import plain
from schemas.encoding.avro_files import MARKER, fingerprint
from schemas.records.record_codec import decode

FILE = Path(__file__).resolve().parents[1] / "golden" / "records.json"

Schema = dict[str, Any]


def released_records() -> dict[str, Schema]:
    """Every released schema of a record by file name without ending, `SlotClosed.v1`, read as plain JSON."""
    folder = resources.files("schemas") / "avro" / "records"
    found = sorted((item.name.removesuffix(".avsc"), item.read_text("utf-8")) for item in folder.iterdir() if item.name.endswith(".avsc"))
    return {name: json.loads(text) for name, text in found}


def sample(kind: Any, seed: int, types: dict[str, Any]) -> Any:
    """Some value of an Avro type, the same for the same seed."""
    if isinstance(kind, str):
        simple: dict[str, object] = {"long": seed * 1_000_003 % 5_000_000, "string": f"text {seed}", "boolean": seed % 2 == 1}
        simple["bytes"] = hashlib.sha256(b"%d" % seed).digest()
        return simple[kind] if kind in simple else sample(types[kind], seed, types)
    match kind["type"]:
        case "record":
            types[kind["name"]] = kind
            return {field["name"]: sample(field["type"], seed + at, types) for at, field in enumerate(kind["fields"], 1)}
        case "array":
            return [sample(kind["items"], seed + at, types) for at in (7, 8)]
        case "map":
            return {f"name {at}": sample(kind["values"], seed + at, types) for at in (1, 2)}
    raise AssertionError(f"no sample for {kind}")


def encoded(schema: Schema, fields: dict[str, Any]) -> bytes:
    """Bytes of a record of any version, written without our encoder."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), fields)
    return MARKER + fingerprint(schema) + out.getvalue()


def golden() -> dict[str, dict[str, Any]]:
    """What the code makes of each released version now."""
    found = {}
    for name, schema in released_records().items():
        payload = encoded(schema, sample(schema, 0, {}))
        canonical = fastavro.schema.to_parsing_canonical_form(schema)
        read = {"kind": type(decode(payload)).__name__, **plain(decode(payload))}
        found[name] = {"schema": hashlib.sha256(canonical.encode()).hexdigest(), "payload": payload.hex(), "read": read}
    return found


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        raise SystemExit("usage: python -m tests.schemas.record_golden --write")
    held: dict[str, dict[str, Any]] = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
    now = golden()
    for name, row in held.items():
        if (row["schema"], row["payload"]) != (now.get(name, {}).get("schema"), now.get(name, {}).get("payload")):
            raise SystemExit(f"{name} is released and differs: give the record a new version")
    FILE.write_text(json.dumps(now, indent=1) + "\n", "utf-8")
    print(FILE)
