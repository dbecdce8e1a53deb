"""The areas of a simulated city: every cell of it has a class of each attribute, and the same seed gives the same."""

import numpy as np
import pytest

from schemas.configuration.areas import NO_CLASS, areas_from_json
from schemas.regions import load_region
from state.simulation.city import build_city
from state.simulation.quarters import quarters_of

REGION = load_region("tehran")


@pytest.mark.parametrize("seed", [0, 7])
def test_every_cell_has_a_class_of_each_attribute(seed: int) -> None:
    """The quarters cover the city, at least two classes of each attribute have cells, and half of the rides are in the centre."""
    areas, city = quarters_of(REGION, seed), build_city(REGION, seed)
    groups = areas.of(city.cells)
    assert (groups.codes != NO_CLASS).all()
    assert ("income", "position", "transit") == areas.attributes
    weight = [float(city.weight[groups.codes[areas.attributes.index(name)] == code].sum()) for code, (name, _) in enumerate(groups.names)]
    assert min(weight) > 0.03
    assert 0.5 == pytest.approx(weight[areas.groups.index(("position", "centre"))], abs=0.05)


def test_the_centre_is_in_the_middle() -> None:
    """Central cells lie closer to the middle of all rides than any other."""
    city = build_city(REGION, 7)
    areas = quarters_of(REGION, 7)
    codes = areas.of(city.cells).codes[areas.attributes.index("position")]
    east = (city.lon - city.weight @ city.lon) * np.cos(np.radians(city.weight @ city.lat))
    away = np.hypot(city.lat - city.weight @ city.lat, east)
    centre = codes == areas.groups.index(("position", "centre"))
    assert away[centre].max() <= away[~centre].min() + 1e-12


def test_the_same_seed_gives_the_same_quarters_as_a_file() -> None:
    """The quarters of a seed are an areas file of the region; another seed gives others."""
    areas = quarters_of(REGION, 7)
    assert areas == quarters_of(REGION, 7) == areas_from_json(areas.to_json(), REGION, where="a test")
    assert areas != quarters_of(REGION, 8)
