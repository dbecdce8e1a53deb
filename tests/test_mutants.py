"""The kept list of mutants is whole: each edit still finds its text, and each names tests that exist."""

from tests.mutant_list import MUTANTS
from tests.mutants import ROOT


def test_every_mutant_can_still_be_made() -> None:
    """The text that a mutant replaces occurs exactly once, and what takes its place is something else."""
    counts = {mutant.what: (ROOT / mutant.file).read_text("utf-8").count(mutant.old) for mutant in MUTANTS}
    assert dict.fromkeys(counts, 1) == counts
    assert len(MUTANTS) == len(counts) >= 20
    assert all(mutant.old != mutant.new and all((ROOT / name).is_file() for name in mutant.tests) for mutant in MUTANTS)
