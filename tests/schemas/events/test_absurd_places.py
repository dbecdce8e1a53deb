"""Coordinates that no place on Earth has."""

import numpy as np

from schemas.events.cells import inside


def test_infinite_and_huge_coordinates_lie_nowhere() -> None:
    """Points that are not numbers, infinite or huge lie in no polygon, and raise no warning."""
    absurd = np.array([np.nan, np.inf, -np.inf, 1e308, -1e308, 0.5])
    square = ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0))
    lat, lon = (grid.ravel() for grid in np.meshgrid(absurd, absurd))
    assert [(0.5, 0.5)] == [(lat[at], lon[at]) for at in np.flatnonzero(inside(square, lat, lon))]
