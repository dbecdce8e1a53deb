"""The report of `ridecast backtest --html`: one HTML file that needs nothing else, for people who decide on forecasts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ridecast.backtest_style import STYLE
from ridecast.backtest_timeline import marks_of, timeline
from ridecast.charts import bar_chart, cell_map, line_chart
from schemas.events.cells import bounds, cell_text

if TYPE_CHECKING:
    from dataflows.jobs.backtest import BacktestResult
    from dataflows.jobs.backtest_decisions import BacktestDecision
    from state.detect.fairness import Fairness
    from state.forecast.breakdown import Grouped
    from state.forecast.evaluation import CalibrationRow, Evaluation, EvaluationRow

NAMES = {
    "served": "Ridecast",
    "noise_floor": "noise floor",
    "last_value": "last slot",
    "mean_last_hour": "last hour",
    "same_slot_last_week": "last week",
    "weekday_slot_mean": "weekday and time of day",
}
DAILY = {"rides": "rides that came", "served": "mean forecast"}
BAND_TEXTS = {
    "busy": "busy: at least 1 ride per 15 min in training",
    "medium": "medium: 0.25 to 1",
    "quiet": "quiet: fewer, but some",
    "new": "new: no ride in training",
}


def write_page(result: "BacktestResult", path: Path) -> None:
    """Write the report."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(_page(result)) + "\n", "utf-8")


def _page(result: "BacktestResult") -> Iterator[str]:
    title = f"{result.region}: forecasts of {result.train_until} to {result.test_until}, judged"
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
    yield f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body><h1>{escape(title)}</h1>'
    for measure, rows in result.rows.items():
        if len(result.rows) > 1:
            yield f"<h1>{escape(measure)}</h1>"
        if not rows:
            yield "<p>No window of the test had a ride.</p>"
            continue
        evaluation, calibration = result.evaluations[measure], result.calibration[measure]
        region = evaluation.region
        yield f'<p class="lead">{escape(finding(rows, calibration))}</p>'
        yield from _figures(rows, result.noise_floor[measure])
        days = result.test_slots * region.slot_min / 1440
        yield (
            f'<p class="note">Trained on the rides before {escape(result.train_until)}; then the live code ran over {days:,.1f} days '
            f"({result.test_slots:,} slots of {region.slot_min} minutes) without looking ahead. "
            f"Each forecast is compared with the settled count of {escape(measure)} in its window.</p>"
        )
        decided = [one for one in result.decisions if one.measure == measure]
        end = result.start_slot + result.test_slots
        yield from timeline(decided, result.first_models.get(measure, ""), result.start_slot, end, region)
        yield from _summary(rows, result.noise_floor[measure])
        yield from _errors(evaluation, rows, decided)
        yield from _calibration(calibration)
        yield from _map(evaluation)
        yield from _worst(evaluation)
        if measure in result.fairness:
            yield from fairness_section(result.fairness[measure], region.horizons_min)
    yield "</body></html>"


def _figures(rows: "Sequence[EvaluationRow]", floor: "Sequence[EvaluationRow]") -> Iterator[str]:
    """Of the first band, which is the busy one if there is any: what was gained of what can be gained, per horizon."""
    band = rows[0].band
    yield '<div class="figures">'
    for noise in (row for row in floor if row.band == band):
        mine = {row.model: row for row in rows if (row.band, row.horizon_min) == (band, noise.horizon_min)}
        best = min(row.rmse_mean for name, row in mine.items() if name != "served")
        change = mine["served"].rmse_mean / best - 1.0 if best else 0.0
        yield (
            f'<div class="figure"><span>{escape(band)} cells, {noise.horizon_min} min ahead</span>'
            f'<b class="{"good" if change <= 0 else "bad"}">{change:+.1%}</b>'
            f"<span>RMSE {mine['served'].rmse_mean:.2f} against {best:.2f} of the best simple rule; chance alone gives "
            f"{noise.rmse_mean:.2f}</span></div>"
        )
    yield "</div>"


def fairness_section(found: "Fairness", horizons_min: Sequence[int]) -> Iterator[str]:
    """The classes of the areas side by side, for the shortest and the longest horizon."""
    from state.detect.fairness import sentence
    from state.detect.fairness_plot import fairness_svg

    yield f"<h2>Are all parts of the city forecast equally well?</h2><p>{escape(sentence(found))}</p>"
    for horizon_min in dict.fromkeys((horizons_min[0], horizons_min[-1])):
        yield f'<h3>{horizon_min} minutes ahead</h3><div style="overflow-x:auto">{fairness_svg(found, horizon_min)}</div>'
    yield (
        '<p class="note">'
        + escape(
            "Dots are classes of cells, lines their 95 % intervals over days; a dashed line is where a measure has no fault. WAPE and "
            "the share of fallback differ between busy and quiet cells even if every forecast is the best possible one."
        )
        + "</p>"
    )


