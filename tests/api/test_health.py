"""Live, health and ready are three answers: the process, its stores, its forecasts."""

import pytest

from ledger.store.log import Ledger
from ledger.views.online.memory import MemoryStore
from schemas.errors import StoreUnavailable
from tests.api.client import Client
from tests.api.town import Town


def test_health_asks_every_store(client: Client) -> None:
    """All three stores are asked and answer."""
    body = client.get("/v1/health").json()
    assert ("ok", {"ledger", "blobs", "online_store"}) == (body["status"], {check["name"] for check in body["checks"]})


def test_a_store_that_does_not_answer_is_named(growing_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the online store the ledger answers and says so; without the ledger it is 503, with a time to try again."""
    client = growing_town.client()

    def refuse(*_: object) -> None:
        raise StoreUnavailable("redis://secret:6379 refuses")

    monkeypatch.setattr(MemoryStore, "newest", refuse)
    monkeypatch.setattr(MemoryStore, "get", refuse)
    health = client.get("/v1/health")
    assert (200, "degraded") == (health.status_code, health.json()["status"])
    assert [True, True, False] == [check["ok"] for check in health.json()["checks"]]
    answer = client.get("/v1/regions/nyc/forecasts")
    assert (200, "ledger", "ledger") == (answer.status_code, answer.json()["source"], answer.headers["ridecast-source"])
    monkeypatch.setattr(Ledger, "head", refuse)
    health = client.get("/v1/health")
    assert (503, "5") == (health.status_code, health.headers["retry-after"])
    assert "ledger, online_store" in health.json()["detail"]
    answer = client.get("/v1/regions/nyc/forecasts")
    assert (503, "5") == (answer.status_code, answer.headers["retry-after"])
    assert "secret" not in answer.text


def test_ready_waits_for_every_region(town: Town) -> None:
    """One region without a forecast keeps the whole process from being ready."""
    assert town.client().get("/v1/ready").json()["status"] == "ready"
    answer = town.client(("nyc", "tehran")).get("/v1/ready")
    assert (answer.status_code, answer.json()["detail"]) == (503, "no forecast yet of tehran")
    assert town.client(()).get("/v1/ready").status_code == 503
