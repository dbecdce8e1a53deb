"""Forecasts are the ones that the ledger holds: newest from the store, past ones as issued, and nothing else."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from api.times import iso
from ledger.store.blobs import Retention
from ledger.views.online.memory import MemoryStore
from schemas.events.cells import cell_texts
from schemas.forecasts.chunks import encode_chunks, pack_blob
from schemas.records.record_codec import encode
from schemas.records.records import FALLBACKS
from tests.api.client import Client
from tests.api.town import MODEL, SLOT_S, START_SLOT, Town, status_of

PATH = "/v1/regions/nyc/forecasts"


def expected_rows(town: Town, slot: int) -> dict[str, dict[int, tuple[float, ...]]]:
    """Cell text -> horizon -> (mean, median, lower, upper, baseline), from the columns that were recorded."""
    columns = town.columns(slot)
    names = ("mean", "median", "lower", "upper", "baseline")
    return {
        cell: {h: tuple(int(getattr(columns, name)[row, at]) / 1000 for name in names) for at, h in enumerate(columns.horizons_min)}
        for row, cell in enumerate(cell_texts(columns.cells, 6).tolist())
    }


def said_rows(body: dict[str, Any]) -> dict[str, dict[int, tuple[float, ...]]]:
    """The same, from an answer."""
    return {
        row["cell"]: {h["horizon_min"]: (h["mean"], h["median"], h["lower"], h["upper"], h["baseline"]) for h in row["horizons"]}
        for row in body["forecasts"]
    }


def test_newest_forecasts_of_all_cells(town: Town, client: Client) -> None:
    """Without parameters every cell comes with every horizon, and the answer says where it is from."""
    body = client.get(PATH).json()
    assert expected_rows(town, town.newest) == said_rows(body)
    entry = client.get(f"/v1/ledger/{body['log']}/entries/{body['index']}").json()
    assert ("ForecastIssued", town.newest, body["blob"]) == (entry["kind"], entry["slot"], entry["record"]["blob"])
    assert ("nyc", "pickups", town.newest, 60, False, []) == tuple(
        body[name] for name in ("region", "measure", "slot", "age_s", "stale", "without_forecast")
    )
    assert status_of(town.newest) == body["slot_status"]


def test_confidence_is_the_probability_of_a_count_near_the_median(town: Town, client: Client) -> None:
    """It is derived from the recorded mean and dispersion, for one cell as for all."""
    columns = town.columns(town.newest)
    rows = client.get(PATH).json()["forecasts"]
    for row in (0, 7, len(columns) - 1):
        for at, said in enumerate(rows[row]["horizons"]):
            mean, wide, median = (int(getattr(columns, name)[row, at]) / 1000 for name in ("mean", "dispersion", "median"))
            law = stats.nbinom(1 / wide, 1 / (1 + wide * mean)) if wide else stats.poisson(mean)
            near = max(1, int(median) // 4)
            expected = law.cdf(int(median) + near) - law.cdf(int(median) - near - 1)
            # Recalibration by the plain levels changes nothing.
            assert expected == pytest.approx(said["confidence"], abs=0.0006)
            alone = client.get(f"{PATH}?cell={rows[row]['cell']}").json()["forecasts"][0]["horizons"][at]
            assert said["confidence"] == alone["confidence"]


def test_every_cell_says_who_served_it_and_why(town: Town, client: Client) -> None:
    """A cell with a model names its digest; a quiet one names its fallback instead."""
    columns = town.columns(town.newest)
    rows = client.get(PATH).json()["forecasts"]
    assert [FALLBACKS[code].value for code in columns.fallback.tolist()] == [row["fallback"] for row in rows]
    assert {("none", MODEL.hex()), ("quiet", None)} == {(row["fallback"], row["model"]) for row in rows}
    assert all(row["why"] for row in rows)


def test_one_horizon_and_named_cells_in_their_order(town: Town, client: Client) -> None:
    """Cells come in the order of the query, each once, with only the horizon that was asked for."""
    first, second = cell_texts(town.cells[:2], 6).tolist()
    body = client.get(f"{PATH}?cell={second},{first},{second}&horizon_min=30").json()
    assert [second, first] == [row["cell"] for row in body["forecasts"]]
    expected = expected_rows(town, town.newest)
    assert {cell: {30: expected[cell][30]} for cell in (second, first)} == said_rows(body)
    stored = client.get(f"{PATH}?cell={second},{first},{second}&horizon_min=30&target={body['target']}").json()
    assert ("ledger", [second, first]) == (stored["source"], [row["cell"] for row in stored["forecasts"]])


def test_top_picks_the_largest_means(town: Town, client: Client) -> None:
    """The busiest cells come first, as many as asked for."""
    means = [row["horizons"][0]["mean"] for row in client.get(f"{PATH}?top=4&horizon_min=60").json()["forecasts"]]
    every = sorted((row[60][0] for row in expected_rows(town, town.newest).values()), reverse=True)
    assert every[:4] == means


def test_the_first_horizon_can_be_asked_for_alone(town: Town, client: Client) -> None:
    """Every single horizon comes alone when it is named, the first one too."""
    for horizon_min in town.region.horizons_min:
        rows = said_rows(client.get(f"{PATH}?horizon_min={horizon_min}").json())
        assert {cell: {horizon_min: row[horizon_min]} for cell, row in expected_rows(town, town.newest).items()} == rows


def test_top_sorts_by_the_horizon_that_is_asked_for(growing_town: Town) -> None:
    """Where the order of cells differs between horizons, each horizon has its own top, and without one the first decides."""
    columns = growing_town.columns(growing_town.newest)
    columns.mean[:, 2] = columns.mean[::-1, 0]  # the quietest first
    blob = growing_town.blobs.put(pack_blob(encode_chunks(columns)), Retention.FORECAST)
    issued = replace(growing_town._issued(growing_town.newest), blob=blob)
    growing_town.ledger.append("region/nyc", growing_town.ledger.head("region/nyc").size, [encode(issued)])
    growing_town.publish()
    client = growing_town.client()
    texts = cell_texts(columns.cells, 6).tolist()
    for query, column in (("&horizon_min=60", 2), ("&horizon_min=15", 0), ("", 0)):
        busiest = [texts[row] for row in np.argsort(-columns.mean[:, column], kind="stable")[:5]]
        for source in ("", "&known_at=2014-06-01T00:00"):  # from memory, and from the blob
            assert busiest == [row["cell"] for row in client.get(f"{PATH}?top=5{query}{source}").json()["forecasts"]]


def test_target_gives_what_its_slot_issued_and_may_be_kept(town: Town, client: Client) -> None:
    """A target without a zone is local, names the slot that ends there, and its answer never changes."""
    slot = START_SLOT + 11  # ends at 01:00 local time
    for text in ("2014-05-06T01:00", "2014-05-06T05:00Z", "2014-05-06T07:00+02:00"):
        answer = client.get(f"{PATH}?target={text}")
        assert expected_rows(town, slot) == said_rows(answer.json())
        assert "immutable" in answer.headers["cache-control"]
    assert (answer.json()["target"], answer.json()["target_local"]) == ("2014-05-06T05:00:00Z", "2014-05-06T01:00:00-04:00")


@pytest.mark.parametrize(("seconds", "slot"), [(0, 19), (9, 19), (10, 20), (309, 20), (310, 21)])
def test_known_at_sees_an_issue_from_its_lateness_on(client: Client, seconds: int, slot: int) -> None:
    """An issue is visible from its slot's end plus the issue lateness, not a second earlier."""
    at_us = ((START_SLOT + 21) * SLOT_S + seconds) * 1_000_000
    assert START_SLOT + slot == client.get(f"{PATH}?known_at={iso(at_us)}").json()["slot"]


