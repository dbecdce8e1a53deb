"""Exports the ledger as flat tables: Parquet files that pandas and DuckDB open directly."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from dataflows.jobs.exports.control import export_control
from dataflows.stream.record import closed_of, history_by_slot
from ledger.store.blobs import Blobs
from ledger.store.files import sync_folder
from ledger.store.log import Ledger, Stored, holds
from ledger.views.issues import expired_until
from ledger.views.regions import region_of
from schemas.errors import NotFound, StoreUnavailable
from schemas.events.cells import cell_texts
from schemas.forecasts.chunks import unpack_blob
from schemas.records.records import FALLBACKS, ForecastIssued, Record, RegionBootstrapped, SlotClosed, SlotScored, region_log
from schemas.regions import Region
from state.counting.slots import CountColumns, merge_counts

Window = tuple[int, int]  # microseconds UTC: first included, first excluded

PAGE_ENTRIES = 2_000
ALWAYS: Window = (0, 2**63 - 1)
ROWS_PER_GROUP = 1_000_000

COUNTS = pa.schema(
    [("region", pa.string()), ("measure", pa.string()), ("slot", pa.timestamp("us", "UTC")), ("cell", pa.string()), ("count", pa.int64())]
)
FORECASTS = pa.schema(
    [
        ("region", pa.string()),
        ("measure", pa.string()),
        ("target", pa.timestamp("us", "UTC")),
        ("horizon_min", pa.int32()),
        ("cell", pa.string()),
        *((name, pa.float64()) for name in ("mean", "median", "lower", "upper", "baseline")),
        ("fallback", pa.string()),
        ("index", pa.int64()),
    ]
)
SCORES = pa.schema(
    [
        ("region", pa.string()),
        ("measure", pa.string()),
        ("slot", pa.timestamp("us", "UTC")),
        ("settled", pa.bool_()),
        ("horizon_min", pa.int32()),
        ("cells", pa.int64()),
        ("truth", pa.int64()),
        *((name, pa.float64()) for name in ("forecast_mean", "abs_error", "square_error", "baseline_abs_error", "baseline_square_error")),
        ("covered", pa.int64()),
        ("index", pa.int64()),
    ]
)


def export_parquet(
    ledger: Ledger,
    blobs: Blobs,
    regions: Sequence[str],
    folder: Path,
    *,
    window: Callable[[Region], Window] = lambda region: ALWAYS,
    on_entries: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Write counts, forecasts, scores, models and control as Parquet, a file each; returns rows per table.

    Counts are settled: history and corrections are added to their slots. Slots are given by their
    start, UTC; a forecast by its target, the start of its window. Forecasts whose chunks expired are left out.
    All files are written to a temporary folder and renamed together: existing files stay until all are complete.

    Args:
        folder: Where to write; created if missing.
        window: Targets of forecasts and slots of scores to export, by region; the other tables are complete.
        on_entries: Called with (entries done, entries in total), region by region.
    Raises:
        NotFound: no region is bootstrapped here.
        StoreUnavailable: the disk refuses.
    """
    if not regions:
        raise NotFound("nothing to export: no region is bootstrapped in this home")
    known = {name: region_of(ledger, name) for name in regions}
    windows = {name: window(region) for name, region in known.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".export-", dir=folder) as path:
            temporary = Path(path)
            rows = _write_regions(ledger, blobs, known, windows, temporary, on_entries) | export_control(ledger, known, temporary)
            for name in rows:
                _flush_file(temporary / f"{name}.parquet")
            for name in rows:
                (temporary / f"{name}.parquet").replace(folder / f"{name}.parquet")
        sync_folder(folder)
    except OSError as cause:
        raise StoreUnavailable(f"tables: {folder}: {cause.strerror or cause}") from cause
    return rows


def _write_regions(
    ledger: Ledger,
    blobs: Blobs,
    known: Mapping[str, Region],
    windows: Mapping[str, Window],
    folder: Path,
    on_entries: Callable[[int, int], None] | None,
) -> dict[str, int]:
    with _Tables(folder) as tables:
        for name, region in known.items():
            first_us, until_us = windows[name]
            parts: list[list[CountColumns]] = [[] for _ in region.measures]
            size = ledger.head(region_log(name)).size
            expired = expired_until(ledger, name)
            for stored in _entries(ledger, region_log(name), size):
                if holds(stored, RegionBootstrapped) or holds(stored, SlotClosed):
                    _collect(region, stored.record, blobs, parts)
                elif holds(stored, ForecastIssued) and (stored.slot or 0) >= expired:
                    issued = stored.record
                    if first_us <= issued.target_us < until_us:
                        tables.write("forecasts", _forecasts(region, issued, stored.index, blobs))
                elif holds(stored, SlotScored):
                    scored = stored.record
                    if first_us <= scored.slot * region.slot_us < until_us:
                        tables.write("scores", _scores(region, scored, stored.index))
                if on_entries is not None:
                    on_entries(stored.index + 1, size)
            for measure, pieces in zip(region.measures, parts, strict=True):
                tables.write("counts", _counts(region, measure, merge_counts([(c.slots, c.cells, c.counts) for c in pieces])))
    return tables.rows


