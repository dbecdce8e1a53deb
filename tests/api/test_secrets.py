"""No answer of the API and no line of its log contains a secret, whatever a server or a library says."""

import logging

import pytest

from api.app import create_app
from ledger.store.limits import Limits
from ledger.views.online.connect import open_redis
from ledger.views.online.protocol import StoredCell
from ledger.views.online.redis import RedisStore
from schemas.configuration.settings import Settings
from schemas.errors import StoreUnavailable
from tests.api.client import Client
from tests.api.town import Town
from tests.services.process import free_port

ASKED = ("/v1/regions/nyc/forecasts?cell=dr5reg", "/v1/regions/nyc/forecasts", "/v1/ready", "/v1/health", "/metrics")
SECRET = "api-s3cr/et@x"


class Talkative(RedisStore):
    """A store that fails with an error that repeats its password, as a value and percent-encoded."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__(open_redis(f"redis://me:{SECRET}@127.0.0.1:1/0", Limits(2.0, 2.0)))
        self._error = error

    def cell(self, region: str, measure: str, cell: int) -> StoredCell | None:
        """Fail."""
        raise self._error(f"cannot use redis://me:{SECRET} or api-s3cr%2Fet%40x")


@pytest.mark.parametrize("error", [None, StoreUnavailable, ValueError])
def test_no_answer_has_a_secret(town: Town, caplog: pytest.LogCaptureFixture, error: type[Exception] | None) -> None:
    """With a Redis that is away, or that fails with its password in the message, answers and errors are clean."""
    caplog.set_level(logging.DEBUG)
    address = f"redis://me:{SECRET}@127.0.0.1:{free_port()}/0"
    settings = Settings.from_env({"RIDECAST_REDIS": address})
    store = RedisStore(open_redis(address, Limits(2.0, 2.0))) if error is None else Talkative(error)
    client = Client(create_app(town.ledger, town.blobs, store, ("nyc",), settings, lambda: town.now_s))
    answers = [client.get(path) for path in ASKED]
    assert {200, 503, 500} >= {answer.status_code for answer in answers}
    for answer in answers:
        assert "s3cr" not in answer.text
        assert "s3cr" not in str(answer.headers)
    if error is not ValueError:  # its traceback is cleaned where it is printed, see tests/ridecast/test_secrets.py
        assert "s3cr" not in caplog.text