def test_known_at_beyond_the_log_is_not_kept(town: Town, client: Client) -> None:
    """What is known later than the newest slot can still change, so it must be asked again."""
    answer = client.get(f"{PATH}?known_at=2014-06-01T00:00")
    assert (town.newest, "no-cache") == (answer.json()["slot"], answer.headers["cache-control"])


def test_an_old_client_copy_is_confirmed_until_the_next_issue(growing_town: Town) -> None:
    """If-None-Match gives 304 without a body until a slot closes."""
    client = growing_town.client()
    etag = client.get(PATH).headers["etag"]
    held = client.get(PATH, if_none_match=f'"other", {etag}')
    assert (304, b"", etag) == (held.status_code, held.content, held.headers["etag"])
    growing_town.close()
    growing_town.publish()
    changed = client.get(PATH, if_none_match=etag)
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag


def test_data_grows_stale_with_the_clock(growing_town: Town) -> None:
    """Freshness is judged when it is read, and a stale answer is another answer."""
    client = growing_town.client()
    fresh = client.get(PATH)
    growing_town.now_s += 15 * 60
    stale = client.get(PATH, if_none_match=fresh.headers["etag"])
    assert (stale.status_code, stale.json()["age_s"], stale.json()["stale"]) == (200, 960, True)
    known = client.get(f"{PATH}?known_at=2014-06-01T00:00").json()
    assert (True, "stale") == (known["stale"], known["freshness"])
    assert (False, None) == tuple(client.get(f"{PATH}?target=2014-05-06T00:05").json()[name] for name in ("stale", "freshness"))


def test_an_empty_store_is_no_reason_to_be_silent(growing_town: Town) -> None:
    """Before the online store is filled the ledger answers."""
    held = growing_town.client().get(PATH).json()
    growing_town.store = MemoryStore()
    answer = growing_town.client().get(PATH)
    assert held | {"source": "ledger"} == answer.json()
    assert "ledger" == answer.headers["ridecast-source"]


