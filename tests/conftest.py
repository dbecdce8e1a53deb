"""What every test may ask for; `tests/services/fixtures.py` says what each server fixture is."""

import os
from pathlib import Path

import pytest

from tests.api.fixtures import client, growing_town, town
from tests.services.fixtures import (
    kafka,
    kafka_server,
    kafka_topic,
    postgres_server,
    postgres_url,
    redis_server,
    redis_url,
    session_kafka,
    session_postgres,
    session_redis,
)
from tests.simulation.fixtures import settled
from tests.simulation.homes import finished, learned, written

__all__ = [
    "client",
    "finished",
    "growing_town",
    "kafka",
    "kafka_server",
    "kafka_topic",
    "learned",
    "postgres_server",
    "postgres_url",
    "redis_server",
    "redis_url",
    "session_kafka",
    "session_postgres",
    "session_redis",
    "settled",
    "shared",
    "town",
    "written",
]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Directory of data and vectors that several projects share: RIDECAST_SHARED, or `shared` beside the checkout.

    A test that asks for it is skipped where it is absent, and fails there if CI is set.
    """
    folder = Path(os.environ.get("RIDECAST_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    if not folder.is_dir():
        said = f"{folder} is missing: put the shared folder there or set RIDECAST_SHARED"
        if os.environ.get("CI"):
            pytest.fail(said, pytrace=False)
        pytest.skip(f"{said}; with CI set this fails")  # the one test in the tree that may be skipped: the data is not in the tree
    return folder
