"""A challenger is promoted by itself only if it is fair: the learner compares the classes of the home's areas file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.jobs.learn import train_region
from dataflows.jobs.shadowing import KeptShadows
from schemas.configuration.areas import Area, Areas, areas_path
from schemas.events.cells import cell_texts
from schemas.records.records import GateResult
from state.decide.promotion import Outcome, PromotionRules, Trial, Verdict, judge
from state.decide.retraining import RetrainingRules
from tests.dataflows.jobs.shifting_town import TOWN, Town, quick_training
from tests.state.model_city import CELLS

NEVER = RetrainingRules(every_days=0, trainings_per_week=0)


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    """Few trees."""
    with quick_training(20):
        yield


def write_areas(home: Path, attribute: str) -> None:
    """The first half of the town's cells is the centre."""
    texts = cell_texts(CELLS, TOWN.precision).tolist()
    halves = {"centre": texts[: len(texts) // 2], "outskirts": texts[len(texts) // 2 :]}
    areas = tuple(Area(name, tuple(cells), (), ((attribute, name),)) for name, cells in halves.items())
    path = areas_path(home, TOWN.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Areas(TOWN.id, TOWN.precision, areas).to_json(), "utf-8")


def judged(town: Town, days: int, monkeypatch: pytest.MonkeyPatch, kept: KeptShadows | None = None) -> list[tuple[GateResult, ...]]:
    """What is said of the fairness of a challenger at the end of each of some days."""
    said: list[tuple[GateResult, ...]] = []

    def note(trial: Trial, rules: PromotionRules) -> Verdict:
        said.append(trial.verdicts)
        found = judge(trial, rules)
        return Verdict(Outcome.WAIT, found.reason, found.gates, found.interval)

    monkeypatch.setattr("dataflows.jobs.learner.judge", note)
    learner = town.learner(retraining=NEVER, kept=kept)
    town.close_days(days, shifted=False, after=learner.take_turn)
    learner.save()
    return said


def test_a_trial_is_judged_when_it_has_enough_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first days wait, then the gate judges; a restart goes on with its days, and one with other areas begins anew."""
    home, kept = tmp_path / "home", KeptShadows(tmp_path / "kept")
    town = Town(home)
    write_areas(home, "position")
    train_region(town.stores, TOWN, promote=False, most_rows=10_000)
    first = judged(town, 3, monkeypatch, kept)
    second = judged(town, 3, monkeypatch, kept)
    results = [gate for gates in (*first, *second) for gate in gates]
    assert {"fairness"} == {gate.gate for gate in results}
    days = [gate.sentence for gate in results if not gate.passed]
    assert ["not judged yet: 3 of 5 days", "not judged yet: 4 of 5 days"] == days[-2:]
    assert results[-1].passed
    assert "gap" in results[-1].sentence
    write_areas(home, "place")
    [*_, (last,)] = judged(town, 1, monkeypatch, kept)
    assert (False, True) == (last.passed, last.sentence.startswith("not judged yet: "))
    town.stores.close()


@pytest.mark.parametrize(("text", "expected"), [("{", [(False, "not judged: ")]), (None, [])])
def test_an_areas_file_that_is_wrong_stops_promotions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, expected: list[tuple[bool, str]]
) -> None:
    """While the file cannot be used the gate does not pass and says why; a region without areas has no such gate."""
    town = Town(tmp_path)
    if text is not None:
        path = areas_path(tmp_path, TOWN.id)
        path.parent.mkdir()
        path.write_text(text, "utf-8")
    train_region(town.stores, TOWN, promote=False, most_rows=10_000)
    [gates, *_] = judged(town, 2, monkeypatch)
    assert expected == [(gate.passed, gate.sentence[:12]) for gate in gates]
    town.stores.close()
