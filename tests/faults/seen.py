"""What a test of a fault saw: that nothing is lost or double, and what the operator was told; the fixture `seen` demands both."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import pytest

from tests.faults.table import rows_of

T = TypeVar("T", bound=Hashable)
PROPERTY = "seen"  # of the report of a test: what the table of faults shows
LONGEST_LINE = 220
TEMPORARY = re.compile(r"/\S*/(?=pytest-)[^/\s]+(?:/[^/\s]+){0,2}")


class Seen:
    """Checks that a fault did no harm, and keeps in words what was checked.

    Attributes:
        kept: What was compared, with its number: nothing of it was lost or double.
        others: What else was seen.
        lines: What the operator was told.
        shown: The same for a table.
    """

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.others: list[str] = []
        self.lines: list[str] = []
        self.shown: list[str] = []

    def same(self, expected: Iterable[T] | Mapping[T, int], found: Iterable[T] | Mapping[T, int], what: str) -> None:
        """Assert that everything that is expected was found once, and nothing else; sequences in the same order too."""
        wanted, got = Counter(expected), Counter(found)
        lost, double = wanted - got, got - wanted
        assert (0, 0) == (lost.total(), double.total()), f"{what}: lost {list(lost)[:3]}, double or foreign {list(double)[:3]}"
        if isinstance(expected, Sequence) and isinstance(found, Sequence):
            assert list(expected) == list(found), f"{what}: in another order"
        self.checked(wanted.total(), what)

    def checked(self, number: int, what: str) -> None:
        """Keep that so many things were found equal, one by one, by assertions of the test's own."""
        assert number > 0, f"nothing was compared: {what}"
        self.kept.append(f"{number:,} {what}")

    def noted(self, what: str) -> None:
        """Keep something else that was seen."""
        self.others.append(what)

    def told(self, text: object, words: str) -> str:
        """Assert that what the operator reads has a line with these words; returns the line."""
        lines = [line.strip() for line in str(text).splitlines() if words in line]
        assert lines, f"expected a line with {words!r} in:\n{str(text)[-3_000:]}"
        self.lines.append(lines[0])
        self.shown.append(around(lines[0], words))
        return lines[0]

    def __str__(self) -> str:
        kept = [f"{what}: 0 lost, 0 double" for what in self.kept]
        return "; ".join(kept + self.others + [f"“{line}”" for line in dict.fromkeys(self.shown)])


def around(line: str, words: str) -> str:
    """A line for a table: without the folder of the test, and not too long around the words."""
    line = TEMPORARY.sub("HOME", line)
    start = max(0, min(line.find(words) - LONGEST_LINE // 3, len(line) - LONGEST_LINE))
    cut = line[start : start + LONGEST_LINE]
    return f"{'…' if start else ''}{cut}{'…' if start + LONGEST_LINE < len(line) else ''}"


@pytest.fixture
def seen(request: pytest.FixtureRequest) -> Iterator[Seen]:
    """What the test sees; at its end, what its rows in the table of faults demand must have been checked."""
    found, failed = Seen(), request.session.testsfailed
    yield found
    request.node.user_properties.append((PROPERTY, str(found)))
    if request.session.testsfailed > failed:
        return  # the test itself says what is wrong
    for row in rows_of(request.node.nodeid):
        assert found.kept or not row.kept, f"{row.fault}: no check that nothing is lost or double"
        assert not row.told or any(row.told in line for line in found.lines), (
            f"{row.fault}: expected the words {row.told!r}, told was {found.lines}"
        )