def finding(rows: "Sequence[EvaluationRow]", calibration: "Sequence[CalibrationRow]") -> str:
    """The main result in two sentences, about the first band of the table: the busy cells if there are any."""
    band, horizon_min = rows[0].band, rows[0].horizon_min
    mine = {row.model: row for row in rows if (row.band, row.horizon_min) == (band, horizon_min)}
    served, best = mine["served"], min((row for name, row in mine.items() if name != "served"), key=lambda row: row.rmse_mean)
    gain = 1.0 - served.rmse_mean / best.rmse_mean if best.rmse_mean else 0.0
    than = f"{abs(gain):.0%} {'below' if gain >= 0 else 'above'} that of the best simple rule, {NAMES[best.model]}"
    inside = next((row.coverage80 for row in calibration if (row.band, row.horizon_min, row.day) == (band, horizon_min, "all")), None)
    covered = f" 80 % intervals covered {inside:.1%} of the counts." if inside is not None else ""
    return (
        f"In {band} cells, {horizon_min} minutes ahead, the error (RMSE) was {served.rmse_mean:.2f} rides, {than} "
        f"({best.rmse_mean:.2f}).{covered}"
    )


def _summary(rows: "Sequence[EvaluationRow]", floor: "Sequence[EvaluationRow]") -> Iterator[str]:
    yield '<h2>At a glance</h2><div class="scroll"><table><thead><tr><th>cells</th><th>minutes</th><th>RMSE</th><th>best rule</th>'
    yield "<th>noise floor</th><th>WAPE</th><th>best rule</th><th>noise floor</th><th>bias</th><th>CRPS</th><th>in 80 %</th></tr></thead>"
    floors = {(row.band, row.horizon_min): row for row in floor}
    before = ""
    for row in (row for row in rows if row.model == "served"):
        others = [other for other in rows if (other.band, other.horizon_min) == (row.band, row.horizon_min) and other.model != "served"]
        rmse, wape = min(other.rmse_mean for other in others), min(other.wape_median for other in others)
        noise = floors[row.band, row.horizon_min]
        numbers = (
            (_against(row.rmse_mean, rmse), f"{rmse:.3f}", f"{noise.rmse_mean:.3f}"),
            (_against(row.wape_median, wape), f"{wape:.3f}", f"{noise.wape_median:.3f}"),
            (f"{row.bias:+.1%}", f"{row.crps or 0.0:.3f}", f"{row.coverage80 or 0.0:.1%}"),
        )
        cells = "".join(f"<td>{text}</td>" for texts in numbers for text in texts)
        kinds = " ".join(["first"] * (row.band != before) + ["aside"] * (row.band in ("quiet", "new", "all")))
        yield f'<tr class="{kinds}"><td>{row.band} ({row.cells:,})</td><td>{row.horizon_min}</td>{cells}</tr>'
        before = row.band
    yield '</table></div><p class="note">' + escape(
        "RMSE is in rides per cell and window, of the mean forecast; WAPE is the absolute error of the median, as a share of all "
        "rides. The noise floor is what both would be if the served means were the true rates and counts were Poisson: nobody can be "
        "expected to be better. A WAPE near 1, in quiet cells or over all, says nothing: the best single number for a quiet cell is "
        "0, and its WAPE is 1. Look at the busy cells. "
    )
    yield escape("Bands of cells: " + "; ".join(BAND_TEXTS.values()) + ".") + "</p>"
    yield "<details><summary>Every simple rule in every band</summary>" + "".join(_every_rule(rows, floor)) + "</details>"


def _every_rule(rows: "Sequence[EvaluationRow]", floor: "Sequence[EvaluationRow]") -> Iterator[str]:
    yield '<div class="scroll"><table><thead><tr><th>cells</th><th>minutes</th><th>forecast</th>'
    yield "<th>RMSE</th><th>WAPE</th><th>bias</th></tr></thead>"
    before: tuple[str, int] | None = None
    places = list(dict.fromkeys((row.band, row.horizon_min) for row in rows))
    for row in sorted([*rows, *floor], key=lambda row: places.index((row.band, row.horizon_min))):
        place = (row.band, row.horizon_min)
        kind = ("first " if place != before else "") + ("us" if row.model == "served" else "")
        bias = f"{row.bias:+.1%}" if row.model != "noise_floor" else ""
        yield f'<tr class="{kind}"><td>{row.band}</td><td>{row.horizon_min}</td><td>{escape(NAMES[row.model])}</td>'
        yield f"<td>{row.rmse_mean:.3f}</td><td>{row.wape_median:.3f}</td><td>{bias}</td></tr>"
        before = place
    yield "</table></div>"


