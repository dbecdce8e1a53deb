"""A conditional request is decided before what it asks for is read: a 304 costs no entry, tile or proof."""

import pytest

from ledger.store.log import Ledger
from ledger.store.provers import Provers
from tests.api.test_proofs import path_of
from tests.api.town import START_SLOT, Town

LOG = "/v1/ledger/region/nyc"


@pytest.fixture
def paths(town: Town) -> list[str]:
    """What never changes, or only with the checkpoint."""
    return [
        f"{LOG}/entries/3",
        f"{LOG}/tile/0/000.p/5",
        f"{LOG}/tile/entries/000.p/5",
        f"{LOG}/consistency?from=2",
        f"{LOG}/consistency?from=2&to=5",
        path_of(town, START_SLOT),
    ]


def test_nothing_is_read_for_a_client_that_has_it(town: Town, paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the version that it was given a client gets 304 though nothing can be read; with another one the thing is read."""
    client = town.client()
    versions = {path: client.get(path).headers["etag"] for path in paths}

    def unread(*_: object, **__: object) -> object:
        raise AssertionError("read")

    monkeypatch.setattr("api.ledger_tiles.stored_tile", unread)
    monkeypatch.setattr("api.ledger_tiles.stored_nodes", unread)
    monkeypatch.setattr(Provers, "proof", unread)
    monkeypatch.setattr(Ledger, "read", unread)
    for path, version in versions.items():
        answer = client.get(path, if_none_match=version)
        assert (304, version) == (answer.status_code, answer.headers["etag"])
        assert 500 == client.get(path, if_none_match='W/"another"').status_code


def test_versions_follow_the_content(growing_town: Town) -> None:
    """The right edge has a new version when it grows, and what is full keeps its own."""
    town, client = growing_town, growing_town.client()
    size = town.ledger.head("region/nyc").size

    def versions() -> list[str]:
        return [
            client.get(f"{LOG}/{path}").headers["etag"]
            for path in ("tile/entries/000.p/5", "consistency?from=2&to=5", "consistency?from=2")
        ]

    before = versions()
    town.close()
    after = versions()
    assert before[:2] == after[:2]
    assert before[2] != after[2]
    first, second = (client.get(f"{LOG}/tile/entries/000.p/{width}").headers["etag"] for width in (size, size + 1))
    assert first != second
