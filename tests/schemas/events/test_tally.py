"""Tallies of intake: they add up, survive their file, and are described in one line."""

import pytest

from schemas.errors import DamagedError
from schemas.events.tally import Example, IntakeTally, Totals, tally_from_json, totals_of

TALLY = IntakeTally(
    3, 1, 2, 40, {"nyc": Totals(10, 7, 1, 6, {"bad_id": 2}, {"other_region": 1})}, {"bad_id": Example(4, "what", "why")}, {"boston": 1}
)


def test_a_tally_is_read_as_it_was_written() -> None:
    """Every field survives JSON."""
    assert TALLY == tally_from_json(TALLY.to_json(), where="here")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"regions": {}}', TALLY.to_json().replace("bad_id", "x").replace('"offset"', '"of"')]
)
def test_another_text_is_refused(text: str) -> None:
    """A text that is not a tally names the place it came from."""
    with pytest.raises(DamagedError, match="here: expected the tally of a partition"):
        tally_from_json(text, where="here")


def test_partitions_add_up_per_region() -> None:
    """Totals of several partitions are summed for one region, and a region that none of them has is all zero."""
    other = IntakeTally(4, 1, 2, regions={"nyc": Totals(5, rejected={"undecodable": 4, "bad_id": 1}), "tehran": Totals(9)})
    found = totals_of([TALLY, other], "nyc")
    assert (15, 7, 1, 6) == (found.received, found.accepted, found.duplicate, found.counted)
    assert ({"bad_id": 3, "undecodable": 4}, {"other_region": 1}, 7) == (found.rejected, found.uncounted, found.refused)
    assert found.words() == "15 events read, 7 accepted, 7 rejected (4 undecodable, 3 bad_id)"
    assert Totals() == totals_of([TALLY, other], "paris")


def test_names_of_partials_are_understood() -> None:
    """Totals under the names of a partial are sorted into reasons and numbers."""
    found = Totals()
    for _ in range(2):
        found.add({"received": 3, "accepted": 2, "rejected.bad_fare": 1, "uncounted.other_kind": 2, "rejected.bad_id": 0})
    assert Totals(6, 4, 0, 0, {"bad_fare": 2}, {"other_kind": 4}) == found
