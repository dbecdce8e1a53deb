"""The tables of a real run, with history, corrections and an outage, equal its ledger record by record."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from dataflows.jobs.exports.tables import COUNTS, FORECASTS, SCORES, export_parquet
from dataflows.stream.stores import Stores
from ledger.store.log import R, Stored
from schemas.errors import NotFound
from schemas.events.cells import cell_text
from schemas.forecasts.chunks import decode_chunk, unpack_blob
from schemas.records.count_table import from_table
from schemas.records.record_codec import decode
from schemas.records.records import FALLBACKS, ForecastIssued, RegionBootstrapped, SlotClosed, SlotCounts, SlotScored
from tests.api.town import build_town
from tests.simulation.runs import LOG
from tests.state.counting.plain_slots import SLOT_US

NUMBERS = ("mean", "median", "lower", "upper", "baseline")


@pytest.fixture(scope="module")
def tables(finished: Stores, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tables of a finished run."""
    folder = tmp_path_factory.mktemp("tables") / "new" / "folder"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dataflows.jobs.exports.tables.PAGE_ENTRIES", 50)
        patch.setattr("dataflows.jobs.exports.tables.ROWS_PER_GROUP", 500)
        rows = export_parquet(finished.ledger, finished.blobs, ["small"], folder)
    assert {name: pq.read_metadata(folder / f"{name}.parquet").num_rows for name in rows} == rows
    assert {"counts", "forecasts", "scores"} <= set(rows)
    assert pq.read_metadata(folder / "forecasts.parquet").num_row_groups > 1
    return folder


def stored(stores: Stores, kind: type[R]) -> list[Stored[R]]:
    """The region's entries of a kind."""
    return list(stores.ledger.scan(LOG, kind=kind))


def utc(slot: int) -> pd.Timestamp:
    """The start of a slot."""
    return pd.Timestamp(slot * SLOT_US, unit="us", tz="UTC")


def test_counts_are_settled_and_include_history(finished: Stores, tables: Path) -> None:
    """Bootstrapped history, counts at the cut and corrections add up per slot and cell, each once, in order."""
    expected: dict[tuple[pd.Timestamp, str], int] = {}
    [boot] = [found.record for found in stored(finished, RegionBootstrapped)]
    history = decode(finished.blobs.get(boot.counts_blob), SlotCounts)
    parts = list(history.counts)
    for found in stored(finished, SlotClosed):
        record = decode(found.payload, SlotClosed)
        parts += [*record.counts, *record.corrections]
        assert not record.counts_blob
    for table in parts:
        for slot, cell, count in zip(*(column.tolist() for column in from_table(table)), strict=True):
            key = utc(slot), cell_text(cell, 6)
            expected[key] = expected.get(key, 0) + count
    frame = pd.read_parquet(tables / "counts.parquet")
    assert {("small", "requests")} == set(zip(frame["region"], frame["measure"], strict=True))
    assert not frame.duplicated(["slot", "cell"]).any()
    assert expected == {(row.slot, row.cell): row.count_ for row in frame.rename(columns={"count": "count_"}).itertuples()}
    assert frame["slot"].is_monotonic_increasing
    assert boot.rides + sum(cut.counted for found in stored(finished, SlotClosed) for cut in found.record.partitions) == int(
        frame["count"].sum()
    )


