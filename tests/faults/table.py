"""The table of faults: what may go wrong around Ridecast, what must happen then, and which tests show it on real servers and files.

`make faults` runs all of it and prints what was seen; `docs/faults.md` shows the table and is written by
`python -m tests.faults.table --write`. The fixture `seen` (`tests/faults/seen.py`) makes sure that each test of a row
compares what was kept, and reads the words that the row says an operator is told.
"""

import sys

from tests.faults import rows_of_outages, rows_of_strangers
from tests.faults.row import Row
from tests.tree import ROOT

PAGE = ROOT / "docs" / "faults.md"
INTRODUCTION = """\
What may go wrong around Ridecast, what it does then, and words of the line that an operator reads. Each row is shown by tests on real
servers or files, which also compare what must neither be lost nor be there twice. `make faults` runs them all, prints what was seen, and
writes it to `build/faults.md`. Rows with a star run in `make test` too. This page is written by `python -m tests.faults.table --write`."""

ROWS: tuple[Row, ...] = (*rows_of_outages.ROWS, *rows_of_strangers.ROWS)


def rows_of(name: str) -> list[Row]:
    """The rows that a test, by its node id, belongs to."""
    return [row for row in ROWS if name in row.tests or name.partition("[")[0] in row.tests]


def page() -> str:
    """The table as a page of the documentation."""
    lines = ["# Faults", "", INTRODUCTION]
    for group in dict.fromkeys(row.group for row in ROWS):
        lines += ["", f"## {group}", "", "| fault | expected | told |", "|---|---|---|"]
        for row in ROWS:
            if row.group == group:
                told = f"`{row.told.strip()}`" if row.told else f"({row.apart})"
                kept = "" if row.kept else f" ({row.apart})"
                lines.append(f"| {row.fault}{' *' if row.ci else ''} | {row.expected}{kept} | {told} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        raise SystemExit("usage: python -m tests.faults.table --write")
    PAGE.write_text(page(), "utf-8")
    print(PAGE)
