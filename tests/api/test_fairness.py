"""Fairness over the API: the recent past of a region by the classes of its areas, bounded and kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import api.fairness
import state.detect.fairness
from ledger.views.settled import settled_issues
from schemas.configuration.areas import Area, Areas, areas_path
from schemas.events.cells import cell_texts
from schemas.forecasts.settled import SettledIssue
from tests.api.client import Client
from tests.api.town import START_SLOT, Town, status_of

PATH = "/v1/regions/nyc/fairness"
ISSUES = 12  # of 40 closed slots the last four are in a new hour, and one hour each waits for its windows and to settle


@pytest.fixture
def home(town: Town, tmp_path: Path) -> Path:
    """A home whose areas file divides the town in two halves."""
    texts = cell_texts(town.cells, 6).tolist()
    west, east = texts[: len(texts) // 2], texts[len(texts) // 2 :]
    parts = [Area(name, tuple(cells), (), (("side", name),)) for name, cells in (("west", west), ("east", east))]
    path = areas_path(tmp_path, "nyc")
    path.parent.mkdir()
    path.write_text(Areas("nyc", 6, tuple(parts)).to_json(), "utf-8")
    return tmp_path


def test_without_areas_all_cells_are_one_class(town: Town, client: Client) -> None:
    """The rides and the bias of all cells are those of the closed slots, over windows that were observed as a whole."""
    body = client.get(PATH).json()
    assert (ISSUES, "There are no classes to compare.", []) == (body["issues"], body["sentence"][:32], body["gaps"])
    for i, row in enumerate(body["classes"]):
        rides = means = 0
        for slot in range(START_SLOT, START_SLOT + ISSUES):
            window = range(slot + 1, slot + 1 + town.region.horizons[i])
            if all(status_of(one) == "observed" for one in window):
                rides += sum(town.rides(one, number) for one in window for number in range(len(town.cells)))
                means += int(town.columns(slot).mean[:, i].sum())
        assert (None, "all cells", town.region.horizons_min[i], rides) == tuple(
            row[name] for name in ("attribute", "class", "horizon_min", "rides")
        )
        if rides:
            assert means / 1000 / rides - 1 == pytest.approx(row["bias"]["value"], abs=1e-6)


def test_classes_of_the_areas_file_are_compared(town: Town, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each class has its rows, together they have all rides, and gaps appear where there is enough data."""
    monkeypatch.setattr(state.detect.fairness, "LEAST_DAYS", 1)
    monkeypatch.setattr(state.detect.fairness, "LEAST_RIDES", 1)
    body = town.client(home=str(home)).get(PATH).json()
    rides = {(row["class"], row["horizon_min"]): row["rides"] for row in body["classes"]}
    assert rides["west", 15] + rides["east", 15] == rides["all cells", 15] > 0
    assert {"bias", "under", "wape", "coverage", "fallback"} == {gap["measure"] for gap in body["gaps"]}
    assert body["sentence"].startswith("Worst gap: ")


def test_an_answer_is_kept_until_the_data_or_the_file_changes(town: Town, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked again nothing is read; the ETag confirms it, and another file of areas is another answer."""
    reads: list[int] = []

    def read(*args: Any, step: int) -> Iterator[SettledIssue]:
        reads.append(1)
        return settled_issues(*args, step=step)

    monkeypatch.setattr(api.fairness, "settled_issues", read)
    client = town.client(home=str(home))
    first = client.get(PATH)
    assert first.json() == client.get(PATH).json()
    assert 304 == client.get(PATH, if_none_match=first.headers["etag"]).status_code
    assert [1] == reads
    areas_path(home, "nyc").unlink()
    changed = client.get(PATH, if_none_match=first.headers["etag"])
    assert (200, 3) == (changed.status_code, len(changed.json()["classes"]))
    assert [1, 1] == reads


def test_the_work_is_bounded(town: Town, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many slots there are, at most so many issues are read, spread over the whole time."""
    monkeypatch.setattr(api.fairness, "MOST_ISSUES", 4)
    body = town.client().get(PATH).json()
    assert (4, "2014-05-06T04:05:00Z", "2014-05-06T04:50:00Z") == (body["issues"], body["from"], body["until"])


def test_an_areas_file_that_is_wrong_is_a_problem_of_the_server(town: Town, home: Path) -> None:
    """The answer is 409 with what is wrong in the file."""
    areas_path(home, "nyc").write_text("{}", "utf-8")
    answer = town.client(home=str(home)).get(PATH)
    assert 409 == answer.status_code
    assert "missing field 'region'" in answer.json()["detail"]


def test_a_young_region_has_no_issues_yet(growing_town: Town) -> None:
    """Before the first window has settled the answer is whole and empty."""
    body = growing_town.client().get(PATH).json()
    assert (0, None, None) == (body["issues"], body["from"], body["until"])
    assert [0, 0, 0] == [row["rides"] for row in body["classes"]]


@pytest.mark.parametrize(("path", "status"), [("/v1/regions/oslo/fairness", 404), (PATH + "?measure=taxis", 422), (PATH + "?days=3", 422)])
def test_other_questions_are_refused(client: Client, path: str, status: int) -> None:
    """An unknown region, measure or parameter is refused as everywhere."""
    assert status == client.get(path).status_code
