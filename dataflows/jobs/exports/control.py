"""Exports the log `control` as flat tables: one of models, one of all control records."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ledger.store.log import Ledger, Stored
from schemas.records.record_codec import decode_if_known
from schemas.records.records import CONTROL_LOG, ModelTrained, Record
from schemas.regions import Region

MODELS = pa.schema(
    [
        ("region", pa.string()),
        ("measure", pa.string()),
        ("model", pa.string()),
        ("algorithm", pa.string()),
        ("features", pa.list_(pa.string())),
        ("first", pa.timestamp("us", "UTC")),
        ("until", pa.timestamp("us", "UTC")),
        ("rows", pa.int64()),
        ("data_digest", pa.string()),
        ("parameters", pa.string()),
        ("metrics", pa.string()),
        ("index", pa.int64()),
    ]
)
OWN_COLUMNS = ("region", "measure", "model", "alias", "reason")  # null where a control record has no such field
CONTROL = pa.schema([("index", pa.int64()), ("kind", pa.string()), *((name, pa.string()) for name in OWN_COLUMNS), ("record", pa.string())])


def export_control(ledger: Ledger, regions: Mapping[str, Region], folder: Path) -> dict[str, int]:
    """Write models.parquet and control.parquet; returns rows per table.

    Args:
        ledger: Open; without a log `control` the tables are empty.
        regions: By name, for the times of training data; null for a region that is not given.
        folder: Must exist.
    """
    models, control = [], []
    for stored, record in _entries(ledger):
        control.append(_control_row(stored, record))
        if isinstance(record, ModelTrained):
            models.append(_model_row(stored, record, regions.get(record.region)))
    for name, rows, schema in (("models", models, MODELS), ("control", control, CONTROL)):
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / f"{name}.parquet", compression="zstd")
    return {"models": len(models), "control": len(control)}


def _entries(ledger: Ledger) -> Iterator[tuple[Stored[Record], Record | None]]:
    """Every entry with its record; None for a kind of a newer version."""
    for stored in ledger.scan(CONTROL_LOG):
        yield stored, decode_if_known(stored.payload)


def _control_row(stored: Stored[Record], record: Record | None) -> dict[str, object]:
    fields = {name: _text(getattr(record, name, None)) for name in OWN_COLUMNS}
    return {"index": stored.index, "kind": stored.kind, **fields, "record": _json(dataclasses.asdict(record)) if record else None}


def _model_row(stored: Stored[Record], record: ModelTrained, region: Region | None) -> dict[str, object]:
    return {
        "region": record.region,
        "measure": record.measure,
        "model": record.model.hex(),
        "algorithm": record.algorithm,
        "features": list(record.features),
        "first": record.first_slot * region.slot_us if region else None,
        "until": record.until_slot * region.slot_us if region else None,
        "rows": record.rows,
        "data_digest": record.data_digest.hex(),
        "parameters": _json(record.parameters),
        "metrics": _json(record.metrics),
        "index": stored.index,
    }


def _text(value: object) -> str | None:
    """Digests in hexadecimal, texts as they are."""
    return value.hex() if isinstance(value, bytes) else None if value is None else str(value)


def _json(value: object) -> str:
    """An object as JSON, digests in hexadecimal."""
    return json.dumps(value, default=bytes.hex, ensure_ascii=False)
