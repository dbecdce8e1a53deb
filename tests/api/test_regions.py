"""A region says how far it has come, what became of its events, and how well it forecasts."""

import threading
from pathlib import Path

import pytest

from ledger.store.log import Head
from ledger.views.region_view import RegionView
from schemas.records.records import RegionBootstrapped
from tests.api.client import Client
from tests.api.town import SCORED_PER_SLOT, Town, build_town


def test_a_region_says_how_far_it_has_come(town: Town, client: Client) -> None:
    """Slot, local time, age and log size are those of the newest slot."""
    body = client.get("/v1/regions/nyc").json()
    assert ("serving", town.newest, 60, False) == tuple(body[name] for name in ("status", "slot", "age_s", "stale"))
    assert body["data_until_local"] == "2014-05-06T03:20:00-04:00"
    assert town.ledger.head("region/nyc").size == body["size"]


def test_what_became_of_the_events_adds_up(client: Client) -> None:
    """received = accepted + duplicate + rejected, over all partitions."""
    events = client.get("/v1/regions/nyc").json()["events"]
    assert events["received"] == events["accepted"] + events["duplicate"] + sum(events["rejected"].values())


def test_live_error_is_pooled_over_the_hours_asked_for(client: Client) -> None:
    """WAPE is the sum of errors over the sum of rides; one hour has twelve slots."""
    [first, *_] = client.get("/v1/regions/nyc?hours=1").json()["scores"]
    assert tuple(first[name] for name in ("measure", "horizon_min", "slots", "truth")) == ("pickups", 15, 12, 12 * SCORED_PER_SLOT)
    assert tuple(first[n] for n in ("wape_median", "baseline_wape_median", "baseline_rmse_mean", "covered")) == (0.4, 0.5, 2.0, 0.8)


def test_a_region_without_slots_waits(tmp_path: Path) -> None:
    """Bootstrapped but without a closed slot, a region is listed as waiting, and its forecasts conflict."""
    town = build_town(tmp_path, slots=0)
    client = town.client()
    assert tuple(client.get("/v1/regions").json()["regions"][0][name] for name in ("status", "age_s")) == ("waiting", None)
    for path in ("/v1/regions/nyc/forecasts", "/v1/regions/nyc/forecasts?target=2014-05-06T00:05", "/v1/regions/nyc/cells/dr5reg/track"):
        assert client.get(path).status_code == 409
    assert client.get("/v1/ready").status_code == 503
    town.ledger.close()


def test_two_that_look_at_once_fold_one_after_the_other(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size is read under the lock: a thread that was overtaken must not take the log for one that was set back."""
    [boot] = town.ledger.read("region/nyc", 0, kind=RegionBootstrapped, limit=1)
    view = RegionView(town.ledger, town.blobs, town.region, boot.record)
    head = town.ledger.head
    free: list[bool] = []

    def look(log: str) -> Head:
        other = threading.Thread(target=lambda: free.append(view._reading.acquire(blocking=False)))
        other.start()
        other.join()
        return head(log)

    monkeypatch.setattr(town.ledger, "head", look)
    assert view.refresh()
    assert [False] == free
    assert view.lock.acquire(timeout=0)  # Those that only read the totals do not wait for the store.
    view.lock.release()
