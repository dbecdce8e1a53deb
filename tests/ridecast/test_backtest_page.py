"""The report of a backtest: one file that needs nothing else, with the main result first."""

import re
from html import escape
from xml.etree import ElementTree

import pytest

from ridecast.backtest_page import _every_rule, _figures, _folded, fairness_section, finding
from ridecast.charts import bar_chart, cell_map, line_chart
from state.detect.fairness import fairness, sentence
from state.forecast.evaluation import CalibrationRow, EvaluationRow
from tests.state.detect.samples import counted, issues


def row(band: str, model: str, rmse: float) -> EvaluationRow:
    """A row of which only the error matters."""
    return EvaluationRow(band, 15, model, 5, 10, rmse, 0.5, 0.0, 0.8, 0.1)


def test_the_main_finding_is_about_busy_cells() -> None:
    """The first sentence compares with the best simple rule, the second says how many counts the intervals covered."""
    rows = [row("busy", "served", 1.5), row("busy", "last_value", 3.0), row("busy", "weekday_slot_mean", 2.0), row("all", "served", 9.0)]
    calibration = [CalibrationRow("busy", 15, "all", 50, 0.812, (0.05,) * 20)]
    said = finding(rows, calibration)
    assert said.startswith("In busy cells, 15 minutes ahead, the error (RMSE) was 1.50 rides, 25% below that of the best simple rule")
    assert "weekday and time of day (2.00)" in said
    assert said.endswith("80 % intervals covered 81.2% of the counts.")
    assert "50% above" in finding([row("busy", "served", 3.0), row("busy", "last_value", 2.0)], [])


def test_the_first_figures_are_those_of_the_first_band() -> None:
    """One figure per horizon: the change against the best rule, with its sign, and what chance alone gives."""
    rows = [row("busy", "served", 1.5), row("busy", "last_value", 3.0), row("busy", "weekday_slot_mean", 2.0), row("all", "served", 9.0)]
    told = "".join(_figures(rows, [row("busy", "noise_floor", 1.2), row("all", "noise_floor", 0.1)]))
    assert ["-25.0%"] == re.findall('<b class="good">([^<]*)</b>', told)
    assert "RMSE 1.50 against 2.00 of the best simple rule; chance alone gives 1.20" in told
    worse = _figures([row("new", "served", 3.0), row("new", "last_value", 2.0)], [row("new", "noise_floor", 1.0)])
    assert '<b class="bad">+50.0%</b>' in "".join(worse)


def test_every_rule_stands_beside_the_served_forecast() -> None:
    """Bands keep their order, busy first; the served row is marked, and the noise floor ends each group."""
    rows = [row("busy", "served", 1.5), row("busy", "last_value", 3.0), row("all", "served", 9.0), row("all", "last_value", 9.5)]
    told = "".join(_every_rule(rows, [row("all", "noise_floor", 0.1), row("busy", "noise_floor", 1.2)]))
    names = re.findall("<td>(Ridecast|last slot|noise floor)</td>", told)
    assert ["Ridecast", "last slot", "noise floor"] * 2 == names
    assert told.index("<td>busy</td>") < told.index("<td>all</td>")
    assert 2 == told.count('class="first us"')


def test_charts_of_the_first_band_are_open() -> None:
    """The others are behind one line that names them."""
    assert "<busy><details><summary>medium, quiet and new cells</summary><medium><quiet><new></details>" == "".join(
        _folded(["busy", "medium", "quiet", "new"], lambda band: f"<{band}>")
    )
    assert "<quiet>" == "".join(_folded(["quiet"], lambda band: f"<{band}>"))


def test_places_are_named_on_the_map() -> None:
    """A mark lies inside its cell; one outside the map is left out."""
    cells = [(40.0, -74.0, 40.1, -73.9, "#111", "a")]
    drawn = ElementTree.fromstring(cell_map("map", cells, marks=[(40.05, -73.95, "<1>"), (50.0, 0.0, "2")]))
    [circle] = drawn.iter("circle")
    [rect] = drawn.iter("rect")
    assert float(rect.get("width", "0")) / 2 == pytest.approx(float(circle.get("cx", "0")), abs=0.1)
    assert ["<1>"] == [text.text for text in drawn.iter("text")]


def numbers(points: str) -> list[float]:
    """Coordinates of a line."""
    return [float(number) for number in re.split("[ ,]", points)]


def test_lines_rise_where_values_do() -> None:
    """A larger value lies higher; zero lies on the axis; names of other things are escaped."""
    chart = ElementTree.fromstring(line_chart("a & b", ["00", "01", "02"], {"served": (0.0, 5.0, 10.0)}, "hour"))
    [line] = chart.iter("polyline")
    heights = numbers(line.get("points", ""))[1::2]
    assert heights[0] > heights[1] > heights[2]
    assert 2 * heights[1] == heights[0] + heights[2]
    assert "a & b" == chart.get("aria-label")


def test_bars_are_as_high_as_their_values() -> None:
    """Twice the value is twice the height; the wanted value is a line."""
    chart = ElementTree.fromstring(bar_chart("pit", ["a", "b"], (0.5, 1.0), "PIT", 1.0, (0.8, 1.2)))
    low, high = (float(bar.get("height", "0")) for bar in chart.iter("rect") if bar.get("class") == "bar")
    assert abs(high - 2 * low) < 0.2
    assert 1 == sum(line.get("class") == "mark" for line in chart.iter("line"))


def test_cells_lie_where_they_are() -> None:
    """North is up and east is right."""
    cells = [(40.0, -74.0, 40.1, -73.9, "#111", "south west"), (40.2, -73.8, 40.3, -73.7, "#222", "north east")]
    south, north = ElementTree.fromstring(cell_map("map", cells)).iter("rect")
    assert float(south.get("y", "0")) > float(north.get("y", "0"))
    assert float(south.get("x", "0")) < float(north.get("x", "0"))
    assert "" == cell_map("map", [])


def test_the_classes_of_areas_are_compared() -> None:
    """The section holds the sentence on the worst gap and a picture for the shortest and the longest horizon."""
    found = fairness(counted(issues(1, low_factor=0.8)), seed=1, draws=20)
    text = "".join(fairness_section(found, (15, 30)))
    assert escape(sentence(found)) in text
    assert ["Fairness at 15 minutes", "Fairness at 30 minutes"] == re.findall("<title>(Fairness[^<]*)", text)
    assert 1 == "".join(fairness_section(found, (15,))).count("<svg")


def test_marks_stand_where_their_place_is_and_are_read_aloud() -> None:
    """A mark between the first and second day lies between their middles; its text is in the name of the chart, and not obeyed."""
    drawn = line_chart("busy cells", ["01", "02"], {"served": [1.0, 2.0]}, "day", [(0.5, "1", "1: 2 May, promoted <b>")])
    tree = ElementTree.fromstring(drawn)
    [x] = [float(line.attrib["x1"]) for line in tree.iterfind(".//g[@class='event']/line")]
    [points] = [line.attrib["points"].split() for line in tree.iterfind(".//polyline")]
    first, second = (float(point.split(",")[0]) for point in points)
    assert abs((first + second) / 2 - x) < 0.2
    assert "busy cells; 1: 2 May, promoted <b>" == tree.attrib["aria-label"]
    assert "<b>" not in drawn
