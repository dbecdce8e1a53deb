"""Outlines of regions: read from GeoJSON, and whether points can be found in them."""

import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from schemas.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

Outline = tuple[tuple[float, float], ...]

GEOJSON_TYPES = frozenset(
    {
        "Feature",
        "FeatureCollection",
        "Polygon",
        "MultiPolygon",
        "GeometryCollection",
        "Point",
        "MultiPoint",
        "LineString",
        "MultiLineString",
    }
)
MOST_VERTICES = 500  # a definition is part of a ledger's entry, at most 64 KiB; streets do not matter to cells of a kilometre
DECIMALS = 6  # a tenth of a metre


@dataclass(frozen=True, slots=True)
class GeoOutline:
    """The polygon of a GeoJSON document.

    Attributes:
        polygon: (lat, lon) vertices, without the closing one.
        names: Texts that may name the region, best first.
        properties: Of the feature.
    """

    polygon: Outline
    names: tuple[str, ...] = ()
    properties: dict[str, Any] = field(default_factory=dict)


def outline_fault(polygon: Outline) -> str | None:
    """Why points cannot be found in a polygon, or None.

    >>> outline_fault(((0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0)))
    'crosses itself between vertices 1 to 2 and 3 to 4; list the vertices in order around the region'
    """
    if len(polygon) > MOST_VERTICES:
        return f"expected at most {MOST_VERTICES} vertices, got {len(polygon):,}; simplify it"
    import numpy as np  # every command imports this module, and few of them check an outline

    points = np.array(polygon)
    if points[0].tolist() == points[-1].tolist() and len(points) > 3:
        points = points[:-1]
    following = np.roll(points, -1, axis=0)
    if np.abs(following[:, 1] - points[:, 1]).max() > 180 or np.ptp(points[:, 1]) > 180:
        return "crosses 180 degrees of longitude, which is not supported; define one region on each side"
    area = np.sum(points[:, 1] * following[:, 0] - following[:, 1] * points[:, 0]) / 2
    crossing = _crossing(points, following)
    if crossing is not None:
        (a, b), count = crossing, len(points)
        where = f"{a + 1} to {(a + 1) % count + 1} and {b + 1} to {(b + 1) % count + 1}"
        return f"crosses itself between vertices {where}; list the vertices in order around the region"
    if abs(area) < 1e-10:
        return "has no area"
    return None


def _crossing(
    points: "np.ndarray[Any, np.dtype[np.float64]]", following: "np.ndarray[Any, np.dtype[np.float64]]"
) -> tuple[int, int] | None:
    """Two edges that cross, or None."""
    for edge in range(len(points) - 2):
        start, stop = points[edge], following[edge]
        others = slice(edge + 2, len(points) - (edge == 0))
        a, b = points[others], following[others]
        apart = _side(start, stop, a) * _side(start, stop, b) < 0
        across = _side(a, b, start) * _side(a, b, stop) < 0
        found = (apart & across).nonzero()[0]
        if len(found):
            return edge, edge + 2 + int(found[0])
    return None


def _side(a: Any, b: Any, point: Any) -> Any:
    """On which side of the line from a to b a point is, by its sign."""
    return (b[..., 0] - a[..., 0]) * (point[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (point[..., 0] - a[..., 0])


def centre(polygon: Outline) -> tuple[float, float]:
    """The middle of a polygon's bounding box, (lat, lon).

    >>> centre(((0.0, 0.0), (0.0, 2.0), (4.0, 2.0)))
    (2.0, 1.0)
    """
    lats, lons = zip(*polygon, strict=True)
    return (min(lats) + max(lats)) / 2, (min(lons) + max(lons)) / 2


def is_geojson(value: dict[str, Any]) -> bool:
    """Whether a JSON object is GeoJSON."""
    return value.get("type") in GEOJSON_TYPES


def outline_from_geojson(value: dict[str, Any], where: str) -> GeoOutline:
    """The polygon of a Feature, of a FeatureCollection with one feature, or of a Polygon.

    Raises:
        UsageError: another geometry, several features, parts or rings, or no (longitude, latitude) pairs.
    """
    if value["type"] == "FeatureCollection":
        features = value.get("features")
        if not isinstance(features, list) or len(features) != 1 or not isinstance(features[0], dict):
            count = len(features) if isinstance(features, list) else 0
            raise UsageError(f"{where}: expected one feature, got {count}", remedy="save the outline of one city as a file of its own")
        value = features[0]
    properties, names = dict[str, Any](), list[object]()
    geometry: Any = value
    if value.get("type") == "Feature":
        found, geometry = value.get("properties"), value.get("geometry")
        properties = found if isinstance(found, dict) else {}
        names = [properties.get("id"), value.get("id"), properties.get("name"), properties.get("NAME")]
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    rings = geometry.get("coordinates") if isinstance(geometry, dict) else None
    if kind == "MultiPolygon" and isinstance(rings, list):
        if len(rings) != 1:
            raise UsageError(f"{where}: expected one polygon, got {len(rings)}", remedy="keep the largest one, or draw one around all")
        kind, rings = "Polygon", rings[0]
    if kind != "Polygon" or not isinstance(rings, list) or not rings:
        raise UsageError(f"{where}: expected a GeoJSON Polygon, got {kind}")
    if len(rings) != 1:
        raise UsageError(f"{where}: expected a polygon without holes, got {len(rings) - 1}", remedy="remove the inner rings")
    try:
        points = [(round(float(point[1]), DECIMALS), round(float(point[0]), DECIMALS)) for point in rings[0]]
    except (TypeError, ValueError, IndexError, KeyError) as cause:
        raise UsageError(f"{where}: expected pairs of longitude and latitude, {cause}") from cause
    if any(abs(lat) > 90 or abs(lon) > 180 for lat, lon in points):
        hint = "longitude comes first in GeoJSON" if all(abs(lat) <= 180 and abs(lon) <= 90 for lat, lon in points) else "use WGS 84"
        raise UsageError(f"{where}: expected degrees, got {rings[0][0]}", remedy=hint)
    if len(points) > 1 and points[0] == points[-1]:
        points.pop()
    return GeoOutline(tuple(points), tuple(slug for name in names if (slug := slug_of(name))), properties)


def slug_of(name: object) -> str:
    """A region's id made of a name, or nothing.

    >>> slug_of("São Paulo"), slug_of(17)
    ('sao-paulo', '')
    """
    plain = unicodedata.normalize("NFKD", str(name or "")).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9_]+", "-", plain).strip("-")[:32]
    return slug if re.match("[a-z]", slug) else ""
