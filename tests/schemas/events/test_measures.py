"""What demand means: the table of measures fits the events, the regions and what people read."""

import pytest

from schemas.encoding.avro_files import released
from schemas.errors import UsageError
from schemas.events.measures import KINDS, MEASURES, RideKind, measure_named
from schemas.regions import load_region, shipped_regions
from tests.tree import ROOT


def test_each_measure_counts_one_step_of_a_ride() -> None:
    """A row is found by its name, counts a kind that events can have, and no two count the same."""
    symbols = next(field["type"]["symbols"] for field in released("ride_event.v1")["fields"] if field["name"] == "kind")
    assert symbols == [str(kind) for kind in KINDS]
    expected = {
        "requests": RideKind.REQUESTED,
        "pickups": RideKind.STARTED,
        "dropoffs": RideKind.COMPLETED,
        "cancellations": RideKind.CANCELLED,
        "unserved": RideKind.UNSERVED,
    }
    assert expected == {name: row.kind for name, row in MEASURES.items()}
    for name, row in MEASURES.items():
        assert name == row.name
        assert row is measure_named(name)
        assert row.meaning


def test_regions_that_ship_count_what_there_is() -> None:
    """Every measure of a shipped region is in the table; New York holds completed trips only, so it counts pickups."""
    for name in shipped_regions():
        assert set(load_region(name).measures) <= set(MEASURES)
    assert ("pickups",) == load_region("nyc").measures


@pytest.mark.parametrize("name", ["", "Pickups", "rides", "requests "])
def test_an_unknown_measure_is_refused(name: str) -> None:
    """The message lists what there is, and what came."""
    with pytest.raises(UsageError, match=rf"measure: expected one of requests, pickups, dropoffs, cancellations, unserved, got '{name}'"):
        measure_named(name)


def test_the_word_is_explained() -> None:
    """The architecture page says what a measure is."""
    assert "*measure* (what is counted as demand)" in (ROOT / "docs" / "architecture.md").read_text("utf-8")
