"""The report of a backtest: one file that needs nothing else, with the main result first."""

import re
from html import escape
from xml.etree import ElementTree

from ridecast.backtest_page import fairness_section, finding
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
