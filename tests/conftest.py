"""What every test may ask for; `tests/services/fixtures.py` says what each server fixture is."""

import os
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tests.api.fixtures import client, growing_town, town
from tests.faults.seen import seen
from tests.order import needs_server, shuffled
from tests.services.fixtures import (
    alertmanager_server,
    kafka,
    kafka_secured,
    kafka_server,
    kafka_topic,
    postgres_secured,
    postgres_server,
    postgres_url,
    redis_secured,
    redis_server,
    redis_url,
    session_kafka,
    session_kafka_secured,
    session_postgres,
    session_redis,
)
from tests.simulation.fixtures import settled
from tests.simulation.homes import finished, learned, written
from tests.workers import (
    pytest_configure_node,
    pytest_runtest_protocol,
    pytest_sessionfinish,
    pytest_sessionstart,
    pytest_unconfigure,
)

__all__ = [
    "client",
    "finished",
    "growing_town",
    "alertmanager_server",
    "kafka",
    "kafka_secured",
    "kafka_server",
    "kafka_topic",
    "learned",
    "postgres_secured",
    "postgres_server",
    "postgres_url",
    "pytest_configure_node",
    "pytest_runtest_protocol",
    "pytest_sessionfinish",
    "pytest_sessionstart",
    "pytest_unconfigure",
    "redis_secured",
    "redis_server",
    "redis_url",
    "seen",
    "session_kafka",
    "session_kafka_secured",
    "session_postgres",
    "session_redis",
    "settled",
    "shared",
    "town",
    "written",
]


# An example that takes long is no failure, since the machine may be busy; a failure prints what repeats it. Under CI
# Hypothesis starts from its own profile, where the same commit draws the same examples.
settings.register_profile("ridecast", settings(deadline=None, print_blob=True))
# Whether a mutant is noticed, not what is the smallest example: the same examples every time, none made smaller.
settings.register_profile("mutants", settings(deadline=None, derandomize=True, database=None, phases=(Phase.explicit, Phase.generate)))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ridecast"))

SHRINKING_S = 300  # how long Hypothesis looks for a smaller example; the time of a test (pyproject.toml) alone would cut it off unseen


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--shuffle SEED`: run the tests in random order."""
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run modules, and the tests of each, shuffled by SEED")


def pytest_report_header(config: pytest.Config) -> str | None:
    """Print the seed, so that a failing order can be repeated."""
    seed = config.getoption("shuffle")
    return None if seed is None else f"shuffled: --shuffle {seed} gives this order again"


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs a server, give properties time to shrink, and shuffle if asked; pytest then groups by parametrized fixtures."""
    for item in items:
        if item.get_closest_marker("hypothesis") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(2 * SHRINKING_S))
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
