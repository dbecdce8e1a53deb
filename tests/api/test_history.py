"""Counts of a cell are the recorded ones, late rides included, from the bootstrap through the newest slot."""

from datetime import datetime

import numpy as np
import pytest

import ledger.views.region_view
from api.history import of_cell
from schemas.events.cells import cell_texts
from schemas.records.count_table import to_table
from schemas.regions import load_region
from tests.api.client import Client
from tests.api.town import HISTORY_SLOTS, SLOT_S, START_SLOT, Town, status_of


def path(town: Town, number: int, query: str = "") -> str:
    """Address of a cell's history."""
    return f"/v1/regions/nyc/cells/{cell_texts(town.cells, 6)[number]}/history{query}"


@pytest.mark.parametrize("number", [0, 1, 7])
def test_a_day_across_bootstrap_and_live_slots(town: Town, client: Client, number: int) -> None:
    """By default the last 24 hours come, in order, without holes, late rides counted in their own slot."""
    body = client.get(path(town, number)).json()
    slots = range(town.newest - 287, town.newest + 1)
    assert [town.rides(slot, number) for slot in slots] == [row["rides"] for row in body["slots"]]
    assert ["bootstrapped" if slot < START_SLOT else status_of(slot) for slot in slots] == [row["status"] for row in body["slots"]]
    assert ((town.newest + 1) * SLOT_S) == _seconds(body["until"]) == _seconds(body["late_until"])


def test_a_range_in_local_time(town: Town, client: Client) -> None:
    """From and until are slot boundaries; until is not included."""
    body = client.get(path(town, 1, "?from=2014-05-05T23:50&until=2014-05-06T00:10")).json()
    slots = range(START_SLOT - 2, START_SLOT + 2)
    assert [town.rides(slot, 1) for slot in slots] == [row["rides"] for row in body["slots"]]


def test_older_slots_are_read_from_the_log(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the view no longer keeps gives the same counts, late rides included."""
    query = "?from=2014-05-05T23:00&until=2014-05-06T02:00"
    kept = town.client().get(path(town, 1, query)).json()["slots"]
    monkeypatch.setattr(ledger.views.region_view, "KEPT_DAYS", 10 / 288)
    scanned = town.client().get(path(town, 1, query)).json()
    assert kept == scanned["slots"]
    assert _seconds("2014-05-06T07:00:00Z") == _seconds(scanned["late_until"])  # an hour after until


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("?from=2014-05-06T01:00&until=2014-05-06T01:00", 422, "from"),
        ("?from=2014-04-20T01:00", 422, "from"),
        ("?from=2014-05-06T01:02", 422, "from"),
        ("?until=2014-05-06T03:25", 409, "until"),
        ("?until=2014-05-01T00:00", 404, "until"),
    ],
)
def test_a_range_that_is_not_there_is_refused(town: Town, client: Client, query: str, status: int, field: str) -> None:
    """Each refusal names the bound that is wrong."""
    answer = client.get(path(town, 1, query))
    assert (status, field) == (answer.status_code, answer.json()["field"])


def test_a_cell_without_rides_and_forecast_is_unknown(client: Client) -> None:
    """A cell where nothing ever was is not an empty history."""
    answer = client.get("/v1/regions/nyc/cells/u4pruy/history")
    assert (answer.status_code, answer.json()["field"]) == (404, "cell")


def test_history_is_confirmed_until_the_log_grows(growing_town: Town) -> None:
    """The ETag follows the size of the log."""
    client = growing_town.client()
    etag = client.get(path(growing_town, 1)).headers["etag"]
    assert client.get(path(growing_town, 1), if_none_match=etag).status_code == 304
    growing_town.close()
    assert client.get(path(growing_town, 1), if_none_match=etag).status_code == 200


def test_the_town_is_as_long_as_the_tests_believe(town: Town) -> None:
    """The fixture's history is one day of five-minute slots."""
    assert load_region("nyc").slot_us * HISTORY_SLOTS == 86_400_000_000


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def test_rides_of_another_measure_are_not_counted() -> None:
    """Of tables of two measures in one entry, those of the measure that is asked for are read, and of its cell."""
    cells = np.array([7, 9], np.uint64)
    tables = (to_table("requests", [3, 3], cells, [1, 2]), to_table("pickups", [3, 3], cells, [10, 20]))
    assert [(3, 20)] == of_cell(tables, "pickups", 9)
    assert [(3, 1)] == of_cell(tables, "requests", 7)
    assert [] == of_cell(tables, "requests", 8)
