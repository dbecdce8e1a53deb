"""`ridecast explain` shows a base and terms that add up, in a table, as JSON and as a drawing."""

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from ridecast.explanation_drawing import Drawing, bars, svg
from ridecast.main import cli
from schemas.errors import RidecastError
from schemas.events.cells import cell_text
from schemas.forecasts.chunks import unpack_blob
from schemas.records.records import FALLBACKS, Fallback, ForecastIssued
from tests.simulation.runs import LOG, Place, copied

OWN = FALLBACKS.index(Fallback.NONE)
TARGET = "2024-03-31T07:20"


@pytest.fixture(scope="module")
def home(written: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a finished run."""
    return copied(written, tmp_path_factory.mktemp("explained") / "home").home


@pytest.fixture(scope="module")
def cell(home: Path, written: Place) -> tuple[str, int]:
    """A cell with a model of its own in the last issue, and its mean, 1/1000 ride."""
    stores = written.open()
    issue = list(stores.ledger.records(LOG, ForecastIssued))[-1]
    columns = unpack_blob(stores.blobs.get(issue.blob)).columns(issue.horizons_min)
    stores.close()
    row = int(np.flatnonzero(columns.fallback == OWN)[0])
    return cell_text(int(columns.cells[row]), 6), int(columns.mean[row, 1])


def explain(home: Path, *words: object) -> Result:
    """`ridecast explain` at that home."""
    given = ["explain", "--home", home, *words]  # the only region of this home
    return CliRunner().invoke(cli, [str(word) for word in given], env={"COLUMNS": "160"})


def test_the_table_adds_up(home: Path, cell: tuple[str, int]) -> None:
    """The rows between the base and the served number, as they are printed, add up to it within their rounding."""
    result = explain(home, cell[0], TARGET, "--horizon", 30)
    assert 0 == result.exit_code, result.exception
    numbers = [float(found) for found in re.findall(r"│ +([+-]?\d+\.\d{3}) │", result.stdout)]
    base, *terms, served = numbers
    assert cell[1] / 1000 == served
    assert len(terms) > 3
    assert abs(base + sum(terms) - served) < 0.0005 * (len(terms) + 2)
    assert f"requests in {cell[0]} within 30 min from 2024-03-31T07:20:00+02:00" in result.stdout
    assert "mean of the cell over the last four weeks" in result.stdout
    assert "#" in result.stdout
    assert "computed again" not in result.stdout


def test_json_has_every_term(home: Path, cell: tuple[str, int]) -> None:
    """With --json the terms add up to the served number within 1/1000 ride, and name their features."""
    body = json.loads(explain(home, cell[0], TARGET, "--horizon", 30, "--json", "--measure", "requests").stdout)
    assert abs(body["base"]["rides"] + sum(term["rides"] for term in body["terms"]) - cell[1] / 1000) < 1e-3
    assert ("small", cell[0], 30, "none", 0, True) == tuple(
        body[name] for name in ("region", "cell", "horizon_min", "fallback", "replayed_slots", "same_features")
    )
    assert any(term["features"] for term in body["terms"])


def test_an_old_forecast_is_folded_again(home: Path, cell: tuple[str, int], tmp_path: Path) -> None:
    """Features that are no longer stored are computed again, which the last line says; the terms are the same."""
    before = explain(home, cell[0], TARGET, "--json").stdout
    home = Path(shutil.copytree(home, tmp_path / "home"))
    for path in (home / "blobs" / "features").rglob("*"):
        if path.is_file():
            path.unlink()
    again = explain(home, cell[0], TARGET)
    assert re.search(r"features computed again from \d+ slots", again.stdout)
    body = json.loads(explain(home, cell[0], TARGET, "--json").stdout)
    assert body.pop("replayed_slots") > 36
    assert {name: value for name, value in json.loads(before).items() if name != "replayed_slots"} == body


def test_the_drawing_is_a_file_on_its_own(home: Path, cell: tuple[str, int], tmp_path: Path) -> None:
    """With --svg the same rows are drawn: whole XML, no address of another resource."""
    file = tmp_path / "why.svg"
    explain(home, cell[0], TARGET, "--svg", file)
    text = file.read_text("utf-8")
    assert "mean of the cell over the last four weeks" in "".join(ElementTree.fromstring(text).itertext())
    assert {"http://www.w3.org/2000/svg"} == set(re.findall(r"https?://[^\"]+", text))


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("u33d", TARGET), 2, "cell: expected 6 letters in region small, got 'u33d'"),
        (("s00000", TARGET), 1, "no ride in the 28 days before, and its centre is outside region small"),
        (("CELL", "2024-03-31T07:21"), 2, "target: expected a boundary of a 5-minute slot"),
        (("CELL", "2034-03-31T07:20"), 1, "target: region small issued no forecast"),
        (("CELL", "2014-03-31T07:20"), 1, ", the first 2024-"),
        (("CELL", TARGET, "--horizon", 20), 2, "--horizon: expected one of 15, 30, 60, got 20"),
        (("CELL", TARGET, "--measure", "trips"), 2, "--measure: expected one of requests"),
    ],
)
def test_what_cannot_be_explained(home: Path, cell: tuple[str, int], words: tuple[object, ...], status: int, said: str) -> None:
    """Each refusal names the word that is wrong and what was expected."""
    result = explain(home, *(cell[0] if word == "CELL" else word for word in words))
    assert isinstance(result.exception, RidecastError), result.output
    assert status == result.exception.exit_code
    assert said in str(result.exception)


def test_bars_have_one_scale() -> None:
    """The longest bar fills its side; signs decide the side; nothing is drawn for nothing, and without terms."""
    assert ["    |####", "   #|    ", "    |    "] == bars([("a", 4.0), ("b", -1.0), ("c", 0.0)], 4)
    assert [] == bars([])
    assert ["  |  "] == bars([("a", 0.0)], 2)


def test_words_are_escaped() -> None:
    """A name that looks like markup is text in the drawing."""
    drawing = Drawing("<b>", ("a & b", 1.0), [("<i>", -0.5), ("up", 0.25)], ("served", 0.75))
    root = ElementTree.fromstring(svg(drawing))
    assert {"<b>", "a & b", "<i>", "-0.500", "+0.250", "0.750"} <= {text for element in root.iter() if (text := element.text)}
    widths = [float(str(rect.get("width"))) for rect in root.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert pytest.approx(widths[0] / 2) == widths[1]
