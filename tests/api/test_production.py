"""The same questions get the same answers from PostgreSQL and Redis as from files and memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from api.app import create_app
from ledger.store.blobs import open_blobs
from ledger.store.log import open_database
from ledger.views.online.follow_store import StoreFollower
from ledger.views.online.redis import RedisStore
from schemas.configuration.settings import Settings
from tests.api.client import Client
from tests.api.town import Town
from tests.ledger.exports import SIGNER

QUESTIONS = (
    "/v1/regions",
    "/v1/regions/nyc",
    "/v1/regions/nyc/forecasts",
    "/v1/regions/nyc/forecasts?cell=dr5reg",
    "/v1/regions/nyc/forecasts?target=2014-05-06T01:00",
    "/v1/regions/nyc/forecasts?cell=u4pruy",
    "/v1/regions/nyc/cells/dr5reg/history",
    "/v1/regions/nyc/cells/dr5reg/track",
    "/v1/models",
    "/v1/ledger",
    "/v1/ledger/region/nyc/entries/3",
    "/v1/ledger/region/nyc/consistency?from=7",
    "/v1/ready",
)
FILES = (
    "/v1/ledger/region/nyc/checkpoint",
    "/v1/ledger/region/nyc/tile/0/000.p/121",
    "/v1/ledger/region/nyc/tile/entries/000.p/121",
    "/v1/regions/nyc/forecasts/dr5reg/2014-05-06T01:00/15/proof",
)


@pytest.fixture
def served(town: Town, tmp_path: Path, postgres_url: str, redis_url: str) -> Iterator[Client]:
    """The town, copied entry by entry and blob by blob into real servers."""
    ledger = open_database(postgres_url, tmp_path / "checkpoints", instance="local", clock=lambda: 0.0, signer=SIGNER)
    blobs = open_blobs(tmp_path, postgres_url)
    for log in town.ledger.logs():
        ledger.append(log, 0, [stored.payload for stored in town.ledger.read(log, 0)])
    for digest in town.blobs.digests():
        blobs.put(town.blobs.get(digest), town.blobs.retention(digest))
    ledger.flush()
    connection = redis.Redis.from_url(redis_url)
    store = RedisStore(connection, "local")
    StoreFollower(ledger, blobs, store, ("nyc",)).step()
    app = create_app(ledger, blobs, store, ("nyc",), Settings.from_env({}), lambda: town.now_s)
    yield Client(app)
    connection.close()
    blobs.close()
    ledger.close()


def test_answers_do_not_depend_on_the_servers(client: Client, served: Client) -> None:
    """Every answer is equal, body, status and ETag."""
    for path in QUESTIONS:
        here, there = client.get(path), served.get(path)
        assert (here.status_code, here.json(), here.headers.get("etag")) == (there.status_code, there.json(), there.headers.get("etag"))
    assert served.get("/v1/health").json()["status"] == "ok"


def test_files_do_not_depend_on_the_servers(client: Client, served: Client) -> None:
    """Checkpoint, tiles and proofs are the same bytes."""
    for path in FILES:
        here, there = client.get(path), served.get(path)
        assert (200, here.content, here.headers) == (there.status_code, there.content, there.headers)
