"""What every test may ask for; `tests/services/fixtures.py` says what each server fixture is."""

import os
from pathlib import Path

import pytest

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

__all__ = [
    "kafka",
    "kafka_server",
    "kafka_topic",
    "postgres_server",
    "postgres_url",
    "redis_server",
    "redis_url",
    "session_kafka",
    "session_postgres",
    "session_redis",
    "settled",
    "shared",
]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Directory of data and vectors that several projects share: RIDECAST_SHARED, or `shared` beside the checkout."""
    folder = Path(os.environ.get("RIDECAST_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    if not folder.is_dir():
        pytest.fail(f"{folder} is missing: put the shared folder there or set RIDECAST_SHARED", pytrace=False)
    return folder
