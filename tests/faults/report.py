"""Runs the tests of the table of faults and all long ones, and prints what was expected and what was seen (`make faults`).

A plugin: `python -m pytest tests -p tests.faults.report -m "not bench and not interop"` leaves out every other test,
shows progress, and writes the table to `build/faults.md`.
"""

import time
from collections import defaultdict

import pytest

from tests.faults.row import Row
from tests.faults.seen import PROPERTY
from tests.faults.table import ROWS, rows_of
from tests.tree import ROOT

OUT = ROOT / "build" / "faults.md"


class Progress:
    """The tests of this run: how many there are, and how each ended."""

    def __init__(self) -> None:
        self.total = 0
        self.began_s = time.monotonic()
        self.spent_s: dict[str, float] = defaultdict(float)
        self.failed: dict[str, str] = {}
        self.seen: dict[str, str] = {}
        self.ended: list[str] = []

    def note(self, report: pytest.TestReport) -> str:
        """Take in a report of a phase of a test; returns the line for it, if the test has ended."""
        self.spent_s[report.nodeid] += report.duration
        if report.failed:
            self.failed[report.nodeid] = report.when or ""
        if report.when != "teardown":
            return ""
        for name, value in report.user_properties:
            if name == PROPERTY and value:
                self.seen[report.nodeid] = str(value)
        self.ended.append(report.nodeid)
        minutes, seconds = divmod(int(time.monotonic() - self.began_s), 60)
        how = "FAILED" if report.nodeid in self.failed else "held"
        return f"[{len(self.ended)}/{self.total}, {minutes}:{seconds:02d}] {how} in {self.spent_s[report.nodeid]:.1f} s: {report.nodeid}"

    def outcome(self, row: Row) -> str:
        """What was seen of a row."""
        mine = [name for name in self.ended if row in rows_of(name)]
        if not mine:
            return "not run"
        failed = [name for name in mine if name in self.failed]
        spent_s = sum(self.spent_s[name] for name in mine)
        if failed:
            return f"FAILED in {spent_s:.1f} s: {', '.join(failed)}"
        tests = f" ({len(mine)} tests)" if len(mine) > 1 else ""
        said = " / ".join(dict.fromkeys(self.seen[name] for name in mine if name in self.seen))
        return f"held in {spent_s:.1f} s{tests}" + (f": {said}" if said else "")

    def table(self) -> str:
        """The table as Markdown, by group."""
        lines = ["# Faults: expected and seen", ""]
        for group in dict.fromkeys(row.group for row in ROWS):
            lines += [f"## {group}", "", "| fault | expected | seen |", "|---|---|---|"]
            lines += [f"| {cell(row.fault)} | {cell(row.expected)} | {cell(self.outcome(row))} |" for row in ROWS if row.group == group]
            lines.append("")
        return "\n".join(lines)


def cell(text: str) -> str:
    """Text that may stand in a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--seed N`, also several times: orders of faults other than the usual three."""
    parser.addoption("--seed", type=int, action="append", dest="seeds", metavar="N", help="order of faults in tests/faults/test_hour.py")


def pytest_configure(config: pytest.Config) -> None:
    """Begin a run."""
    config.stash[PROGRESS] = Progress()


PROGRESS = pytest.StashKey[Progress]()


@pytest.hookimpl(trylast=True)  # behind `-m`
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of the table and the long ones."""
    kept = [item for item in items if item.get_closest_marker("long") or rows_of(item.nodeid)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


def pytest_collection_finish(session: pytest.Session) -> None:
    """Count them."""
    session.config.stash[PROGRESS].total = len(session.items)


class Lines:
    """Shows how each test ended."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Show the line of a test that has ended."""
        line = self._config.stash[PROGRESS].note(report)
        shown = self._config.pluginmanager.get_plugin("terminalreporter")
        if line and shown is not None:
            shown.ensure_newline()
            shown.write_line(line)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Show progress from here on."""
    session.config.pluginmanager.register(Lines(session.config))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table, and write it to a file."""
    table = config.stash[PROGRESS].table()
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(table, "utf-8")
    terminalreporter.write_sep("=", "faults")
    terminalreporter.write_line(table)
    terminalreporter.write_line(f"written to {OUT.relative_to(ROOT)}")
