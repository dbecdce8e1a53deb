"""The kept list of mutants is whole: each edit still finds its text, and each names tests that exist."""

from tests.mutant_lists import MUTANTS, Mutant
from tests.mutant_worker import ROOT, Outcome
from tests.mutants import likely, remembered, third


def test_every_mutant_can_still_be_made() -> None:
    """The text that a mutant replaces occurs exactly once, and what takes its place is something else."""
    counts = {mutant.what: (ROOT / mutant.file).read_text("utf-8").count(mutant.old) for mutant in MUTANTS}
    assert dict.fromkeys(counts, 1) == counts
    assert len(MUTANTS) == len(counts) >= 150
    assert all(mutant.old != mutant.new and mutant.tests and all(is_there(name) for name in mutant.tests) for mutant in MUTANTS)


def test_hardly_any_mutant_is_argued_away() -> None:
    """At least 95 of 100 must be noticed by a test."""
    assert 20 * sum(bool(mutant.argued) for mutant in MUTANTS) <= len(MUTANTS)


def test_a_third_takes_what_changed_and_then_turns() -> None:
    """Mutants of changed files come first; the rest is another choice at every commit, the same at the same one, and all get their turn."""
    mutants = [Mutant(str(number), f"file{number % 10}", "", "", ()) for number in range(100)]
    chosen = third(mutants, {"file3"}, "some commit")
    assert 34 == len(chosen)
    assert {mutant.what for mutant in mutants if mutant.file == "file3"} == {mutant.what for mutant in chosen[:10]}
    assert chosen == third(mutants[::-1], {"file3"}, "some commit")
    seen = {mutant.what for turn in range(30) for mutant in third(mutants, set(), str(turn))}
    assert 100 == len(seen)


def test_only_a_test_of_the_mutant_runs_first() -> None:
    """What is noted runs first if it is in one of the mutant's files, or is the one test that the mutant names."""
    of_a_file, of_a_test = (Mutant("x", "f.py", "", "", (tests,)) for tests in ("tests/test_a.py", "tests/test_a.py::test_b"))
    found = [
        likely(mutant, {"x": test}) for mutant in (of_a_file, of_a_test) for test in ("tests/test_a.py::test_b", "tests/test_a.py::test_c")
    ]
    assert ["tests/test_a.py::test_b", "tests/test_a.py::test_c", "tests/test_a.py::test_b", ""] == found
    assert ["", ""] == [likely(of_a_file, {"x": "tests/test_other.py::test_b"}), likely(of_a_file, {})]


def test_what_noticed_a_mutant_is_remembered() -> None:
    """A newer test takes the place of an older, a mutant that ran on keeps what was noted, and one that is gone is forgotten."""
    one, other, *_ = MUTANTS
    outcomes = [Outcome(one, "tests/test_a.py::test_new[x::y]", "", 1.0), Outcome(other, "runs on for more than 120 s", "", 120.0)]
    noted = {one.what: "tests/test_a.py::test_old", other.what: "tests/test_b.py::test_old", "gone": "tests/test_c.py::test_old"}
    assert {one.what: "tests/test_a.py::test_new", other.what: "tests/test_b.py::test_old"} == remembered(noted, outcomes)


def is_there(name: str) -> bool:
    """Whether a file of tests exists, and in it the test that is named, if one is."""
    file, _, test = name.partition("::")
    return (ROOT / file).is_file() and (not test or f"def {test.partition('[')[0]}(" in (ROOT / file).read_text("utf-8"))
