"""Any entry can be had with the exact bytes that are hashed."""

import base64
import hashlib

import pytest

from schemas.records.record_codec import decode
from schemas.records.records import ForecastIssued
from tests.api.client import Client
from tests.api.town import Town


def test_an_entry_carries_its_exact_bytes(town: Town, client: Client) -> None:
    """The payload decodes to the record, and hashes to the leaf of RFC 6962."""
    answer = client.get("/v1/ledger/region/nyc/entries/3")
    body = answer.json()
    payload = base64.b64decode(body["payload"])
    assert town.ledger.read("region/nyc", 3, 4)[0].payload == payload
    assert hashlib.sha256(b"\0" + payload).hexdigest() == body["leaf_hash"]
    assert isinstance(decode(payload), ForecastIssued)
    assert ("ForecastIssued", "pickups", body["record"]["slot"]) == (body["kind"], body["subject"], body["slot"])
    assert "immutable" in answer.headers["cache-control"]
    assert client.get("/v1/ledger/region/nyc/entries/3", if_none_match=answer.headers["etag"]).status_code == 304


def test_logs_are_listed_with_their_heads(town: Town, client: Client) -> None:
    """Size and root are the ledger's own."""
    logs = {log["log"]: (log["size"], log["root"]) for log in client.get("/v1/ledger").json()["logs"]}
    assert {name: (head.size, head.root.hex()) for name in town.ledger.logs() if (head := town.ledger.head(name))} == logs


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/v1/ledger/region/oslo/entries/0", 404, "log"),
        ("/v1/ledger/../../etc/passwd%2f/entries/0", 404, None),
        ("/v1/ledger/..%2f..%2fcontrol/entries/0", 404, "log"),
        ("/v1/ledger/control/entries/2", 404, "index"),
        ("/v1/ledger/control/entries/-1", 422, "index"),
        ("/v1/ledger/control/entries/first", 422, "index"),
        ("/v1/ledger/control/entries/99999999999999999999", 422, "index"),
    ],
)
def test_what_is_not_there_is_named(client: Client, path: str, status: int, field: str | None) -> None:
    """An unknown log, a place beyond the end and a bad number each say so; a path cannot leave the ledger."""
    answer = client.get(path)
    assert (status, field) == (answer.status_code, answer.json().get("field"))
