"""What every test may ask for; `tests/services/fixtures.py` says what each server fixture is."""

import os
from pathlib import Path

import pytest

from tests.api.fixtures import client, growing_town, town
from tests.order import needs_server, shuffled
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


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--shuffle SEED`: an order of tests that the seed decides."""
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run modules, and the tests of each, in an order that SEED decides")


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say the seed, so that an order that fails can be run again."""
    seed = config.getoption("shuffle")
    return None if seed is None else f"shuffled: --shuffle {seed} gives this order again"


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs a server, and shuffle where it was asked for. pytest groups tests by their parametrized fixtures afterwards."""
    for item in items:
        if needs_server(item):
            item.add_marker("servers")
    seed = config.getoption("shuffle")
    if seed is not None:
        items[:] = shuffled(items, lambda item: item.nodeid.partition("::")[0], seed)


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
