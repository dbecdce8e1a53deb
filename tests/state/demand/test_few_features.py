"""Features for cells with few rides by value, and alone as in any company."""

import math

import numpy as np
import pytest

from schemas.regions import Region
from state.demand.features import build
from state.demand.few_features import FEW_FEATURES
from state.demand.tables import TABLES
from tests.state.demand.small_city import CELLS, FIVE, HOUR, city

TABLE = TABLES[3]
NAMES = list(TABLE.names)


@pytest.mark.parametrize(
    ("region", "slots", "ahead"), [(FIVE, 9 * 288 + 100, (("first", 3), ("middle", 6), ("last", 12))), (HOUR, 24 * 24 + 11, ())]
)
def test_other_smoothings_fade_with_the_rides_of_the_profile(region: Region, slots: int, ahead: tuple[tuple[str, int], ...]) -> None:
    """Each is the log ratio of the second table, divided by 1 and the rides that the profile expects in 40 minutes."""
    made = city(region, "2014-03-08", slots, outages=(), late=False, tracked=True)
    matrix = build(made.history, made.calendar, made.history.next_slot - 1, made.columns(CELLS), TABLE)
    horizons = ahead or tuple(zip(("first", "middle", "last"), region.horizons, strict=True))
    seen = set()
    for name, horizon in horizons:
        for kind in ("60_0.9_0.5", "120_0.9_0.3", "60_0.3_2"):
            seen.add(f"variant_few_{kind}_{name}")
            faded, whole, profile = (
                matrix[:, NAMES.index(column)].astype(float)
                for column in (f"variant_few_{kind}_{name}", f"variant_{kind}_{name}", f"log_profile_{name}")
            )
            expected = [w / (1 + math.exp(p) / horizon * 40 / region.slot_min) for w, p in zip(whole, profile, strict=True)]
            assert expected == pytest.approx(faded.tolist(), rel=1e-4, abs=1e-5)
            assert np.ptp(faded) > 0
    assert seen == {feature.name for feature in FEW_FEATURES}


def test_a_value_depends_on_no_other_cell_of_the_build() -> None:
    """A cell alone has the same bits in every column of the table as among all others."""
    made = city(HOUR, "2014-03-08", 24 * 20, outages=(), late=False, tracked=True)
    at = made.history.next_slot - 1
    columns = made.columns(CELLS)
    together = build(made.history, made.calendar, at, columns, TABLE)
    for i in range(len(columns)):
        assert together[i].tobytes() == build(made.history, made.calendar, at, columns[i : i + 1], TABLE)[0].tobytes()


def test_linear_models_of_the_third_table_have_them() -> None:
    """One of each kind per horizon is an input of the linear model and of the trees."""
    for ahead in range(3):
        for linear in (True, False):
            assert 3 == sum(NAMES[i].startswith("variant_few_") for i in TABLE.columns(ahead, linear=linear))