QUERIES = ("", "horizon_min=15", "horizon_min=60", "top=7", "top=7&horizon_min=30", "cell=dr5reg", "cell=dr5reg,u4pruy&horizon_min=60")


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_prepared_answers_are_those_of_the_simple_way(client: Client, query: str, encoding: str) -> None:
    """What is held ready for the newest issue equals what `forecast_rows` makes of the same issue, byte for byte."""
    fast = client.get(f"{PATH}?{query}", accept_encoding=encoding)
    slow = client.get(f"{PATH}?{query}&known_at=2014-06-01T00:00", accept_encoding=encoding)
    age_s = slow.json()["age_s"]
    expected = slow.content.replace(b'"age_s":%d,' % age_s, b'"age_s":60,').replace(b'"source":"ledger"', b'"source":"online_store"')
    assert expected == fast.content
    assert fast.headers["vary"] == slow.headers["vary"] == "Accept-Encoding"


def test_the_age_of_a_prepared_answer_is_that_of_its_request(growing_town: Town) -> None:
    """The same bytes are sent until a second has passed, then they say the new age, compressed or not."""
    client = growing_town.client()
    for encoding in ("gzip", "identity"):
        before = client.get(PATH, accept_encoding=encoding).json()
        growing_town.now_s += 1
        assert before | {"age_s": before["age_s"] + 1} == client.get(PATH, accept_encoding=encoding).json()


BUSY = "dr5reg"
REFUSALS = [
    ("/v1/regions/oslo/forecasts", 404, "unknown-region", "region"),
    (f"{PATH}?cell=u4pruy", 404, "cell-without-forecast", "cell"),
    (f"{PATH}?cell=dr5", 422, "bad-value", "cell"),
    (f"{PATH}?cell=dr5rea", 422, "bad-value", "cell"),
    (f"{PATH}?cell=", 422, "bad-value", "cell"),
    (f"{PATH}?cell={','.join([BUSY] * 1001)}", 422, "bad-value", "cell"),
    (f"{PATH}?horizon_min=20", 422, "bad-value", "horizon_min"),
    (f"{PATH}?measure=requests", 422, "bad-value", "measure"),
    (f"{PATH}?top=0", 422, "bad-value", "top"),
    (f"{PATH}?top=5&cell={BUSY}", 422, "bad-value", "top"),
    (f"{PATH}?target=yesterday", 422, "bad-value", "target"),
    (f"{PATH}?target=2014-05-06T01:01", 422, "bad-value", "target"),
    (f"{PATH}?target=1914-05-06T01:00", 422, "bad-value", "target"),
    (f"{PATH}?target=2014-11-02T01:30", 422, "bad-value", "target"),
    (f"{PATH}?target=2014-03-09T02:30", 422, "bad-value", "target"),
    (f"{PATH}?target=2014-05-06T00:00", 404, "before-start", "target"),
    (f"{PATH}?target=2014-05-06T03:25", 409, "not-available-yet", "target"),
    (f"{PATH}?target=2014-05-06T01:00&known_at=2014-05-06T01:00:09", 409, "not-available-yet", "known_at"),
    (f"{PATH}?known_at=2014-05-06T00:05:09", 404, "before-start", "known_at"),
    (f"{PATH}?cells={BUSY}", 422, "unknown-parameter", "cells"),
    (f"{PATH}?cell={BUSY}&cell={BUSY}", 422, "repeated-parameter", "cell"),
]


@pytest.mark.parametrize(("path", "status", "name", "field"), REFUSALS)
def test_a_refusal_names_its_field(client: Client, path: str, status: int, name: str, field: str) -> None:
    """Every bad or unanswerable query gets a problem document that names the parameter to blame."""
    answer = client.get(path)
    body = answer.json()
    assert (status, "application/problem+json") == (answer.status_code, answer.headers["content-type"])
    assert (f"urn:ridecast:problem:{name}", status, field) == (body["type"], body["status"], body["field"])
    assert field in body["detail"]


def test_cells_without_forecast_are_named_beside_the_others(client: Client) -> None:
    """One unknown cell among known ones does not spoil the answer."""
    body = client.get(f"{PATH}?cell=u4pruy,{BUSY}").json()
    assert ([row["cell"] for row in body["forecasts"]], body["without_forecast"]) == ([BUSY], ["u4pruy"])


def test_a_region_before_its_bootstrap_conflicts(town: Town) -> None:
    """A configured region without history is 409 and says which command helps; it is listed all the same."""
    client = town.client(("nyc", "tehran"))
    answer = client.get("/v1/regions/tehran/forecasts")
    assert (answer.status_code, answer.json()["field"]) == (409, "region")
    assert "ridecast bootstrap --region tehran" in answer.json()["detail"]
    listed = client.get("/v1/regions").json()["regions"]
    assert {region["region"]: region["status"] for region in listed} == {"nyc": "serving", "tehran": "not_bootstrapped"}
