"""What is served as newest is always an issue of this ledger's log, whatever the online store holds."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from api.context import ApiContext
from ledger.views.online.memory import MemoryStore
from ledger.views.online.protocol import StoredIssue
from schemas.configuration.settings import Settings
from schemas.errors import StoreUnavailable
from schemas.forecasts.chunks import encode_chunks, pack_blob
from schemas.records.record_codec import encode
from tests.api.town import Town, build_town

PATH = "/v1/regions/nyc/forecasts"


def context_of(town: Town, store: MemoryStore | None) -> ApiContext:
    """A context over the town's ledger and this store."""
    return ApiContext(town.ledger, town.blobs, store, ("nyc",), Settings.from_env({}), lambda: town.now_s)


def test_a_store_filled_from_another_ledger_is_passed_over(
    growing_town: Town, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """A store of an older home, whose indexes the log does not have, is never served; the log says once that it is foreign."""
    other = build_town(tmp_path_factory.mktemp("other"), slots=30, seed=2)
    growing_town.store = other.store
    client = growing_town.client()
    size = growing_town.ledger.head("region/nyc").size
    assert other.store.newest("nyc", "pickups")[1] > size
    with caplog.at_level(logging.WARNING):
        answers = [client.get(PATH) for _ in range(4)]
    for answer in answers:
        assert (200, "ledger", "ledger") == (answer.status_code, answer.json()["source"], answer.headers["ridecast-source"])
        assert answer.json()["index"] < size
        assert growing_town._issued(growing_town.newest).blob.hex() == answer.json()["blob"]
    assert 1 == sum("filled from another ledger" in record.getMessage() for record in caplog.records)
    other.blobs.close()
    other.ledger.close()


def test_another_entry_at_the_same_index_is_passed_over(growing_town: Town) -> None:
    """An index that the log has proves nothing: entry and chunks must be the log's own."""
    place = growing_town.store.newest("nyc", "pickups")[1]
    columns = growing_town.columns(growing_town.newest)
    columns.mean[:] += 1_000
    blob = pack_blob(encode_chunks(columns))
    issued = growing_town._issued(growing_town.newest)
    entry = encode(replace(issued, online_weight_milli=999))
    for issue in (
        StoredIssue(place, entry, growing_town.blobs.get(issued.blob)),
        StoredIssue(place, growing_town.ledger.read("region/nyc", place, place + 1)[0].payload, blob),
    ):
        growing_town.store = MemoryStore()
        growing_town.store.put(issue)
        held = growing_town.client().get(PATH).json()
        assert ("ledger", growing_town.columns(growing_town.newest).mean[0, 0] / 1000) == (
            held["source"],
            held["forecasts"][0]["horizons"][0]["mean"],
        )


def test_the_store_catches_up(growing_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store is away or behind the ledger serves; when it has the issue again, answers come from it."""
    context = context_of(growing_town, growing_town.store)

    def source() -> str:
        context.refresh("nyc")
        held = context.newest.held("nyc", "pickups")
        assert held is not None
        return held.source.value

    def refuse(*_: object) -> None:
        raise StoreUnavailable("gone")

    assert "online_store" == source()
    with monkeypatch.context() as patch:
        patch.setattr(MemoryStore, "newest", refuse)
        assert "ledger" == source()
    assert "online_store" == source()
    growing_town.close()
    assert "ledger" == source()
    growing_town.publish()
    assert "online_store" == source()


def test_an_issue_is_prepared_once(growing_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refresh without a new issue reads no blob and makes no bytes."""
    context = context_of(growing_town, None)
    context.refresh("nyc")
    before = context.newest.held("nyc", "pickups")
    monkeypatch.setattr(type(growing_town.blobs), "get", lambda *_: pytest.fail("a blob was read"))
    context.refresh("nyc")
    assert before is context.newest.held("nyc", "pickups")


def test_without_a_store_answers_are_not_called_a_fallback(growing_town: Town) -> None:
    """An embedded home has no online store: the ledger is its source, and no header says otherwise."""
    growing_town.store = None  # type: ignore[assignment]  # as in an embedded process
    answer = growing_town.client().get(PATH)
    assert ("ledger", None) == (answer.json()["source"], answer.headers.get("ridecast-source"))


def test_a_log_that_was_rolled_back_takes_its_issue_along(tmp_path: Path) -> None:
    """When a region has no issue any more, nothing is served in its place."""
    town = build_town(tmp_path, slots=2)
    context = context_of(town, town.store)
    context.refresh("nyc")
    context.newest.forget("nyc")
    assert context.newest.held("nyc", "pickups") is None
    town.blobs.close()
    town.ledger.close()
