"""A log folded in memory: equal to a fold from the start at any time, through other writers and other origins."""

from pathlib import Path

import pytest

from ledger.store.continuing import continue_log
from ledger.store.log import Ledger
from ledger.views.folded import Folded
from schemas.records.record_codec import decode
from schemas.records.records import ModelPromoted, Record, SlotScored
from tests.ledger.places import LOG, Place as Home, scored

Seen = tuple[int, ...]


def folded(ledger: Ledger) -> Folded[Seen]:
    """A fold that keeps the indexes of the scores."""
    return Folded(ledger, LOG, tuple, lambda seen, index, record: (*seen, index), [SlotScored])


def grow(ledger: Ledger, count: int) -> None:
    """Append some scores."""
    size = ledger.head(LOG).size
    ledger.append(LOG, size, [scored(size + at) for at in range(count)])


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The place of an empty ledger."""
    return Home(tmp_path)


def test_a_fold_grows_with_its_log(home: Home) -> None:
    """Every entry is folded once, however often one asks."""
    ledger = home.open()
    one = folded(ledger)
    assert () == one.latest() == one.latest()
    grow(ledger, 3)
    assert (0, 1, 2) == one.latest() == one.latest()
    grow(ledger, 1_500)
    assert tuple(range(1_503)) == one.latest() == folded(ledger).latest()
    home.close()


def test_a_fold_begins_again_when_its_log_has_another_origin(home: Home) -> None:
    """What is not part of the log any more is forgotten, also if the new log is as long as the old one was."""
    ledger = home.open()
    grow(ledger, 8)
    one = folded(ledger)
    assert 8 == len(one.latest())
    home.close()
    home.set_back(3)
    ledger = home.open()
    one = folded(ledger)
    assert (0, 1, 2) == one.latest()
    continue_log(ledger, LOG, "restored from a copy")
    assert (0, 1, 2) == one.latest()
    grow(ledger, 4)
    assert one.latest() == folded(ledger).latest()
    assert 7 == len(one.latest())
    home.close()


def test_a_decision_sees_what_others_appended(home: Home) -> None:
    """A decision that another writer overtakes is taken again on the log with that writer's entries, and appended once."""
    ledger, other = home.open(), home.open()
    one, asked = folded(ledger), list[Seen]()

    def decide(seen: Seen) -> list[Record]:
        asked.append(seen)
        if len(asked) == 1:
            grow(other, 2)
        return [decode(scored(99))]

    [appended] = one.append(decide)
    assert isinstance(appended, SlotScored)
    assert [(), (0, 1)] == asked
    assert 3 == len(one.latest()) == sum(not isinstance(stored.record, ModelPromoted) for stored in other.scan(LOG, 0, None, SlotScored))
    assert [] == one.append(lambda seen: [])
    home.close()
