"""Areas of a region and their classes: which cells belong to the centre, to a low-income quarter, to a place without a metro.

Fairness compares the classes of one attribute with each other. A file beside the region gives them (docs/fairness.md);
without one, the areas of the region's definition are the classes of one attribute, `area`.
"""

import json
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import UsageError
from schemas.events.cells import cell_code, centres, inside
from schemas.events.rides import Float64s, Int64s, UInt64s
from schemas.outlines import Outline, outline_fault
from schemas.regions import Region

FORMAT = "ridecast-areas/1"
OF_THE_REGION = "area"  # the attribute under which the areas of a region's definition are classes
NO_CLASS = -1
LARGEST_BYTES = 16 << 20
MOST_AREAS, MOST_ATTRIBUTES, MOST_CLASSES = 10_000, 16, 32
LONGEST_NAME = 64
FIELDS, AREA_FIELDS = ("format", "region", "areas"), ("name", "cells", "polygon", "classes")


@dataclass(frozen=True, slots=True)
class Area:
    """A named part of a region: the cells that it lists, and those whose centre is inside its polygon.

    Attributes:
        cells: Geohashes, as long as the region's precision or shorter; a shorter one stands for all cells in it.
        polygon: (lat, lon) vertices, degrees; empty for none.
        classes: (attribute, class), each attribute once.
    """

    name: str
    cells: tuple[str, ...] = ()
    polygon: Outline = ()
    classes: tuple[tuple[str, str], ...] = ()

    def holds(self, codes: UInt64s, lat: Float64s, lon: Float64s, precision: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which cells are in the area: bool[n].

        Args:
            codes: uint64[n], cells of the region.
            lat, lon: float64[n], their centres.
        """
        found = inside(self.polygon, lat, lon) if self.polygon else np.zeros(len(codes), np.bool_)
        for length in sorted({len(cell) for cell in self.cells}):
            listed = np.array([cell_code(cell) for cell in self.cells if len(cell) == length], np.uint64)
            found |= np.isin(codes >> np.uint64(5 * (precision - length)), listed)
        return found


@dataclass(frozen=True, slots=True)
class Groups:
    """The classes of some cells.

    Attributes:
        names: (attribute, class) of each group, sorted.
        codes: int64[attributes, n], for each attribute the group of each cell, NO_CLASS for none.
    """

    names: tuple[tuple[str, str], ...]
    codes: Int64s


@dataclass(frozen=True, slots=True)
class Areas:
    """All areas of a region. A cell in several takes each attribute from the first that has it."""

    region: str
    precision: int
    areas: tuple[Area, ...]

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes, sorted."""
        return tuple(sorted({attribute for area in self.areas for attribute, _ in area.classes}))

    @property
    def groups(self) -> tuple[tuple[str, str], ...]:
        """(attribute, class) of every group, sorted."""
        return tuple(sorted({pair for area in self.areas for pair in area.classes}))

    def of(self, cells: UInt64s) -> Groups:
        """The classes of cells, uint64[n].

        >>> quarter = Area("Midtown", cells=("dr5ru",), classes=(("position", "centre"),))
        >>> Areas("nyc", 6, (quarter,)).of(np.array([cell_code("dr5ru7"), cell_code("dr5reg")], np.uint64)).codes
        array([[ 0, -1]])
        """
        names, attributes = self.groups, self.attributes
        codes = np.full((len(attributes), len(cells)), NO_CLASS, np.int64)
        lat, lon = centres(cells, 5 * self.precision)
        for area in self.areas:
            held = area.holds(cells, lat, lon, self.precision)
            for pair in area.classes:
                row = codes[attributes.index(pair[0])]
                row[held & (row == NO_CLASS)] = names.index(pair)
        return Groups(names, codes)

    def to_json(self) -> str:
        """The file that gives these areas."""
        areas = [
            {"name": area.name}
            | ({"cells": list(area.cells)} if area.cells else {})
            | ({"polygon": [list(point) for point in area.polygon]} if area.polygon else {})
            | {"classes": dict(area.classes)}
            for area in self.areas
        ]
        return json.dumps({"format": FORMAT, "region": self.region, "areas": areas}, indent=1, ensure_ascii=False) + "\n"


def areas_from_json(text: str, region: Region, *, where: str) -> Areas:
    """Parse an areas file of a region.

    Raises:
        UsageError: not such a file, or one of another region; the text names the area and the field.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise UsageError(f"{where}: expected JSON, {cause}") from cause
    _require_fields(fields, FIELDS, ("region", "areas"), where)
    if fields.get("format", FORMAT) != FORMAT:
        raise UsageError(f"{where}: format: expected {FORMAT!r}, got {fields['format']!r}")
    if fields["region"] != region.id:
        raise UsageError(f"{where}: region: expected {region.id!r}, got {fields['region']!r}")
    given = fields["areas"]
    if not isinstance(given, list) or not 0 < len(given) <= MOST_AREAS:
        count = len(given) if isinstance(given, list) else type(given).__name__
        raise UsageError(f"{where}: areas: expected a list of 1 to {MOST_AREAS:,} areas, got {count}")
    areas = tuple(_area(item, region, f"{where}: area {number}") for number, item in enumerate(given, 1))
    _check_names(areas, where)
    return Areas(region.id, region.precision, areas)


def load_areas(path: Path, region: Region) -> Areas:
    """Read an areas file.

    Raises:
        UsageError: it cannot be read, or as `areas_from_json`.
    """
    try:
        # A pipe would never end, a device neither; and a file may grow while it is read.
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path}: expected a file, got a directory, pipe or device")
        with path.open("rb") as file:
            data = file.read(LARGEST_BYTES + 1)
        if len(data) > LARGEST_BYTES:
            raise UsageError(f"{path}: expected at most {LARGEST_BYTES:,} bytes, got more")
        return areas_from_json(data.decode("utf-8-sig"), region, where=str(path))
    except UnicodeDecodeError as cause:
        raise UsageError(f"{path}: expected JSON in UTF-8, {cause}") from cause
    except OSError as cause:
        raise UsageError(f"{path}: {cause.strerror}", remedy="docs/fairness.md says how to write an areas file") from cause


def areas_path(home: Path, region: str) -> Path:
    """Where a home keeps the areas file of a region.

    >>> areas_path(Path("home"), "nyc").as_posix()
    'home/areas/nyc.json'
    """
    return home / "areas" / f"{region}.json"


def areas_of(region: Region, home: Path, given: Path | None = None) -> Areas | None:
    """The areas of a region: of the file that is given, else of the home, else of the region's definition; None without any.

    Raises:
        UsageError: the file or the definition is invalid.
    """
    path = given if given is not None else areas_path(home, region.id)
    if given is not None or areas_version(home, region.id):
        return load_areas(path, region)
    return areas_of_region(region) if region.areas else None


def areas_version(home: Path, region: str) -> str:
    """Which areas file a home has for a region, another text after each change; empty for none.

    A file that cannot be looked at is one that cannot be read either: what it says is not replaced by the region's own areas.
    """
    try:
        found = areas_path(home, region).stat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as denied:
        return f"error {denied.errno}"
    return f"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}"


def areas_of_region(region: Region) -> Areas:
    """The areas of a region's definition, each one a class of its own.

    Raises:
        UsageError: a name or a cell is invalid.
    """
    where = f"region {region.id}: areas"
    found = []
    for name, cells in region.areas:
        item = {"name": name, "cells": list(cells), "classes": {OF_THE_REGION: name}}
        found.append(_area(item, region, f"{where}: {name!r}"))
    _check_names(found, where)
    return Areas(region.id, region.precision, tuple(found))


def _area(item: object, region: Region, where: str) -> Area:
    fields = _require_fields(item, AREA_FIELDS, ("name", "classes"), where)
    name = _name(fields["name"], f"{where}: name")
    where = f"{where} ({name})"
    cells = tuple(_cell(cell, region, where) for cell in _list(fields.get("cells", []), f"{where}: cells"))
    polygon = _polygon(fields["polygon"], where) if "polygon" in fields else ()
    if not cells and not polygon:
        raise UsageError(f"{where}: expected cells or a polygon, got neither")
    classes = fields["classes"]
    if not isinstance(classes, dict) or not classes:
        raise UsageError(f"{where}: classes: expected at least one, as {{attribute: class}}, got {classes!r}")
    pairs = sorted((_name(key, f"{where}: attribute"), _name(value, f"{where}: class of {key}")) for key, value in classes.items())
    return Area(name, cells, polygon, tuple(pairs))


def _require_fields(value: object, known: Sequence[str], needed: Iterable[str], where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where}: expected a JSON object, got {type(value).__name__}")
    for name in sorted(set(value) - set(known)):
        raise UsageError(f"{where}: unknown field {name!r}; known: {', '.join(known)}")
    for name in needed:
        if name not in value:
            raise UsageError(f"{where}: missing field {name!r}")
    return value


def _name(value: object, where: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME or not value.isprintable() or value != value.strip():
        raise UsageError(f"{where}: expected a text of 1 to {LONGEST_NAME} printable characters, got {value!r}")
    return value


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise UsageError(f"{where}: expected a list, got {type(value).__name__}")
    return value


def _cell(value: object, region: Region, where: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= region.precision:
        raise UsageError(f"{where}: cells: expected geohashes of 1 to {region.precision} letters, got {value!r}")
    try:
        cell_code(value.lower())
    except UsageError as cause:
        raise UsageError(f"{where}: {cause}") from cause
    return value.lower()


def _polygon(value: object, where: str) -> Outline:
    try:
        points = tuple((float(lat), float(lon)) for lat, lon in _list(value, f"{where}: polygon"))
    except (TypeError, ValueError) as cause:
        raise UsageError(f"{where}: polygon: expected pairs of latitude and longitude, {cause}") from cause
    if len(points) < 3:
        raise UsageError(f"{where}: polygon: expected at least 3 vertices, got {len(points)}")
    for lat, lon in points:
        if not (-90 <= lat <= 90 and -180 <= lon <= 180):
            raise UsageError(f"{where}: polygon: expected latitude and longitude in degrees, got ({lat}, {lon})")
    if (fault := outline_fault(points)) is not None:
        raise UsageError(f"{where}: polygon: {fault}")
    return points


def _check_names(areas: Sequence[Area], where: str) -> None:
    """Require that names differ and that there are few enough attributes and classes to compare."""
    seen: set[str] = set()
    for area in areas:
        if area.name in seen:
            raise UsageError(f"{where}: expected different names of areas, got {area.name!r} twice")
        seen.add(area.name)
    by_attribute: dict[str, set[str]] = {}
    for area in areas:
        for attribute, name in area.classes:
            by_attribute.setdefault(attribute, set()).add(name)
    if len(by_attribute) > MOST_ATTRIBUTES:
        raise UsageError(f"{where}: expected at most {MOST_ATTRIBUTES} attributes, got {len(by_attribute)}")
    for attribute, names in by_attribute.items():
        if len(names) > MOST_CLASSES:
            raise UsageError(f"{where}: {attribute}: expected at most {MOST_CLASSES} classes, got {len(names)}; group them")
