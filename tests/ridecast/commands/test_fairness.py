"""`ridecast fairness`: a table and a sentence for a person, JSON for a program, and what is refused."""

import json
import re
from pathlib import Path

import pytest

import state.detect.fairness
import state.detect.fairness_plain
from schemas.configuration.areas import Area, Areas
from schemas.regions import load_region
from state.simulation.quarters import quarters_of
from tests.ridecast.conftest import Call, Small


@pytest.fixture
def areas(tmp_path: Path) -> Path:
    """The areas file of the small home's city."""
    path = tmp_path / "areas.json"
    path.write_text(quarters_of(load_region("tehran"), 7).to_json(), "utf-8")
    return path


@pytest.fixture
def a_day_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare classes after the one day that the small home has."""
    monkeypatch.setattr(state.detect.fairness, "LEAST_DAYS", 1)
    monkeypatch.setattr(state.detect.fairness, "LEAST_RIDES", 20)


def test_one_day_is_too_little(small: Small, call: Call, areas: Path) -> None:
    """The table says for each class that there is too little data, and the sentence what would be enough."""
    done = call("fairness", "--home", small.home, "--areas", areas)
    assert (0, "") == (done.status, done.err)
    assert "tehran requests: 88 issues, 2025-04-07 00:05 to 2025-04-07 21:50 +0330" in done.out
    assert 8 * 3 == done.out.count("too little data")
    assert "Too little data to compare classes: a class needs 5 days and 200 rides" in done.out


@pytest.mark.usefixtures("a_day_is_enough")
def test_a_table_and_a_sentence(small: Small, call: Call, areas: Path) -> None:
    """Every class and horizon has a row with its measures and intervals, and one sentence names the worst gap."""
    done = call("fairness", "--home", small.home, "--region", "tehran", "--areas", areas)
    rows = [line.split() for line in done.out.splitlines() if re.match(r" *(income|position|transit| all)", line)]
    assert 8 * 3 == len(rows)
    assert re.search(r"position +centre +15 +\d+ +[+-]\d+\.\d ±\d+\.\d +\d+\.\d ±", done.out)
    assert re.search(r"\nWorst gap: at \d+ min the .* is \S+ where \w+ is '\w+' and \S+ where it is '\w+'; that is ", done.out)


@pytest.mark.usefixtures("a_day_is_enough")
def test_json_says_the_same_and_the_status_whether_a_gap_is_beyond(
    small: Small, call: Call, areas: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON has classes, gaps and bounds; the exit code is 1 exactly when a gap's interval lies beyond its bound."""
    done = call("fairness", "--home", small.home, "--areas", areas, "--json")
    said = json.loads(done.out)
    assert ("tehran", "requests", 88, "2025-04-06T20:35:00Z") == tuple(said[name] for name in ("region", "measure", "issues", "from"))
    assert {("centre", 15), ("outskirts", 60), ("all cells", 30)} <= {(row["class"], row["horizon_min"]) for row in said["classes"]}
    beyond = [gap for gap in said["gaps"] if gap["measure"] in ("bias", "under", "coverage") and gap["gap"]["low"] > gap["bound"]]
    assert said["clearly_beyond_bound"] == bool(beyond)
    assert int(bool(beyond)) == done.status
    wide = tuple(type(one)(one.name, one.title, one.part, one.whole, one.less, 9.0, one.by_level) for one in state.detect.fairness.MEASURES)
    monkeypatch.setattr(state.detect.fairness_plain, "MEASURE", {one.name: one for one in wide})
    assert 0 == call("fairness", "--home", small.home, "--areas", areas).status
    monkeypatch.setattr(
        state.detect.fairness_plain,
        "MEASURE",
        {one.name: type(one)(one.name, one.title, one.part, one.whole, one.less, 1e-9, one.by_level) for one in wide},
    )
    assert 1 == call("fairness", "--home", small.home, "--areas", areas).status


def test_the_file_of_the_home_is_found(copy: Small, call: Call) -> None:
    """A file at HOME/areas/REGION.json needs no option, and rides outside its areas are told."""
    path = copy.home / "areas" / "tehran.json"
    path.parent.mkdir()
    some = quarters_of(load_region("tehran"), 7).areas[0]
    path.write_text(Areas("tehran", 6, (Area("one", some.cells, (), (("quarter", "one"),)),)).to_json(), "utf-8")
    done = call("fairness", "--home", copy.home)
    assert 0 == done.status
    assert re.search(r"\d+\.\d% of the rides start in cells without a class of quarter\.", done.out)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (
            (),
            2,
            "region tehran: no areas to compare: no .*areas/tehran.json, and none in the .*; give a file with --areas",
        ),
        (("--areas", "missing.json"), 2, "missing.json: No such file or directory; docs/fairness.md"),
        (("--region", "nyc"), 1, "region nyc: not bootstrapped in this home"),
        (("--measure", "taxis"), 2, "--measure: expected one of requests, got 'taxis'"),
        (("--areas", "{areas}", "--from", "yesterday"), 2, "--from: expected an ISO time"),
        (("--areas", "{areas}", "--until", "2025-04-07T00:01"), 2, "--until: expected a boundary of a 5-minute slot"),
        (("--areas", "{areas}", "--from", "2025-04-07T12:00", "--until", "2025-04-07T11:00"), 1, "no forecast of this period has settled"),
        (("--areas", "{areas}", "--from", "2025-05-01", "--until", "2025-05-02"), 1, "no forecast of requests in this period has settled"),
    ],
)
def test_what_cannot_be_compared_is_refused(small: Small, call: Call, areas: Path, words: tuple[str, ...], status: int, said: str) -> None:
    """Each refusal says what was expected and where it was looked for."""
    done = call("fairness", "--home", small.home, *(word.replace("{areas}", str(areas)) for word in words))
    assert status == done.status
    assert re.search(said, done.err), done.err


def test_several_regions_want_a_name(tmp_path: Path, call: Call) -> None:
    """A home with two regions needs --region, and the message lists them."""
    for region in ("nyc", "tehran"):
        call("bootstrap", "--region", region, "--until", "2025-05-01", "--home", tmp_path, "--no-history")
    done = call("fairness", "--home", tmp_path)
    assert (2, ["ridecast: --region: expected one of the regions of this home (nyc, tehran)"]) == (done.status, done.lines)
