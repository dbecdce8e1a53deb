"""Which events are accepted: every rule at its exact bound, and the first broken one named."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from schemas.events.rides import Reason, RideBatch
from schemas.regions import Region, RegionId
from state.counting.intake import REASONS, validate

SQUARE = Region(RegionId("square"), "UTC", ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0)))
FAR = Region(RegionId("far"), "UTC", ((10.0, 10.0), (10.0, 11.0), (11.0, 11.0), (11.0, 10.0)))
SKEW_S = 300
NOW_US = 1_400_000_000_000_000
YEAR_2000_US, YEAR_2100_US = 946_684_800_000_000, 4_102_444_800_000_000

GOOD = RideBatch(
    0,
    np.array([7]),
    np.array([1], np.uint64),
    np.zeros(1, np.uint8),
    np.array([NOW_US]),
    np.array([NOW_US]),
    np.zeros(1, np.int16),
    np.array([0.5]),
    np.array([0.5]),
    np.zeros(1, np.bool_),
    np.zeros(1, np.bool_),
)


def verdict(**changes: object) -> Reason | None:
    """The verdict on one event with some fields changed."""
    arrays: dict[str, Any] = {name: np.array([value], getattr(GOOD, name).dtype) for name, value in changes.items()}
    [code] = validate(dataclasses.replace(GOOD, **arrays), (SQUARE, FAR), SKEW_S).tolist()
    return None if code < 0 else REASONS[code]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"bad_id": True}, Reason.BAD_ID),
        ({"region": -1}, Reason.UNKNOWN_REGION),
        ({"occurred_at_us": YEAR_2000_US}, None),
        ({"occurred_at_us": YEAR_2000_US - 1}, Reason.TIME_OUT_OF_BOUNDS),
        ({"occurred_at_us": YEAR_2100_US - 1, "logged_at_us": YEAR_2100_US}, None),
        ({"occurred_at_us": YEAR_2100_US, "logged_at_us": YEAR_2100_US}, Reason.TIME_OUT_OF_BOUNDS),
        ({"occurred_at_us": NOW_US + SKEW_S * 1_000_000}, None),
        ({"occurred_at_us": NOW_US + SKEW_S * 1_000_000 + 1}, Reason.AHEAD_OF_LOG),
        ({"lat": 1.5}, Reason.OUTSIDE_REGION),
        ({"region": 1}, Reason.OUTSIDE_REGION),
        ({"region": 1, "lat": 10.5, "lon": 10.5}, None),
        ({"bad_fare": True}, Reason.BAD_FARE),
    ],
)
def test_every_rule_holds_at_its_bound(changes: dict[str, object], reason: Reason | None) -> None:
    """An event is accepted up to the bound, and rejected for the right reason beyond it."""
    assert reason == verdict(**changes)


def test_the_first_broken_rule_is_named() -> None:
    """An event that breaks several rules gets the reason of the first one in their order."""
    broken: dict[str, object] = {}
    for changes, reason in (
        ({"bad_fare": True}, Reason.BAD_FARE),
        ({"lat": 5.0}, Reason.OUTSIDE_REGION),
        ({"logged_at_us": NOW_US - 10**12}, Reason.AHEAD_OF_LOG),
        ({"occurred_at_us": YEAR_2100_US}, Reason.TIME_OUT_OF_BOUNDS),
        ({"region": -1}, Reason.UNKNOWN_REGION),
        ({"bad_id": True}, Reason.BAD_ID),
    ):
        broken |= changes
        assert reason == verdict(**broken)


def test_rows_are_judged_by_themselves() -> None:
    """In a batch of both regions each event is checked with the polygon of its own region."""
    names = ("offset", "event_hash", "kind", "occurred_at_us", "logged_at_us", "bad_id", "bad_fare")
    same: dict[str, Any] = {name: np.repeat(getattr(GOOD, name), 4) for name in names}
    batch = dataclasses.replace(
        GOOD,
        **same,
        region=np.array([0, 1, 0, 1], np.int16),
        lat=np.array([0.5, 10.5, 10.5, 0.5]),
        lon=np.array([0.5, 10.5, 10.5, 0.5]),
    )
    outside = REASONS.index(Reason.OUTSIDE_REGION)
    assert [-1, -1, outside, outside] == validate(batch, (SQUARE, FAR), SKEW_S).tolist()
