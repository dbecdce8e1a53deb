"""The town that the API's tests ask about; tests that close slots build their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.client import Client
from tests.api.town import Town, build_town


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """Forty closed slots; do not change it."""
    built = build_town(tmp_path_factory.mktemp("town"))
    yield built
    built.blobs.close()
    built.ledger.close()


@pytest.fixture(scope="session")
def client(town: Town) -> Client:
    """A client of the town's API."""
    return town.client()


@pytest.fixture
def growing_town(tmp_path: Path) -> Iterator[Town]:
    """Three closed slots; a test may close more."""
    built = build_town(tmp_path, slots=3)
    yield built
    built.blobs.close()
    built.ledger.close()
