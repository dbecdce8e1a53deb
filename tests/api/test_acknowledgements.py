"""The one operation that writes: off by default, checked by its documented schema, durable before it answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.app import create_app
from api.json_body import LARGEST_BODY_BYTES
from ledger.store.spool import Spool, read_segment, segment_paths
from ledger.store.spool_append import SpoolAppender
from ledger.views.online.memory import MemoryStore
from schemas.configuration.settings import Settings
from schemas.records.record_codec import decode
from schemas.records.records import ALERTS_LOG, Acknowledged
from tests.api.client import Client
from tests.api.json_schema import problems
from tests.api.town import Town
from tests.ledger.places import Place

PATH = "/v1/acknowledgements"
GOOD = b'{"log":"region/nyc","index":2,"outcome":"seen"}'


def client_of(town: Town, folder: Path, writes: str = "on", largest_bytes: int = 1 << 20) -> Client:
    """The town's API with a spool."""
    settings = Settings.from_env({"RIDECAST_API_WRITES": writes})
    spool = Spool(folder, b"writer of a test", largest_bytes)
    return Client(create_app(town.ledger, town.blobs, MemoryStore(), ["nyc"], settings, lambda: 50.0, spool=spool))


@pytest.fixture
def writing(town: Town, tmp_path: Path) -> Iterator[Client]:
    """Where clients may write; the ledger of the town stays as it is."""
    before = {log: town.ledger.head(log) for log in town.ledger.logs()}
    yield client_of(town, tmp_path / "spool")
    assert before == {log: town.ledger.head(log) for log in town.ledger.logs()}


def test_an_acknowledgement_reaches_the_log_of_alerts(writing: Client, tmp_path: Path) -> None:
    """What was answered with 202 is in the spool, and the process with the key appends it."""
    answer = writing.post(PATH, GOOD)
    assert (202, {"log": "region/nyc", "index": 2, "outcome": "seen", "spooled": 0}) == (answer.status_code, answer.json())
    assert "no-store" == answer.headers["cache-control"]
    place = Place(tmp_path / "home")
    ledger = place.open()
    SpoolAppender(ledger, tmp_path / "spool").step()
    expected = Acknowledged(log="region/nyc", index=2, outcome="seen", subject="anonymous", acknowledged_at_us=50_000_000)
    assert [expected] == list(ledger.records(ALERTS_LOG, Acknowledged))
    place.close()


@pytest.mark.parametrize("body", [GOOD, b"{}", b"x" * 100_000])
def test_strangers_write_nothing_by_default(town: Town, tmp_path: Path, body: bytes) -> None:
    """Unless the setting is on a write is refused, whatever it says, and nothing is kept of it."""
    answer = client_of(town, tmp_path / "spool", writes="off").post(PATH, body)
    assert (403, "urn:ridecast:problem:read-only") == (answer.status_code, answer.json()["type"])
    assert [] == segment_paths(tmp_path / "spool")
    assert "off" == Settings.from_env({}).api_writes


REFUSED = [
    (b"", "application/json", 400, "body"),
    (b"{'log':1}", "application/json", 400, "body"),
    (b'{"log":"region/nyc","index":NaN,"outcome":"seen"}', "application/json", 400, "body"),
    (b'{"log":"region/nyc","index":1,"index":2,"outcome":"seen"}', "application/json", 400, "body"),
    (b"\xff", "application/json", 400, "body"),
    (b"[" * 16_000, "application/json", 400, "body"),
    (b" " * (LARGEST_BODY_BYTES + 1), "application/json", 413, "body"),
    (GOOD, "text/plain", 415, "Content-Type"),
    (GOOD, "", 415, "Content-Type"),
    (b"[]", "application/json", 422, "body"),
    (b'{"log":"region/nyc","outcome":"seen"}', "application/json", 422, "index"),
    (b'{"log":"region/nyc","index":-1,"outcome":"seen"}', "application/json", 422, "index"),
    (b'{"log":"region/nyc","index":100000000,"outcome":"seen"}', "application/json", 422, "index"),
    (b'{"log":"region/oslo","index":1,"outcome":"seen"}', "application/json", 422, "log"),
    (b'{"log":"region/nyc","index":1,"outcome":"call Ali"}', "application/json", 422, "outcome"),
    (b'{"log":"region/nyc","index":1,"outcome":"seen","note":"x"}', "application/json; charset=utf-8", 422, "note"),
]


@pytest.mark.parametrize(("body", "media_type", "status", "field"), REFUSED)
def test_what_does_not_fit_is_refused(writing: Client, tmp_path: Path, body: bytes, media_type: str, status: int, field: str) -> None:
    """Each refusal is a problem document that names the field, and nothing is spooled."""
    answer = writing.post(PATH, body, content_type=media_type)
    assert (status, field) == (answer.status_code, answer.json()["field"])
    assert "application/problem+json" == answer.headers["content-type"]
    assert [] == segment_paths(tmp_path / "spool")


def test_a_full_spool_is_told(town: Town, tmp_path: Path) -> None:
    """When nobody appends and the spool is full, the client is told to come back, and what was there stays."""
    client = client_of(town, tmp_path / "spool", largest_bytes=200)
    assert 202 == client.post(PATH, GOOD).status_code
    for _ in range(2):
        full = client.post(PATH, GOOD)
    assert (503, "urn:ridecast:problem:spool-full", "60") == (full.status_code, full.json()["type"], full.headers["retry-after"])
    records = [decode(payload) for path in segment_paths(tmp_path / "spool") for payload in read_segment(path).payloads]
    assert 1 <= len(records) <= 2


def test_the_document_shows_the_body_that_is_checked(writing: Client) -> None:
    """The document has the operation with its body and its answer; a body that fits the shown schema is taken."""
    document = writing.get("/openapi.json").json()
    shown = document["paths"][PATH]["post"]
    assert shown["requestBody"]["required"]
    schema = shown["requestBody"]["content"]["application/json"]["schema"]
    assert [] == problems(schema, {"log": "region/nyc", "index": 2, "outcome": "seen"})
    assert ["seen", "handled", "false_alarm"] == schema["properties"]["outcome"]["enum"]
    answer = writing.post(PATH, GOOD)
    assert [] == problems(document["components"]["schemas"]["acknowledge"], answer.json())
    assert "202" in shown["responses"]
    assert "304" not in shown["responses"]


def test_it_is_not_read(writing: Client) -> None:
    """Other methods are refused by name."""
    answer = writing.get(PATH)
    assert (405, "expected POST, got GET") == (answer.status_code, answer.json()["detail"])
