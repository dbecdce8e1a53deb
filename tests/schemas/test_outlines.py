"""Outlines of regions: GeoJSON in, and which ones are refused because they cannot work."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from schemas.errors import UsageError
from schemas.outlines import Outline, outline_fault, outline_from_geojson, slug_of
from schemas.regions import load_region, region_from_file

SQUARE = [[2.25, 48.8], [2.42, 48.8], [2.42, 48.91], [2.25, 48.91], [2.25, 48.8]]  # GeoJSON: longitude first, closed
CORNERS = ((48.8, 2.25), (48.8, 2.42), (48.91, 2.42), (48.91, 2.25))
POLYGON = {"type": "Polygon", "coordinates": [SQUARE]}
FEATURE = {"type": "Feature", "properties": {"name": "Île-de-France"}, "geometry": POLYGON}


def plain_crossing(polygon: Outline) -> bool:
    """Whether two edges cross, by comparing each pair in exact whole numbers."""

    def side(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    edges = list(zip(polygon, (*polygon[1:], polygon[0]), strict=True))
    return any(
        side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
        for number, (a, b) in enumerate(edges)
        for other, (c, d) in enumerate(edges)
        if other > number + 1 and (number, other) != (0, len(edges) - 1)
    )


whole = st.integers(-20, 20).map(float)


@given(st.lists(st.tuples(whole, whole), min_size=3, max_size=9).map(tuple).filter(lambda points: points[0] != points[-1]))
def test_polygons_that_cross_themselves_are_found(polygon: Outline) -> None:
    """The vectorised search finds a crossing exactly where the comparison of all pairs does."""
    fault = outline_fault(polygon)
    assert plain_crossing(polygon) == (fault is not None and "crosses itself" in fault)


@pytest.mark.parametrize(
    ("polygon", "fault"),
    [
        (CORNERS, None),
        ((*CORNERS, CORNERS[0]), None),
        (((-17.0, 179.0), (-17.0, -179.0), (-19.0, -179.0), (-19.0, 179.0)), "crosses 180 degrees of longitude"),
        (((0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0)), "crosses itself between vertices 1 to 2 and 3 to 4"),
        (((0.0, 0.0), (1.0, 1.0), (2.0, 2.0)), "has no area"),
        (tuple((i / 1_000, i % 2 / 1_000) for i in range(501)), "expected at most 500 vertices, got 501; simplify it"),
    ],
)
def test_outlines_that_cannot_work(polygon: Outline, fault: str | None) -> None:
    """A usual outline passes, closed or not; others are refused with the reason."""
    found = outline_fault(polygon)
    assert (fault is None) == (found is None)
    assert fault is None or (found is not None and fault in found)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (POLYGON, ()),
        (FEATURE, ("ile-de-france",)),
        (FEATURE | {"id": "idf"}, ("idf", "ile-de-france")),
        ({"type": "FeatureCollection", "features": [FEATURE]}, ("ile-de-france",)),
        (FEATURE | {"properties": None, "geometry": {"type": "MultiPolygon", "coordinates": [[SQUARE]]}}, ()),
        ({"type": "Polygon", "coordinates": [[[*point, 35.0] for point in SQUARE]]}, ()),
    ],
)
def test_geojson_gives_an_outline(value: dict[str, Any], names: tuple[str, ...]) -> None:
    """Every usual form gives the corners as latitude and longitude, without the closing one."""
    found = outline_from_geojson(value, "t")
    assert (CORNERS, names) == (found.polygon, found.names)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"type": "FeatureCollection", "features": [FEATURE, FEATURE]}, "t: expected one feature, got 2; save the outline of one city"),
        ({"type": "MultiPolygon", "coordinates": [[SQUARE], [SQUARE]]}, "t: expected one polygon, got 2; keep the largest one"),
        ({"type": "Polygon", "coordinates": [SQUARE, SQUARE]}, "t: expected a polygon without holes, got 1; remove the inner rings"),
        ({"type": "Point", "coordinates": [2, 48]}, "t: expected a GeoJSON Polygon, got Point"),
        (FEATURE | {"geometry": None}, "t: expected a GeoJSON Polygon, got None"),
        ({"type": "Polygon", "coordinates": [[["a", "b"]]]}, "t: expected pairs of longitude and latitude"),
        ({"type": "Polygon", "coordinates": [[[40.7, -174.0], [40.8, -174.0]]]}, "got [40.7, -174.0]; longitude comes first in GeoJSON"),
        ({"type": "Polygon", "coordinates": [[[583_000, 4_507_000]]]}, "got [583000, 4507000]; use WGS 84"),
    ],
)
def test_other_geojson_is_refused(value: dict[str, Any], said: str) -> None:
    """What is no single polygon in degrees is refused with what to do."""
    with pytest.raises(UsageError) as caught:
        outline_from_geojson(value, "t")
    assert said in str(caught.value)


@given(st.text())
def test_a_slug_is_an_id_or_nothing(name: str) -> None:
    """Any name becomes an id that a region may have, or an empty text."""
    slug = slug_of(name)
    assert slug == "" or region_from_file(json.dumps({"id": slug, "timezone": "UTC", "polygon": CORNERS}), where="t", name="").id == slug


def test_a_geojson_file_is_a_region(tmp_path: Path) -> None:
    """A file from a map editor is a region: named after its feature or itself, in the zone of its place."""
    asked = []

    def zone_at(lat: float, lon: float) -> str:
        asked.append((round(lat, 3), round(lon, 3)))
        return "Europe/Paris"

    path = tmp_path / "Grand Paris.geojson"
    path.write_text("\ufeff" + json.dumps(POLYGON), "utf-8")
    found = load_region(str(path), zone_at)
    assert ("grand-paris", "Europe/Paris", CORNERS, [(48.855, 2.335)]) == (found.id, found.timezone, found.polygon, asked)
    own = {"id": "idf", "timezone": "Europe/Brussels", "slot_min": 10, "horizons_min": [20], "population": 12}
    path.write_text(json.dumps(FEATURE | {"properties": own}), "utf-8")
    found = load_region(str(path), zone_at)
    assert ("idf", "Europe/Brussels", 10, (20,)) == (found.id, found.timezone, found.slot_min, found.horizons_min)


@pytest.mark.parametrize(
    ("timezone", "slot_min", "said"),
    [
        (
            "Asia/Kolkata",
            60,
            "got 60 minutes in Asia/Kolkata, which is 5:30 ahead of UTC; use 30, 15, 10, 6 or another",
        ),
        ("Asia/Kathmandu", 30, "got 30 minutes in Asia/Kathmandu, which is 5:45 ahead of UTC; use 15, 5, 3, 1"),
        ("America/St_Johns", 60, "which is 3:30 behind UTC"),
        ("Australia/Lord_Howe", 60, "which is 10:30 ahead of UTC"),
        ("Asia/Kolkata", 30, None),
        ("America/New_York", 60, None),
    ],
)
def test_slots_must_start_at_midnight(timezone: str, slot_min: int, said: str | None) -> None:
    """A slot length that misses local midnight, in summer or winter, is refused with lengths that fit."""
    text = json.dumps({"id": "a", "timezone": timezone, "polygon": CORNERS, "slot_min": slot_min, "horizons_min": [slot_min]})
    if said is None:
        assert slot_min == region_from_file(text, where="t", name="").slot_min
        return
    with pytest.raises(UsageError) as caught:
        region_from_file(text, where="t", name="")
    assert said in str(caught.value)


def test_a_region_across_the_date_line_is_refused(tmp_path: Path) -> None:
    """The file, the region and the reason are named."""
    path = tmp_path / "fiji.json"
    path.write_text(json.dumps({"id": "fiji", "timezone": "Pacific/Fiji", "polygon": [[-17, 179], [-17, -179], [-19, -179], [-19, 179]]}))
    with pytest.raises(UsageError) as caught:
        load_region(str(path))
    assert (
        str(caught.value)
        == f"{path}: region fiji: polygon: crosses 180 degrees of longitude, which is not supported; define one region on each side"
    )
