"""Which regions a ledger holds, and how each is defined."""

import pytest

from ledger.views.regions import region_of, regions_of
from schemas.errors import NotFound
from tests.api.town import Town


def test_regions_are_those_with_a_log(growing_town: Town) -> None:
    """Regions are named in order, without the prefix of their logs, and other logs are none; a definition is as recorded."""
    ledger = growing_town.ledger
    names = regions_of(ledger)
    assert "nyc" in names
    assert sorted(f"region/{name}" for name in names) == [log for log in ledger.logs() if log not in ("control", "runs")]
    assert growing_town.region == region_of(ledger, "nyc")


def test_a_region_that_was_never_bootstrapped_has_no_definition(growing_town: Town) -> None:
    """What to do about it is part of the message."""
    with pytest.raises(NotFound, match=r"region atlantis: not bootstrapped in this home; run `ridecast bootstrap"):
        region_of(growing_town.ledger, "atlantis")
