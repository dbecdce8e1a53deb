"""The tables of models and of the control log equal the log, in columns that other tools read."""

import json

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from dataflows.jobs.exports.tables import export_parquet
from schemas.records.records import CONTROL_LOG
from tests.api.town import HISTORY_SLOTS, MODEL, SLOT_S, START_SLOT, Town, build_town

Rows = list[dict[str, object]]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Town, dict[str, int], dict[str, Rows]]:
    """A town, the row counts that the export returned, and the rows in the files."""
    town = build_town(tmp_path_factory.mktemp("town"), slots=2)
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
