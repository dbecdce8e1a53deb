"""Errors of recent forecasts over the API: busy cells first, bounded, and kept for half an hour of slots."""

from collections.abc import Iterator
from typing import Any

import pytest

import ledger.views.recent
from ledger.views.settled import settled_issues
from schemas.forecasts.settled import SettledIssue
from tests.api.client import Client
from tests.api.town import Town

PATH = "/v1/regions/nyc/errors"


def test_bands_are_in_order_and_add_up(client: Client, town: Town) -> None:
    """Bands come from busy to all; their cells, windows and rides add up to those of all cells."""
    body = client.get(PATH).json()
    assert body["issues"] > 0
    bands = [row["band"] for row in body["bands"]]
    assert ("all", sorted(bands, key=("busy", "medium", "quiet", "all").index)) == (bands[-1], bands)
    for horizon_min in town.region.horizons_min:
        rows = [row for row in body["bands"] if row["horizon_min"] == horizon_min]
        for name in ("cells", "windows", "rides"):
            assert sum(row[name] for row in rows[:-1]) == rows[-1][name]


def test_an_answer_is_kept_and_bounded(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked again nothing is read; at most so many issues are."""
    reads: list[int] = []

    def read(*args: Any, step: int) -> Iterator[SettledIssue]:
        reads.append(1)
        return settled_issues(*args, step=step)

    monkeypatch.setattr(ledger.views.recent, "settled_issues", read)
    monkeypatch.setattr(ledger.views.recent, "MOST_ISSUES", 4)
    fresh = town.client()
    first = fresh.get(PATH)
    assert 0 < first.json()["issues"] <= 4
    assert first.json() == fresh.get(PATH).json()
    assert [1] == reads
    assert 304 == fresh.get(PATH, if_none_match=first.headers["etag"]).status_code


@pytest.mark.parametrize(("path", "status"), [("/v1/regions/oslo/errors", 404), (PATH + "?measure=taxis", 422), (PATH + "?days=3", 422)])
def test_what_cannot_be_answered(client: Client, path: str, status: int) -> None:
    """An unknown region, measure or parameter is refused."""
    assert status == client.get(path).status_code