def _flush_file(path: Path) -> None:
    """Flush a file to disk, so that a renamed table is complete even after a power loss."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


class _Tables:
    """Three open Parquet files, written in row groups."""

    def __init__(self, folder: Path) -> None:
        schemas = {"counts": COUNTS, "forecasts": FORECASTS, "scores": SCORES}
        self._writers = {name: pq.ParquetWriter(folder / f"{name}.parquet", schema, compression="zstd") for name, schema in schemas.items()}
        self._pending: dict[str, list[pa.Table]] = {name: [] for name in schemas}
        self.rows = dict.fromkeys(schemas, 0)

    def __enter__(self) -> "_Tables":
        return self

    def write(self, name: str, table: pa.Table) -> None:
        self._pending[name].append(table)
        self.rows[name] += table.num_rows
        if sum(part.num_rows for part in self._pending[name]) >= ROWS_PER_GROUP:
            self._flush(name)

    def _flush(self, name: str) -> None:
        if self._pending[name]:
            self._writers[name].write_table(pa.concat_tables(self._pending[name]))
            self._pending[name] = []

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        for name, writer in self._writers.items():
            if failed is None:
                self._flush(name)
            writer.close()


def _entries(ledger: Ledger, log: str, size: int) -> Iterator[Stored[Record]]:
    for page in range(0, size, PAGE_ENTRIES):
        yield from ledger.read(log, page, min(size, page + PAGE_ENTRIES))


def _collect(region: Region, record: RegionBootstrapped | SlotClosed, blobs: Blobs, parts: list[list[CountColumns]]) -> None:
    if isinstance(record, RegionBootstrapped):
        for _, counts in history_by_slot(region, record, blobs):
            for pieces, columns in zip(parts, counts, strict=True):
                pieces.append(columns)
        return
    closed = closed_of(region, record, (), blobs)
    for pieces, counts_now, late in zip(parts, closed.counts, closed.corrections, strict=True):
        pieces += [counts_now, late]


def _constant(value: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([value])).cast(pa.string())


def _counts(region: Region, measure: str, columns: CountColumns) -> pa.Table:
    n = len(columns)
    slots = pa.array(columns.slots * region.slot_us).cast(pa.timestamp("us", "UTC"))
    cells = pa.array(cell_texts(columns.cells, region.precision))
    return pa.Table.from_arrays([_constant(region.id, n), _constant(measure, n), slots, cells, pa.array(columns.counts)], schema=COUNTS)


def _forecasts(region: Region, record: ForecastIssued, index: int, blobs: Blobs) -> pa.Table:
    if not record.blob:
        return FORECASTS.empty_table()
    columns = unpack_blob(blobs.get(record.blob)).columns(record.horizons_min)
    cells, horizons = len(columns.cells), len(record.horizons_min)
    n = cells * horizons
    texts = np.repeat(cell_texts(columns.cells, region.precision), horizons)
    numbers = [pa.array(getattr(columns, name).ravel() / 1000) for name in ("mean", "median", "lower", "upper", "baseline")]
    names = np.array([str(fallback) for fallback in FALLBACKS])
    arrays = [
        _constant(record.region, n),
        _constant(record.measure, n),
        pa.array(np.full(n, record.target_us)).cast(pa.timestamp("us", "UTC")),
        pa.array(np.tile(np.array(record.horizons_min, np.int32), cells)),
        pa.array(texts),
        *numbers,
        pa.array(np.repeat(names[columns.fallback], horizons)),
        pa.array(np.full(n, index)),
    ]
    return pa.Table.from_arrays(arrays, schema=FORECASTS)


def _scores(region: Region, record: SlotScored, index: int) -> pa.Table:
    rows = [
        {
            "region": record.region,
            "measure": record.measure,
            "slot": record.slot * region.slot_us,
            "settled": record.settled,
            "horizon_min": row.horizon_min,
            "cells": row.cells,
            "truth": row.truth,
            "forecast_mean": row.forecast_mean_milli / 1e3,
            "abs_error": row.abs_error_milli / 1e3,
            "square_error": row.square_error_micro / 1e6,
            "baseline_abs_error": row.baseline_abs_error_milli / 1e3,
            "baseline_square_error": row.baseline_square_error_micro / 1e6,
            "covered": row.covered,
            "index": index,
        }
        for row in record.rows
    ]
    return pa.Table.from_pylist(rows, schema=SCORES)
