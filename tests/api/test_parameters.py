"""Parameters in the API: values now and at any past time, every change, and what readiness makes of one."""

import pytest

from dataflows.jobs.parameters import set_parameter
from schemas.records.records import CONTROL_LOG, ParameterSet
from tests.api.client import Client
from tests.api.town import Town

T0_US = 1_780_000_000_000_000
NAME = "surge_threshold_nats"


@pytest.fixture
def asked(growing_town: Town) -> Client:
    """A client of a town where a threshold was set for the instance, then for the region, then for a cell."""
    for number, (value, region, cell) in enumerate((("20", "", ""), ("25", "nyc", ""), ("30", "nyc", "dr5reg"))):
        put(growing_town, NAME, value, number, region=region, cell=cell)
    return growing_town.client()


def put(town: Town, name: str, value: str, minute: int = 0, *, region: str = "nyc", cell: str = "") -> None:
    """Set a parameter at a minute."""
    at_us = T0_US + minute * 60_000_000
    set_parameter(town.ledger, name, value, lambda: at_us, region=region, cell=cell, author="test", reason=f"change {minute}")


@pytest.mark.parametrize(
    ("query", "value", "source"),
    [
        ("", "20.0", "instance"),
        ("?region=nyc", "25.0", "region"),
        ("?region=nyc&cell=DR5REG", "30.0", "cell"),
        ("?region=nyc&cell=dr5ru7", "25.0", "region"),
        ("?at=2026-05-28T20:26:39Z", "8.0", "default"),
        ("?region=nyc&at=2026-05-28T20:26:40Z", "20.0", "instance"),
        ("?region=nyc&at=0", "8.0", "default"),
    ],
)
def test_a_value_for_whoever_asks(asked: Client, query: str, value: str, source: str) -> None:
    """The narrowest scope decides, now and at a past time or size of the control log."""
    found = asked.get(f"/v1/params/{NAME}{query}").json()
    assert (value, source, "8.0", "0.5 to 40", "nats") == tuple(found[name] for name in ("value", "source", "default", "bounds", "unit"))
    assert found["value"] == next(row for row in asked.get(f"/v1/params{query}").json()["parameters"] if row["parameter"] == NAME)["value"]


def test_every_change_with_its_author(asked: Client, growing_town: Town) -> None:
    """The history has what the log has, and an entry of the log is shown whole."""
    changes = asked.get(f"/v1/params/{NAME}/history").json()["changes"]
    shown = [(change["value"], change["region"], change["cell"]) for change in changes]
    assert [("20.0", None, None), ("25.0", "nyc", None), ("30.0", "nyc", "dr5reg")] == shown
    recorded = list(growing_town.ledger.scan(CONTROL_LOG, kind=ParameterSet))
    assert [one.index for one in recorded] == [change["index"] for change in changes]
    entry = asked.get(f"/v1/ledger/control/entries/{changes[0]['index']}").json()
    assert ([], "change 0", T0_US) == (entry["redacted"], entry["record"]["reason"], entry["record"]["set_at_us"])


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/v1/params/none", 404, "name"),
        ("/v1/params?region=atlantis", 404, "region"),
        ("/v1/params?cell=dr5reg", 422, "cell"),
        ("/v1/params?region=nyc&cell=dr5r", 422, "cell"),
        ("/v1/params?at=99999", 422, "at"),
        ("/v1/params?at=soon", 422, "at"),
    ],
)
def test_what_cannot_be_asked(asked: Client, path: str, status: int, field: str) -> None:
    """The problem names the parameter of the request."""
    found = asked.get(path)
    assert (status, field) == (found.status_code, found.json()["field"])


def test_nothing_is_written_through_the_api(asked: Client) -> None:
    """The API has no way to change a parameter."""
    assert 405 == asked.send("PUT", f"/v1/params/{NAME}").status_code


def test_readiness_follows_its_parameter(growing_town: Town) -> None:
    """The region's value comes before the setting's from the next request on, and the sentence has its number."""
    growing_town.now_s += 20 * 300
    client = growing_town.client()
    assert "more than 12 slot lengths in nyc" in client.get("/v1/ready").json()["detail"]
    put(growing_town, "unready_after_slots", "100")
    assert 200 == client.get("/v1/ready").status_code
    put(growing_town, "unready_after_slots", "2")
    assert "more than 2 slot lengths in nyc" in client.get("/v1/ready").json()["detail"]
