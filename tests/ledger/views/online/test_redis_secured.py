"""A Redis with TLS and rights: the store works with few, and what is missing is said."""

from pathlib import Path
from urllib.parse import quote

import pytest

from dataflows.connectors.reachable import check_servers
from ledger.store.limits import Limits
from ledger.views.online.connect import open_redis
from ledger.views.online.protocol import StoredIssue
from ledger.views.online.redis import RedisStore
from schemas.configuration.settings import Settings
from schemas.errors import ConfigError, StoreUnavailable
from tests.faults.seen import Seen
from tests.forecast_samples import FIRST_CELL, sample_blob, sample_columns, sample_entry
from tests.services.certificates import Authority
from tests.services.secure_redis import PASSWORD, READER, READER_PASSWORD, USER, SecureRedisServer


def address_of(server: SecureRedisServer, user: str = USER, password: str = PASSWORD, authority: Path | None = None) -> str:
    """The address of the server for a user."""
    return f"rediss://{user}:{quote(password, safe=':/@')}@{server.address}/0?ssl_ca_certs={authority or server.authority.certificate}"


def test_the_store_works_over_tls_with_few_rights(redis_secured: SecureRedisServer) -> None:
    """The publisher's user may write its own keys and the API's user may read them; the check at the start passes for both."""
    columns = sample_columns(seed=1)
    issue = StoredIssue(1, sample_entry(columns), sample_blob(columns))
    writer = RedisStore(open_redis(address_of(redis_secured), Limits(2.0, 2.0)))
    assert writer.put(issue)
    reader = RedisStore(open_redis(address_of(redis_secured, READER, READER_PASSWORD), Limits(2.0, 2.0)))
    reader.ping()
    assert issue == reader.get("nyc", "pickups")
    assert reader.cell("nyc", "pickups", FIRST_CELL) is not None
    for address in (address_of(redis_secured), address_of(redis_secured, READER, READER_PASSWORD)):
        check_servers(Settings.from_env({"RIDECAST_REDIS": address}))
    with pytest.raises(StoreUnavailable, match=r"no permissions|NOPERM"):
        reader.put(StoredIssue(2, issue.entry, issue.blob))


def test_what_keeps_a_client_out_is_said(redis_secured: SecureRedisServer, tmp_path: Path, seen: Seen) -> None:
    """A wrong password, an authority that is not trusted and a connection without TLS each have the cause in the error, and no password."""
    wrong = {
        address_of(redis_secured, password="not-the-password"): "invalid username-password pair",
        address_of(redis_secured, authority=Authority(tmp_path, "another").certificate): "certificate verify failed",
        address_of(redis_secured).replace("rediss", "redis").partition("?")[0]: "RIDECAST_REDIS",
    }
    for address, said in wrong.items():
        with pytest.raises(StoreUnavailable, match=said) as caught:
            check_servers(Settings.from_env({"RIDECAST_REDIS": address}))
        seen.told(caught.value, said)
        assert "not-the-password" not in str(caught.value)
        assert PASSWORD not in str(caught.value)


def test_a_misspelled_parameter_is_refused() -> None:
    """A parameter that the client does not know is an error of usage that shows the address without its password."""
    with pytest.raises(ConfigError, match=r"RIDECAST_REDIS: the client refuses rediss://me:\*\*\*@h:1/0\?ssl_ca_cert=\*\*\*"):
        open_redis("rediss://me:secret@h:1/0?ssl_ca_cert=x", Limits(2.0, 2.0))
