"""BikeNYC: hourly flows on a grid of 16 x 8 cells, through the same pipeline as a region with slots of an hour and two measures.

Each count becomes that many ride events inside its hour. New flow counts as `requests`, end flow as `pickups`; the grid lies
on cells of geohash 6, a column of the grid on a column of cells.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from dataflows.connectors.files.ridelog import RideLogWriter
from schemas.events.codec import EventColumns, encode_events
from schemas.events.measures import KINDS, MEASURES
from schemas.regions import US_PER_MIN
from tests.accuracy.backtests import Rows, backtest
from tests.accuracy.results import Result

FLOWS = {"requests": "new_flow", "pickups": "end_flow"}  # measure: column
SOUTH, WEST = 40.70, -74.03
LAT_STEP, LON_STEP = 180 / 2**15, 360 / 2**15  # of a cell of geohash 6
GRID_ROWS, GRID_COLUMNS = 16, 8
ACTIVE = 81  # cells with any flow
PARTITIONS = 4
HOUR_US = 60 * US_PER_MIN
UTC_BEHIND_US = 4 * HOUR_US  # the data is in New York's summer time
TRAIN_UNTIL, TEST_UNTIL = "2014-09-21", "2014-10-01"
PUBLISHED = 6.33  # ST-ResNet
OTHERS = {"ARIMA, published": 10.07, "DeepST, published": 7.43, "ST-ResNet, published": PUBLISHED}


def region_file(folder: Path) -> Path:
    """The definition of the region."""
    north, east = SOUTH + (GRID_ROWS + 1) * LAT_STEP, WEST + (GRID_COLUMNS + 1) * LON_STEP
    south, west = SOUTH - LAT_STEP, WEST - LON_STEP
    path = folder / "bikenyc.json"
    definition = {
        "id": "bikenyc",
        "timezone": "America/New_York",
        "polygon": [[south, west], [north, west], [north, east], [south, east]],
        "slot_min": 60,
        "horizons_min": [60],
        "measures": list(FLOWS),
        "holidays": ["2014-05-26", "2014-07-04", "2014-09-01"],
    }
    path.write_text(json.dumps(definition), "utf-8")
    return path


def write_rides(data: Path, rides: Path) -> None:
    """The flows as a ride log."""
    with RideLogWriter(rides, PARTITIONS) as log:
        for number, events in enumerate(_events(data)):
            values = encode_events(events)
            for partition in range(PARTITIONS):
                mine = values[partition::PARTITIONS]
                log.append(partition, events.occurred_at_us[partition::PARTITIONS], [b""] * len(mine), mine)
            if number % 20 == 0:
                log.flush()


def _events(data: Path) -> Iterator[EventColumns]:
    """The events of each day, in order of time."""
    table = pq.read_table(data / "bikenyc_16x8_60min.parquet")
    start_us = table["time"].to_numpy().astype("datetime64[us]").astype(np.int64) + UTC_BEHIND_US
    row, column = table["row"].to_numpy().astype(np.float64), table["col"].to_numpy().astype(np.float64)
    lat = (np.floor(SOUTH / LAT_STEP) + row + 0.5) * LAT_STEP
    lon = (np.floor(WEST / LON_STEP) + column + 0.5) * LON_STEP
    flows = {measure: table[name].to_numpy().astype(np.int64) for measure, name in FLOWS.items()}
    days = (start_us - start_us[0]) // (24 * HOUR_US)
    for day in np.unique(days).tolist():
        here = np.flatnonzero(days == day)
        parts = []
        for measure, counts in flows.items():
            place = np.repeat(here, counts[here])
            kind = np.full(len(place), KINDS.index(MEASURES[measure].kind))
            # The events of a cell are spread evenly over its hour.
            first = np.concatenate([[0], np.cumsum(counts[here])[:-1]])
            rank = np.arange(len(place)) - np.repeat(first, counts[here])
            at = start_us[place] + (rank * HOUR_US) // np.repeat(np.maximum(counts[here], 1), counts[here])
            parts.append((at, kind, place))
        at, kind, place = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        order = np.argsort(at, kind="stable")
        at, kind, place = at[order], kind[order], place[order]
        names = [f"{day}-{i}" for i in range(len(at))]
        yield EventColumns(names, names, kind.astype(np.uint8), at, "bikenyc", lat[place], lon[place])


def bikenyc(data: Path, folder: Path) -> list[Result]:
    """The last ten days, next hour."""
    rides = folder / "bikenyc"
    if not rides.exists():
        partial = folder / "bikenyc.partial"
        write_rides(data, partial)
        partial.rename(rides)
    measures = backtest(rides, region_file(folder), TRAIN_UNTIL, TEST_UNTIL, folder / "bikenyc.json.out")
    cells = {rows["all", 60, "served"].cells for rows in measures.values()}
    served = _pooled(measures, "served")
    return [
        Result("active cells", max(cells)),
        Result("RMSE over the active cells, both flows", served, 5.8, 5.5),
        Result("RMSE over all 128 cells", served * float(np.sqrt(ACTIVE / (GRID_ROWS * GRID_COLUMNS)))),
        *(Result(f"RMSE of {model}", _pooled(measures, model)) for model in ("weekday_slot_mean", "same_slot_last_week", "last_value")),
        *(Result(f"RMSE of {name}", error) for name, error in OTHERS.items()),
    ]


def _pooled(measures: dict[str, Rows], model: str) -> float:
    """RMSE over both flows."""
    return float(np.sqrt(np.mean([rows["all", 60, model].rmse ** 2 for rows in measures.values()])))
