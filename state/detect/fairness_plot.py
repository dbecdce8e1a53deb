"""The measures of all classes as a picture: inline SVG for a report, a row per class with its interval."""

from collections.abc import Callable, Sequence
from html import escape

from state.detect.fairness import MEASURES, ClassRow, Estimate, Fairness, Measure

ROW_PX, LABEL_PX, PANEL_PX, GAP_PX, TOP_PX = 20, 190, 150, 24, 40
LABEL_LETTERS = 28
SAME = {"bias": 0.0, "under": 0.5, "coverage": 0.8}  # what the measure is without any fault


def fairness_svg(found: Fairness, horizon_min: int) -> str:
    """A panel per measure, with a dot and a 95 % interval for each class; a dashed line where the measure has no fault.

    Args:
        horizon_min: The one to show.
    Returns:
        An `<svg>` element that needs nothing else; its colours follow the text around it. Classes with too little data are named
        and have no dot.
    """
    rows = [row for row in found.rows if row.horizon_min == horizon_min]
    width, height = LABEL_PX + len(MEASURES) * (PANEL_PX + GAP_PX), TOP_PX + ROW_PX * len(rows) + 24
    box = f'viewBox="0 0 {width} {height}" width="{width}" role="img" font-family="sans-serif" font-size="12" fill="currentColor"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {box}>', f"<title>Fairness at {horizon_min} minutes</title>"]
    for place, row in enumerate(rows):
        label = f"{row.attribute}: {row.name}" if row.attribute else row.name
        shown = escape(label)
        if len(label) > LABEL_LETTERS:
            shown = f"{escape(label[: LABEL_LETTERS - 1])}…<title>{escape(label)}</title>"
        parts.append(f'<text x="0" y="{_middle(place) + 4:.0f}">{shown}</text>')
    for number, measure in enumerate(MEASURES):
        parts += _panel(measure, rows, LABEL_PX + number * (PANEL_PX + GAP_PX))
    return "".join([*parts, "</svg>"])


def _middle(place: int) -> float:
    return TOP_PX + ROW_PX * (place + 0.5)


def _panel(measure: Measure, rows: Sequence[ClassRow], left: int) -> list[str]:
    shown = [(place, row.estimates[measure.name]) for place, row in enumerate(rows) if row.enough]
    ends = [end for _, estimate in shown for end in (estimate.low, estimate.high) if end is not None]
    if measure.name in SAME:
        ends.append(SAME[measure.name])
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    low, high = (low - 0.01, high + 0.01) if high - low < 0.02 else (low, high)

    def x(value: float) -> float:
        return left + PANEL_PX * (value - low) / (high - low)

    bottom = _middle(len(rows) - 1) + ROW_PX / 2
    parts = [f'<text x="{left}" y="14" font-weight="bold">{escape(measure.title)}</text>']
    parts += [
        f'<text x="{left}" y="{TOP_PX - 8}" font-size="10">{low:.1%}</text>',
        f'<text x="{left + PANEL_PX}" y="{TOP_PX - 8}" font-size="10" text-anchor="end">{high:.1%}</text>',
    ]
    if measure.name in SAME:
        at = x(SAME[measure.name])
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP_PX}" y2="{bottom:.0f}" stroke="currentColor" stroke-dasharray="3 3"/>')
    for place, estimate in shown:
        parts += _dot(estimate, x, _middle(place))
    return parts


def _dot(estimate: Estimate, x: Callable[[float], float], y: float) -> list[str]:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return []
    said = f"{estimate.value:.1%} (95 %: {estimate.low:.1%} to {estimate.high:.1%})"
    return [
        f'<line x1="{x(estimate.low):.1f}" x2="{x(estimate.high):.1f}" y1="{y:.0f}" y2="{y:.0f}" stroke="currentColor"/>',
        f'<circle cx="{x(estimate.value):.1f}" cy="{y:.0f}" r="4"><title>{said}</title></circle>',
    ]
