"""What a measure asks for and what was seen, as rows of a table."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Result:
    """One number of a measure.

    Attributes:
        name: What was measured.
        seen: The number.
        floor: What it must reach, None for a number that is only shown.
        aim: What it should reach.
        at_least: Larger is better; by default smaller is.
    """

    name: str
    seen: float
    floor: float | None = None
    aim: float | None = None
    at_least: bool = False

    @property
    def verdict(self) -> str:
        """`aim`, `floor` or `missed`; empty for a number that is only shown."""
        if self.floor is None:
            return ""
        if self.aim is not None and self._reaches(self.aim):
            return "aim"
        return "floor" if self._reaches(self.floor) else "missed"

    def _reaches(self, bound: float) -> bool:
        return self.seen >= bound if self.at_least else self.seen <= bound

    def to_json(self) -> dict[str, Any]:
        """The row with its verdict."""
        return asdict(self) | {"verdict": self.verdict}


def table_of(title: str, results: Iterable[Result]) -> Table:
    """The rows as a table for the terminal.

    >>> table_of("a measure", [Result("wape", 0.42, 0.43, 0.41)]).row_count
    1
    """
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("measure", "seen", "floor", "aim", "verdict"):
        table.add_column(name, justify="left" if name in ("measure", "verdict") else "right", no_wrap=name != "measure")
    for result in results:
        numbers = (f"{value:.4g}" if value is not None else "" for value in (result.seen, result.floor, result.aim))
        table.add_row(result.name, *numbers, result.verdict, style="bold red" if result.verdict == "missed" else None)
    return table