def _against(value: float, best: float) -> str:
    return f'<span class="{"good" if value <= best else "bad"}">{value:.3f}</span>'


def _errors(evaluation: "Evaluation", rows: "Sequence[EvaluationRow]", decided: "Sequence[BacktestDecision]" = ()) -> Iterator[str]:
    from state.forecast.breakdown import by_day, by_hour

    bands = [band for band in ("busy", "medium", "quiet", "new") if any(row.band == band for row in rows)]
    for heading, grouped, unit in (("Error by hour of the day", by_hour, "local hour"), ("Error by day", by_day, "day of the month")):

        def charts(band: str, grouped: "Callable[[Evaluation, int, str], Grouped]" = grouped, unit: str = unit) -> str:
            drawn = []
            for i, horizon_min in enumerate(evaluation.region.horizons_min):
                found = grouped(evaluation, i, band)
                marks = marks_of(decided, found.keys) if grouped is by_day else ()
                drawn.append(line_chart(f"{band} cells, {horizon_min} min", [key[-2:] for key in found.keys], found.rmse, unit, marks))
            return f'<div class="charts">{"".join(drawn)}</div>'

        yield f"<h2>{heading}</h2><p>RMSE of the mean, rides per cell and window, by the local start of the window.</p>{_legend()}"
        yield from _folded(bands, charts)


def _legend(names: Mapping[str, str] = NAMES) -> str:
    lines = [
        f'<span><svg viewBox="0 0 26 8"><line class="line {name}" x1="0" x2="26" y1="4" y2="4"/></svg>{escape(text)}</span>'
        for name, text in names.items()
    ]
    return f'<p class="legend">{"".join(lines)}</p>'


def _calibration(calibration: "Sequence[CalibrationRow]") -> Iterator[str]:
    yield "<h2>Can the intervals be believed?</h2><p>" + escape(
        "Each count is placed in its predictive distribution (randomised PIT). If the distributions fit, every bar has height 1. "
        "A hump in the middle means intervals too wide, high ends mean too narrow, a slope means a bias."
    )
    yield "</p>"
    bands = list(dict.fromkeys(row.band for row in calibration if row.band != "all"))

    def histograms(band: str) -> str:
        drawn = []
        for row in (row for row in calibration if (row.day, row.band) == ("all", band)):
            bins = len(row.pit)
            keys, heights = [f"{(i + 0.5) / bins:.2f}" for i in range(bins)], [bins * share for share in row.pit]
            drawn.append(bar_chart(f"{band} cells, {row.horizon_min} min", keys, heights, "PIT", 1.0))
        return f'<div class="charts">{"".join(drawn)}</div>'

    yield from _folded(bands, histograms)
    yield "<p>Share of counts inside the 80 % interval, by day of the week; wanted is 80 %, allowed 74 to 86 %.</p>"

    def by_weekday(band: str) -> str:
        drawn = []
        for horizon_min in dict.fromkeys(row.horizon_min for row in calibration):
            days = [row for row in calibration if (row.band, row.horizon_min) == (band, horizon_min)]
            if days:
                shares = [100 * row.coverage80 for row in days]
                drawn.append(bar_chart(f"{band} cells, {horizon_min} min", [row.day[:3] for row in days], shares, "%", 80.0, (74.0, 86.0)))
        return f'<div class="charts">{"".join(drawn)}</div>'

    yield from _folded([*bands, "all"], by_weekday)


def _folded(bands: Sequence[str], drawn: "Callable[[str], str]") -> Iterator[str]:
    """Charts of the first band, and of the others behind a line to click."""
    first, others = bands[:1], bands[1:]
    yield "".join(map(drawn, first))
    if others:
        names = f"{', '.join(others[:-1])} and {others[-1]}" if others[1:] else others[0]
        yield f"<details><summary>{names} cells</summary>{''.join(map(drawn, others))}</details>"


