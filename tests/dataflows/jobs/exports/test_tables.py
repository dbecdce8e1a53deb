"""Flat tables equal the ledger, in columns that other tools read."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from dataflows.jobs.exports.tables import export_parquet
from schemas.errors import NotFound, StoreUnavailable
from schemas.events.cells import cell_texts
from schemas.records.records import CONTROL_LOG
from tests.api.town import HISTORY_SLOTS, MEASURE, MODEL, SLOT_S, START_SLOT, Town, build_town

SLOTS = 12
Rows = list[dict[str, object]]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Town, dict[str, int], dict[str, Rows]]:
    """A town, the row counts that the export returned, and the rows in the files."""
    town = build_town(tmp_path_factory.mktemp("town"), slots=SLOTS)
    town.ledger.append(CONTROL_LOG, 2, [b"from a newer version"])
    folder = tmp_path_factory.mktemp("tables")
    exported = export_parquet(town.ledger, town.blobs, ["nyc"], folder)
    found = {path.stem: pq.read_table(path).to_pylist() for path in sorted(folder.glob("*.parquet"))}
    town.blobs.close()
    town.ledger.close()
    return town, exported, found


def test_each_table_is_a_file(tables: tuple[Town, dict[str, int], dict[str, Rows]]) -> None:
    """There are five tables, with as many rows as the export returned."""
    _, exported, found = tables
    assert ["control", "counts", "forecasts", "models", "scores"] == sorted(found)
    assert exported == {name: len(rows) for name, rows in found.items()}


def test_counts_are_settled(tables: tuple[Town, dict[str, int], dict[str, Rows]]) -> None:
    """Each slot and cell has its rides as known now, including late ones."""
    town, _, found = tables
    texts = cell_texts(town.cells, town.region.precision).tolist()
    expected = {
        (START_SLOT - HISTORY_SLOTS + at, texts[cell]): int(rides)
        for at, row in enumerate(town.counts[: HISTORY_SLOTS + SLOTS])
        for cell, rides in enumerate(row)
        if rides
    }
    for (slot, cell), rides in town.late.items():
        expected[slot, texts[cell]] = expected.get((slot, texts[cell]), 0) + rides
    assert expected == {(int(row["slot"].timestamp()) // SLOT_S, row["cell"]): row["count"] for row in found["counts"]}  # type: ignore[attr-defined]
    assert {("nyc", MEASURE)} == {(row["region"], row["measure"]) for row in found["counts"]}


def test_forecasts_are_those_of_the_blobs(tables: tuple[Town, dict[str, int], dict[str, Rows]]) -> None:
    """A forecast is in rides, with its target, its horizon and the entry that issued it."""
    town, _, found = tables
    slot = START_SLOT + 7
    columns = town.columns(slot)
    rows = [row for row in found["forecasts"] if int(row["target"].timestamp()) // SLOT_S == slot + 1]  # type: ignore[attr-defined]
    expected = np.column_stack([getattr(columns, name).ravel() / 1000 for name in ("mean", "median", "lower", "upper", "baseline")])
    assert expected.tolist() == [[row[name] for name in ("mean", "median", "lower", "upper", "baseline")] for row in rows]
    assert list(columns.horizons_min) * len(columns) == [row["horizon_min"] for row in rows]
    assert {1 + 3 * 7 + 2} == {row["index"] for row in rows}  # after the bootstrap, the third entry of the eighth slot


def test_scores_are_in_rides(tables: tuple[Town, dict[str, int], dict[str, Rows]]) -> None:
    """Errors are in rides, squares in squared rides."""
    town, _, found = tables
    row = found["scores"][0]
    assert (10, 9.0, 4.0, 90.0, False) == tuple(row[name] for name in ("truth", "forecast_mean", "abs_error", "square_error", "settled"))
    assert SLOTS * len(town.region.horizons_min) == len(found["scores"])


def test_models_have_their_training_data(tables: tuple[Town, dict[str, int], dict[str, Rows]]) -> None:
    """A model has its digest, features, the times of its data, and its parameters as JSON."""
    _, _, found = tables
    (row,) = found["models"]
    times = [int(row[name].timestamp()) // SLOT_S for name in ("first", "until")]  # type: ignore[attr-defined]
    assert [START_SLOT - HISTORY_SLOTS, START_SLOT] == times
    assert (MODEL.hex(), ["lag_5", "lag_15"], 8_640, 0) == (row["model"], row["features"], row["rows"], row["index"])
    assert {"trees": "300"} == json.loads(str(row["parameters"]))


def test_control_has_every_entry(tables: tuple[Town, dict[str, int], dict[str, Rows]]) -> None:
    """Every entry of the log is a row with its record as JSON; one of a newer version has no record but keeps its row."""
    _, _, found = tables
    rows = [(row["index"], row["kind"], row["model"], row["alias"], row["reason"]) for row in found["control"]]
    trained, promoted = (0, "ModelTrained", MODEL.hex(), None, None), (1, "ModelPromoted", MODEL.hex(), "champion", "first model")
    assert [trained, promoted, (2, "unknown", None, None, None)] == rows
    assert MODEL.hex() == json.loads(str(found["control"][1]["record"]))["model"]
    assert found["control"][2]["record"] is None


def test_nothing_to_export_is_reported(tables: tuple[Town, dict[str, int], dict[str, Rows]], tmp_path: Path) -> None:
    """If no region is bootstrapped, no table is written."""
    town, _, _ = tables
    with pytest.raises(NotFound, match="no region is bootstrapped"):
        export_parquet(town.ledger, town.blobs, [], tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_an_interrupted_export_leaves_the_old_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Existing tables stay unchanged, and no temporary file is left, unless all new ones are complete."""
    town = build_town(tmp_path / "town", slots=3)
    folder = tmp_path / "tables"
    export_parquet(town.ledger, town.blobs, ["nyc"], folder)
    old = {path.name: path.read_bytes() for path in folder.iterdir()}
    town.close(2)

    def stop(done: int, size: int) -> None:
        if done == size:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_parquet(town.ledger, town.blobs, ["nyc"], folder, on_entries=stop)
    assert old == {path.name: path.read_bytes() for path in folder.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr("dataflows.jobs.exports.tables.export_control", _full_disk)
        with pytest.raises(StoreUnavailable, match="No space left on device"):
            export_parquet(town.ledger, town.blobs, ["nyc"], folder)
    assert old == {path.name: path.read_bytes() for path in folder.iterdir()}
    export_parquet(town.ledger, town.blobs, ["nyc"], folder)
    assert [name for name in sorted(old) if name != "models.parquet" and name != "control.parquet"] == sorted(
        path.name for path in folder.iterdir() if path.read_bytes() != old[path.name]
    )
    town.blobs.close()
    town.ledger.close()


def _full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_window_bounds_forecasts_and_scores(tables: tuple[Town, dict[str, int], dict[str, Rows]], tmp_path: Path) -> None:
    """With a window only its targets and slots are exported, the first included and the last not; counts are complete."""
    _, _, found = tables
    town = build_town(tmp_path / "town", slots=SLOTS)
    first, until = ((START_SLOT + at) * SLOT_S for at in (4, 7))
    export_parquet(town.ledger, town.blobs, ["nyc"], tmp_path / "tables", window=lambda region: (first * 10**6, until * 10**6))
    some = {path.stem: pq.read_table(path).to_pylist() for path in (tmp_path / "tables").iterdir()}
    for name, column in (("forecasts", "target"), ("scores", "slot")):
        expected = [row for row in found[name] if first <= row[column].timestamp() < until]  # type: ignore[attr-defined]
        assert 0 < len(expected) < len(found[name])
        assert expected == some[name]
    assert found["counts"] == some["counts"]
    town.blobs.close()
    town.ledger.close()
