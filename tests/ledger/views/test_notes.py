"""The checkpoint that covers an entry: waited for, as long as one says."""

from pathlib import Path

import pytest

from ledger.formats.checkpoint import parse_checkpoint
from ledger.formats.note import parse_note
from ledger.views.notes import PAUSE_S, covering_note
from tests.ledger.places import LOG, Place, scored


def test_a_checkpoint_that_covers_the_entry_is_not_waited_for(tmp_path: Path) -> None:
    """What is signed already is there at once, and holds the entry."""
    place = Place(tmp_path)
    ledger = place.open()
    ledger.append(LOG, 0, [scored(0), scored(1)])
    ledger.flush()
    waits: list[float] = []
    note = covering_note(ledger, LOG, 1, waits.append)
    assert note is not None
    assert (2, []) == (parse_checkpoint(parse_note(note)[0]).size, waits)
    place.close()


def test_a_checkpoint_that_comes_meanwhile_is_found(tmp_path: Path) -> None:
    """Each look is a pause after the last, until a checkpoint covers the entry."""
    place = Place(tmp_path)
    ledger = place.open()
    waits: list[float] = []

    def wait(pause_s: float) -> None:
        waits.append(pause_s)
        if len(waits) == 3:
            ledger.append(LOG, 0, [scored(0)])
            ledger.flush()

    assert covering_note(ledger, LOG, 0, wait) == ledger.guard.note(LOG)
    assert [PAUSE_S] * 3 == waits
    place.close()


@pytest.mark.parametrize(("for_first", "waited"), [(True, 4), (False, 0)])
def test_a_log_without_a_checkpoint_is_waited_for_on_request(tmp_path: Path, for_first: bool, waited: int) -> None:
    """Where nothing was ever signed, patience ends after its tries, or at once."""
    place = Place(tmp_path)
    waits: list[float] = []
    assert covering_note(place.open(), LOG, 0, waits.append, tries=4, for_first=for_first) is None
    assert waited == len(waits)
    place.close()


def test_an_entry_behind_the_checkpoint_has_none(tmp_path: Path) -> None:
    """An entry that no checkpoint covers after all tries gets none, rather than one that does not hold it."""
    place = Place(tmp_path)
    ledger = place.open()
    ledger.append(LOG, 0, [scored(0)])
    ledger.flush()
    assert covering_note(ledger, LOG, 1, lambda _: None, tries=3) is None
    assert covering_note(ledger, LOG, 0, lambda _: None, tries=3) is not None
    place.close()
