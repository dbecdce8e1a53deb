"""Charts as inline SVG, without a library: lines, bars and a map of rectangles. Colours have names in the page's style sheet."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 330, 190
LEFT, RIGHT, TOP, BOTTOM = 38, 8, 24, 30
TICKS = 4


def line_chart(
    title: str, keys: Sequence[str], lines: Mapping[str, Sequence[float]], unit: str, marks: Sequence[tuple[float, str, str]] = ()
) -> str:
    """Lines over shared keys from zero up; the class of each line is its name.

    Args:
        marks: (place between the keys, where 0 is the first, short text, text shown under the pointer and read aloud).
    """
    top = _nice(max((value for values in lines.values() for value in values), default=0.0))
    at_x, at_y = _scale_x(len(keys)), _scale_y(top)
    parts = [_axes(title, keys, top, unit)]
    for place, short, text in marks:
        x = at_x(place)
        parts.append(
            f'<g class="event"><title>{escape(text)}</title><line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP + 4}" y2="{HEIGHT - BOTTOM}"/>'
        )
        parts.append(f'<text class="eventname" x="{x:.1f}" y="{TOP + 1}">{escape(short)}</text></g>')
    for name, values in lines.items():
        points = " ".join(f"{at_x(i):.1f},{at_y(value):.1f}" for i, value in enumerate(values))
        parts.append(f'<polyline class="line {escape(name)}" points="{points}"><title>{escape(name)}</title></polyline>')
    return _svg("; ".join([title, *(text for _, _, text in marks)]), parts)


def bar_chart(
    title: str, keys: Sequence[str], values: Sequence[float], unit: str, mark: float, band: tuple[float, float] | None = None
) -> str:
    """Bars with a dashed line at the value that is wanted, and a band of what is allowed."""
    top = _nice(max([*values, mark * 1.2]))
    at_x, at_y = _scale_x(len(keys)), _scale_y(top)
    width = (WIDTH - LEFT - RIGHT) / max(len(keys), 1)
    parts = [_axes(title, keys, top, unit)]
    if band is not None:
        y, height = at_y(band[1]), at_y(band[0]) - at_y(band[1])
        parts.append(f'<rect class="allowed" x="{LEFT}" y="{y:.1f}" width="{WIDTH - LEFT - RIGHT}" height="{height:.1f}"/>')
    for i, value in enumerate(values):
        y = at_y(value)
        parts.append(
            f'<rect class="bar" x="{at_x(i) - 0.42 * width:.1f}" y="{y:.1f}" width="{0.84 * width:.1f}" height="{HEIGHT - BOTTOM - y:.1f}">'
            f"<title>{escape(keys[i])}: {_number(value)}</title></rect>"
        )
    parts.append(f'<line class="mark" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at_y(mark):.1f}" y2="{at_y(mark):.1f}"/>')
    return _svg(title, parts)


def cell_map(
    title: str,
    cells: Sequence[tuple[float, float, float, float, str, str]],
    width: int = 760,
    marks: Sequence[tuple[float, float, str]] = (),
) -> str:
    """Rectangles at their places.

    Args:
        cells: (south, west, north, east, CSS colour, text shown under the pointer), degrees.
        marks: (latitude, longitude, short text) of places that are named on the map; those outside it are left out.
    """
    if not cells:
        return ""
    south, west = min(cell[0] for cell in cells), min(cell[1] for cell in cells)
    north, east = max(cell[2] for cell in cells), max(cell[3] for cell in cells)
    # A degree of longitude is shorter than one of latitude by the cosine of the latitude; a polynomial is near enough here.
    squeeze = max(1.0 - (0.5 * (north + south) * 0.0174533) ** 2 / 2 + (0.5 * (north + south) * 0.0174533) ** 4 / 24, 0.1)
    scale = width / max((east - west) * squeeze, 1e-9)
    height = (north - south) * scale
    parts = [
        f'<rect x="{(w - west) * squeeze * scale:.1f}" y="{(north - n) * scale:.1f}" width="{(e - w) * squeeze * scale:.2f}" '
        f'height="{(n - s) * scale:.2f}" fill="{colour}"><title>{escape(text)}</title></rect>'
        for s, w, n, e, colour, text in cells
    ]
    for lat, lon, text in marks:
        if south <= lat <= north and west <= lon <= east:
            x, y = (lon - west) * squeeze * scale, (north - lat) * scale
            parts.append(f'<circle class="place" cx="{x:.1f}" cy="{y:.1f}" r="9"/>')
            parts.append(f'<text class="placename" x="{x:.1f}" y="{y + 4:.1f}">{escape(text)}</text>')
    return f'<svg class="map" role="img" aria-label="{escape(title)}" viewBox="0 0 {width} {height:.0f}">{"".join(parts)}</svg>'


def _axes(title: str, keys: Sequence[str], top: float, unit: str) -> str:
    at_x, at_y = _scale_x(len(keys)), _scale_y(top)
    parts = [f'<text class="title" x="4" y="13">{escape(title)}</text>']
    for tick in range(TICKS + 1):
        value = top * tick / TICKS
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at_y(value):.1f}" y2="{at_y(value):.1f}"/>')
        parts.append(f'<text class="tick end" x="{LEFT - 4}" y="{at_y(value) + 3:.1f}">{_number(value)}</text>')
    step = max(1, -(-len(keys) // 8))
    for i in range(0, len(keys), step):
        parts.append(f'<text class="tick middle" x="{at_x(i):.1f}" y="{HEIGHT - BOTTOM + 12}">{escape(keys[i])}</text>')
    parts.append(f'<text class="tick middle" x="{(WIDTH + LEFT) / 2:.0f}" y="{HEIGHT - 4}">{escape(unit)}</text>')
    return "".join(parts)


def _number(value: float) -> str:
    """Three digits, and never an exponent.

    >>> _number(1500.0), _number(0.25), _number(80.123)
    ('1,500', '0.25', '80.1')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _svg(title: str, parts: Sequence[str]) -> str:
    return f'<svg class="chart" role="img" aria-label="{escape(title)}" viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg>'


class _Scale:
    def __init__(self, start: float, step: float) -> None:
        self._start, self._step = start, step

    def __call__(self, value: float) -> float:
        return self._start + self._step * value


def _scale_x(n: int) -> _Scale:
    width = (WIDTH - LEFT - RIGHT) / max(n, 1)
    return _Scale(LEFT + width / 2, width)


def _scale_y(top: float) -> _Scale:
    return _Scale(HEIGHT - BOTTOM, -(HEIGHT - TOP - BOTTOM) / top)


def _nice(value: float) -> float:
    """The least of 1, 2, 4, 8 and 10 times a power of ten that is not below a value; 1 for none.

    >>> _nice(3.1), _nice(0.0), _nice(0.09)
    (4.0, 1.0, 0.1)
    """
    if value <= 0.0:
        return 1.0
    power = 10.0 ** len(str(int(value))) / 10 if value >= 1 else 1.0
    while value < power / 10:
        power /= 10
    ladder = [power * step for step in (0.1, 0.2, 0.4, 0.8, 1.0, 2.0, 4.0, 8.0, 10.0)]
    return next((high for low, high in pairwise([0.0, *ladder]) if low < value <= high), 10.0 * power)
