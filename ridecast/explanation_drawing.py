"""An explanation as a drawing: rows with bars to the left and right of a middle line, in the terminal or as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

HALF_WIDTH = 16  # characters of the longest bar in the terminal
SVG_WIDTH, SVG_ROW, SVG_LABEL, SVG_VALUE = 760, 26, 330, 90  # pixels
MORE, LESS = "#1d4ed8", "#b45309"


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn.

    Attributes:
        title: One sentence.
        base, served: (words, rides) above and below the terms.
        terms: (words, rides), largest first.
    """

    title: str
    base: tuple[str, float]
    terms: Sequence[tuple[str, float]]
    served: tuple[str, float]


def bars(terms: Sequence[tuple[str, float]], half_width: int = HALF_WIDTH) -> list[str]:
    """A bar for each term, on a common scale: to the left of the line what makes the forecast smaller.

    >>> bars([("more", 2.0), ("less", -1.0), ("none", 0.0)], 4)
    ['    |####', '  ##|    ', '    |    ']
    """
    most = max((abs(rides) for _, rides in terms), default=0.0) or 1.0
    lengths = [round(half_width * abs(rides) / most) for _, rides in terms]
    return [
        f"{'#' * (length if rides < 0 else 0):>{half_width}}|{'#' * (length if rides > 0 else 0):<{half_width}}"
        for length, (_, rides) in zip(lengths, terms, strict=True)
    ]


def svg(drawing: Drawing) -> str:
    """The drawing as an SVG document without outside resources."""
    height = SVG_ROW * (len(drawing.terms) + 4)
    middle, reach = (SVG_LABEL + SVG_WIDTH - SVG_VALUE) / 2, (SVG_WIDTH - SVG_VALUE - SVG_LABEL) / 2 - 8
    most = max((abs(rides) for _, rides in drawing.terms), default=0.0) or 1.0
    size = f'width="{SVG_WIDTH}" height="{height}" viewBox="0 0 {SVG_WIDTH} {height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13" fill="#14171c">',
        f"<title>{escape(drawing.title)}</title>",
        f'<rect width="{SVG_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="{SVG_ROW}" font-weight="bold">{escape(drawing.title)}</text>',
    ]
    rows = [(drawing.base, "b"), *((term, "") for term in drawing.terms), (drawing.served, "b")]
    for place, ((words, rides), kind) in enumerate(rows):
        y = SVG_ROW * (place + 2.4)
        weight = ' font-weight="bold"' if kind else ""
        shown = f"{rides:.3f}" if kind else f"{rides:+.3f}"
        lines.append(f'<text x="12" y="{y:.1f}"{weight}>{escape(words)}</text>')
        lines.append(f'<text x="{SVG_WIDTH - 12}" y="{y:.1f}" text-anchor="end"{weight}>{shown}</text>')
        if not kind:
            width = reach * abs(rides) / most
            left, colour = (middle, MORE) if rides > 0 else (middle - width, LESS)
            lines.append(f'<rect x="{left:.1f}" y="{y - 11:.1f}" width="{width:.1f}" height="14" fill="{colour}"/>')
    top, bottom = SVG_ROW * 2.8, SVG_ROW * (len(drawing.terms) + 2.8)
    lines.append(f'<line x1="{middle:.1f}" y1="{top:.1f}" x2="{middle:.1f}" y2="{bottom:.1f}" stroke="#636b76"/>')
    return "\n".join((*lines, "</svg>\n"))