def _map(evaluation: "Evaluation") -> Iterator[str]:
    from state.forecast.breakdown import FEW_RIDES, cell_skills, worst_cells

    yield "<h2>Where the forecasts help</h2><p>" + escape(
        "Each rectangle is a cell. Green: squared error below that of the cell's own best baseline, "
        f"{evaluation.region.horizons_min[0]} min ahead; red: above; grey: fewer than {FEW_RIDES:.0f} rides over all windows. "
        "Numbers name the worst cells, which are described below. Point at a cell to read its numbers."
    )
    yield "</p>" + _key()
    skills = cell_skills(evaluation)
    boxes = bounds(evaluation.cells, 5 * evaluation.region.precision)
    judged = [skill.skill for skill in skills if skill.skill is not None]
    drawn = boxes if not judged else boxes[[skill.skill is not None for skill in skills]]
    # Single rides far away would shrink the city to a point.
    margin = 0.1 * (drawn[:, 2:].max(axis=0) - drawn[:, :2].min(axis=0))
    low, high = drawn[:, :2].min(axis=0) - margin, drawn[:, 2:].max(axis=0) + margin
    shown = ((boxes[:, :2] >= low) & (boxes[:, 2:] <= high)).all(axis=1).tolist()
    cells = []
    for skill, (south, west, north, east), here in zip(skills, boxes.tolist(), shown, strict=True):
        if here:
            said = f"skill {skill.skill:+.0%}" if skill.skill is not None else "too few rides to say"
            text = f"{cell_text(skill.cell, evaluation.region.precision)}: {skill.rides:,.0f} rides over all windows, {said}"
            cells.append((south, west, north, east, _colour(skill.skill), text))
    places = [cell.cell for cell in worst_cells(evaluation)]
    middles = bounds(np.array(places, np.uint64), 5 * evaluation.region.precision).tolist()
    marks = [((s + n) / 2, (w + e) / 2, str(number)) for number, (s, w, n, e) in enumerate(middles, 1)]
    yield cell_map("map of cells by skill", cells, marks=marks)
    better = sum(value > 0 for value in judged)
    yield f'<p class="note">{better:,} of {len(judged):,} cells with enough rides were better than their best baseline. '
    yield f"{len(skills) - len(cells):,} cells further away, with few rides, are not drawn.</p>"


def _key() -> str:
    texts = (
        (0.5, "half the error of its best rule, or less"),
        (0.1, "a little better"),
        (-0.1, "a little worse"),
        (-0.5, "half as much again, or more"),
    )
    spots = "".join(f'<span><i style="background:{_colour(skill)}"></i>{text}</span>' for skill, text in texts)
    return f'<p class="key note">{spots}<span><i style="background:{_colour(None)}"></i>too few rides to say</span></p>'


def _colour(skill: float | None) -> str:
    """Green for skill, red for the lack of it, grey for unknown.

    >>> _colour(None), _colour(0.5), _colour(-2.0)
    ('#dcdfe3', 'hsl(135 45% 40%)', 'hsl(0 60% 40%)')
    """
    if skill is None:
        return "#dcdfe3"
    light = round(80 - 40 * min(abs(skill) / 0.5, 1.0))
    return f"hsl({135 if skill >= 0 else 0} {45 if skill >= 0 else 60}% {light}%)"


def _worst(evaluation: "Evaluation") -> Iterator[str]:
    from state.forecast.breakdown import worst_cells

    region = evaluation.region
    yield "<h2>The ten worst cells, and what happened there</h2><p>Those with the largest error beyond what chance explains, "
    yield f"{region.horizons_min[0]} min ahead. Lines are the rides of each day, summed over its windows.</p>{_legend(DAILY)}"
    for number, cell in enumerate(worst_cells(evaluation), 1):
        ratio = cell.day_ratio
        day = f"{ratio:.1f} times" if ratio >= 1.2 else f"{ratio:.0%} of"
        side = "high" if cell.bias > 0 else "low"
        lean = "without a lasting bias" if abs(cell.bias) < 0.05 else f"{abs(cell.bias):.0%} too {side} on the whole"
        name = cell_text(cell.cell, region.precision)
        south, west, north, east = bounds(np.array([cell.cell], np.uint64), 5 * region.precision)[0].tolist()
        said = (
            f"RMSE {cell.rmse:.2f} rides, where chance alone gives {cell.floor:.2f}; {lean}. "
            f"Largest miss: {cell.at:%A %d %B, %H:%M}, {cell.mean:.1f} forecast and {cell.truth:.0f} came. "
            f"Furthest day: {cell.day:%A %d %B}, with {day} the rides forecast."
        )
        lines = {"rides": [rides for _, rides, _ in cell.daily], "served": [mean for _, _, mean in cell.daily]}
        drawn = line_chart(f"{number}  {name}", [f"{one:%d}" for one, _, _ in cell.daily], lines, "day of the month")
        at = f"{(south + north) / 2:.4f}, {(west + east) / 2:.4f}"
        yield f'<div class="story">{drawn}<p><b>{number} <code>{name}</code></b> <span class="note">at {at}</span><br>'
        yield f"{escape(said)}</p></div>"