def test_forecasts_are_the_chunks(finished: Stores, tables: Path) -> None:
    """Every cell and horizon of every issue is a row, in rides, with its target, its fallback and the index of its entry."""
    frame = pd.read_parquet(tables / "forecasts.parquet")
    issues = stored(finished, ForecastIssued)
    assert [found.index for found in issues if found.record.cells] == frame["index"].unique().tolist()
    for found in issues[::9]:
        record = decode(found.payload, ForecastIssued)
        rows = frame[frame["index"] == found.index]
        assert record.cells * 3 == len(rows)
        assert {pd.Timestamp(record.target_us, unit="us", tz="UTC")} == set(rows["target"])
        columns = [decode_chunk(chunk, record.horizons_min) for chunk in unpack_blob(finished.blobs.get(record.blob)).chunks]
        expected = [
            (
                cell_text(cell, 6),
                horizon_min,
                *(int(getattr(part, name)[i, h]) for name in ("mean", "median", "lower", "upper", "baseline")),
            )
            for part in columns
            for i, cell in enumerate(part.cells.tolist())
            for h, horizon_min in enumerate(record.horizons_min)
        ]
        numbers = [np.rint(1_000 * rows[name]).astype(int) for name in NUMBERS]
        assert expected == list(zip(rows["cell"], rows["horizon_min"], *numbers, strict=True))
        exported = rows.drop_duplicates("cell")["fallback"].value_counts().to_dict()
        assert record.fallbacks == exported
    assert set(frame["fallback"]) <= {str(fallback) for fallback in FALLBACKS}


def test_scores_are_the_records(finished: Stores, tables: Path) -> None:
    """Every row of every score, first and settled, in rides."""
    frame = pd.read_parquet(tables / "scores.parquet")
    expected = [
        (
            *("small", "requests", utc(record.slot), record.settled, row.horizon_min, row.cells, row.truth),
            *(row.forecast_mean_milli, row.abs_error_milli, row.square_error_micro),
            *(row.baseline_abs_error_milli, row.baseline_square_error_micro, row.covered, found.index),
        )
        for found in stored(finished, SlotScored)
        for record in [found.record]
        for row in record.rows
    ]
    for name in ("forecast_mean", "abs_error", "baseline_abs_error"):
        frame[name] = np.rint(1e3 * frame[name]).astype(int)
    for name in ("square_error", "baseline_square_error"):
        frame[name] = np.rint(1e6 * frame[name]).astype(int)
    assert expected == list(frame.itertuples(index=False, name=None))
    assert {False, True} == set(frame["settled"])


def test_the_columns_are_the_documented_ones(tables: Path) -> None:
    """Names and their order, which scripts rely on; times have a zone."""
    counts, forecasts, scores = (pq.read_schema(tables / f"{name}.parquet") for name in ("counts", "forecasts", "scores"))
    assert ["region", "measure", "slot", "cell", "count"] == counts.names
    assert ["region", "measure", "target", "horizon_min", "cell", *NUMBERS, "fallback", "index"] == forecasts.names
    assert [COUNTS, FORECASTS, SCORES] == [counts, forecasts, scores]
    assert ["UTC"] * 3 == [counts.field("slot").type.tz, forecasts.field("target").type.tz, scores.field("slot").type.tz]


def test_counts_in_blobs_are_found(tmp_path: Path) -> None:
    """Slots whose counts are too large for an entry are exported from their blob."""
    town = build_town(tmp_path / "home", slots=12)
    seen: list[tuple[int, int]] = []
    rows = export_parquet(town.ledger, town.blobs, ["nyc"], tmp_path / "tables", on_entries=lambda done, total: seen.append((done, total)))
    frame = pd.read_parquet(tmp_path / "tables" / "counts.parquet")
    size = town.ledger.head("region/nyc").size
    town.blobs.close()
    town.ledger.close()
    assert any(slot % 5 == 0 for slot in range(town.newest - 11, town.newest + 1))
    expected = int(town.counts[: 288 + 12].sum()) + sum(town.late.values())
    assert expected == frame["count"].sum()
    assert [(i, size) for i in range(1, size + 1)] == seen
    assert rows["forecasts"] == 12 * len(town.cells) * 3


def test_a_missing_region_is_reported(finished: Stores, tmp_path: Path) -> None:
    """A region that is not bootstrapped is named before any table is written."""
    with pytest.raises(NotFound, match="region nyc: not bootstrapped"):
        export_parquet(finished.ledger, finished.blobs, ["small", "nyc"], tmp_path / "tables")
    assert not (tmp_path / "tables").exists()
