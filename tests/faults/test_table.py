"""The table of faults is whole: its tests exist, use real servers or files, and check what the rows say."""

import ast
from collections.abc import Mapping

import pytest

from tests.faults.table import PAGE, ROWS, page, rows_of
from tests.tree import ROOT

LEAST_ROWS = 30
# What only a process, a server or a file of its own provides.
REAL = ("kafka", "postgres", "redis", "tmp_path", "settled", "fed", "grown", "replaced", "place", "copy", "town", "growing_town")


@pytest.fixture(scope="module")
def collected(request: pytest.FixtureRequest) -> Mapping[str, pytest.Function]:
    """Every test of the files that the table names, by node id, whatever this session runs."""
    files = sorted({test.partition("::")[0] for row in ROWS for test in row.tests})
    found: dict[str, pytest.Function] = {}
    for name in files:
        module = pytest.Module.from_parent(request.session, path=ROOT / name, nodeid=name)
        found |= {item.nodeid: item for item in request.session.genitems(module) if isinstance(item, pytest.Function)}
    return found


def test_every_row_has_its_tests(collected: Mapping[str, pytest.Function]) -> None:
    """Each node id is that of a collected test, and it is long exactly if the row is not part of CI."""
    for row in ROWS:
        for test in row.tests:
            items = [item for name, item in collected.items() if test in (name, name.partition("[")[0])]
            assert items, f"{row.fault}: there is no test {test}"
            assert {row.ci} == {item.get_closest_marker("long") is None for item in items}, test
            assert not any(item.get_closest_marker(name) for item in items for name in ("bench", "interop")), test


def test_every_test_says_what_it_saw(collected: Mapping[str, pytest.Function]) -> None:
    """Each test of a row uses the fixture that demands its checks, and a real server, process or file."""
    for name, item in collected.items():
        if rows_of(name):
            assert "seen" in item.fixturenames, name
            assert any(fixture.startswith(REAL) for fixture in item.fixturenames), name


def test_there_are_enough_rows() -> None:
    """At least thirty rows, a third of them in CI, no fault twice; a row without one of its checks says why."""
    assert len(ROWS) >= LEAST_ROWS
    assert 3 * sum(row.ci for row in ROWS) >= len(ROWS)
    assert len(ROWS) == len({row.fault for row in ROWS})
    assert [] == [row.fault for row in ROWS if (not row.kept or not row.told) != bool(row.apart)]


def test_the_tests_of_ci_are_run_by_make() -> None:
    """`make test` leaves out no test but those marked, and `make faults` runs the table."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    [tests] = [line for line in makefile.splitlines() if "-m pytest" in line and "--cov " in line]
    [at_once] = [line for line in makefile.splitlines() if line.startswith("AT_ONCE")]
    assert " -m " not in tests.partition("-m pytest")[2] + at_once
    assert "-p tests.faults.report -m 'not bench and not interop'" in makefile


def test_the_page_is_the_table() -> None:
    """docs/faults.md is what the table says; `python -m tests.faults.table --write` writes it again."""
    assert page() == PAGE.read_text("utf-8")


def test_every_user_of_the_fixture_is_in_the_table() -> None:
    """A test that says what it saw belongs to a row, so that it is shown."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and "seen" in {arg.arg for arg in node.args.args}:
                name = f"{path.relative_to(ROOT)}::{node.name}"
                assert any(test.partition("[")[0] == name for row in ROWS for test in row.tests), name
