"""Files of tallies in a home: each whole, those of an earlier run removed, and unreadable ones left out."""

from pathlib import Path

from ledger.store.tally_files import clear_tallies, read_tallies, write_tally
from schemas.events.tally import IntakeTally, Totals


def test_tallies_are_read_by_partition(tmp_path: Path) -> None:
    """Each partition has one file, whose newest content is read, and nothing else lies in the folder."""
    for partition in (10, 2, 2):
        write_tally(tmp_path, IntakeTally(partition, 1, 2, regions={"nyc": Totals(partition)}))
    assert [2, 10] == [tally.partition for tally in read_tallies(tmp_path)]
    assert ["10.json", "2.json"] == sorted(path.name for path in (tmp_path / "intake").iterdir())


def test_what_is_no_tally_is_left_out(tmp_path: Path) -> None:
    """A home without tallies has none, and a file that is damaged, foreign or a folder hides no other."""
    assert [] == read_tallies(tmp_path)
    write_tally(tmp_path, IntakeTally(1, 1, 2))
    (tmp_path / "intake" / "0.json").write_bytes(b"\xff{")
    (tmp_path / "intake" / "7.json").mkdir()
    (tmp_path / "intake" / "x.json").write_text("{}")
    assert [1] == [tally.partition for tally in read_tallies(tmp_path)]


def test_a_new_run_starts_without_tallies(tmp_path: Path) -> None:
    """Tallies are removed, and removing none is no error."""
    clear_tallies(tmp_path)
    write_tally(tmp_path, IntakeTally(1, 1, 2))
    clear_tallies(tmp_path)
    assert [] == read_tallies(tmp_path)
