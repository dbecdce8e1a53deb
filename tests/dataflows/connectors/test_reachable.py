"""Servers are checked once, before a run starts."""

from pathlib import Path

import pytest

from dataflows.connectors.reachable import check_servers
from schemas.configuration.settings import Settings
from schemas.errors import StoreUnavailable


def test_servers_that_answer_are_fine(redis_url: str, kafka: str) -> None:
    """A running Redis and broker pass; without servers nothing is checked."""
    assert check_servers(Settings.from_env({"RIDECAST_REDIS": redis_url, "RIDECAST_KAFKA": kafka})) is None  # type: ignore[func-returns-value]
    assert check_servers(Settings.from_env({})) is None  # type: ignore[func-returns-value]


def test_a_missing_socket_is_named(tmp_path: Path) -> None:
    """A Redis at a Unix socket is checked like any other."""
    address = f"unix://{tmp_path}/none.sock"
    with pytest.raises(StoreUnavailable, match=f"RIDECAST_REDIS: expected a server at {address}: .*No such file"):
        check_servers(Settings.from_env({"RIDECAST_REDIS": address}))
