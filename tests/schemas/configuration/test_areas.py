"""Areas files: what a person may write, which cells belong to which class, and what is refused with the place that is wrong."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from schemas.configuration.areas import (
    NO_CLASS,
    Area,
    Areas,
    areas_from_json,
    areas_of,
    areas_of_region,
    areas_path,
    areas_version,
    load_areas,
)
from schemas.errors import UsageError
from schemas.events.cells import cell_code, cell_texts
from schemas.regions import Region, load_region, region_from_json

NYC = load_region("nyc")
MIDTOWN = {"name": "Midtown", "cells": ["dr5ru7", "dr5ru5"], "classes": {"position": "centre", "income": "high"}}
QUEENS = {"name": "Queens", "polygon": [[40.7, -73.9], [40.7, -73.8], [40.8, -73.8], [40.8, -73.9]], "classes": {"position": "outskirts"}}


def parsed(*areas: object, **more: object) -> Areas:
    """Areas of New York as a file would give them."""
    return areas_from_json(json.dumps({"region": "nyc", "areas": list(areas), **more}), NYC, where="areas.json")


def codes_of(*cells: str) -> "np.ndarray[Any, np.dtype[np.uint64]]":
    """Codes of cells."""
    return np.array([cell_code(cell) for cell in cells], np.uint64)


def test_cells_and_polygons_give_classes() -> None:
    """A listed cell and a cell whose centre is inside the polygon have the class of their area; another has none."""
    found = parsed(MIDTOWN, QUEENS).of(codes_of("dr5ru7", "dr5ryv", "dr5reg"))
    assert (("income", "high"), ("position", "centre"), ("position", "outskirts")) == found.names
    assert [[0, NO_CLASS, NO_CLASS], [1, 2, NO_CLASS]] == found.codes.tolist()


def test_a_shorter_geohash_stands_for_all_cells_in_it() -> None:
    """A prefix holds its 32 cells and no others."""
    codes = (np.uint64(cell_code("dr5ru")) << np.uint64(5)) + np.arange(-3, 35).astype(np.uint64)
    held = parsed({"name": "A", "cells": ["DR5RU"], "classes": {"a": "b"}}).of(codes).codes[0] == 0
    assert [text.startswith("dr5ru") for text in cell_texts(codes, 6).tolist()] == held.tolist()
    assert 32 == held.sum()


def test_the_first_area_that_has_the_attribute_decides() -> None:
    """A cell in two areas takes each attribute from the first area in the file that gives one."""
    other = {"name": "Other", "cells": ["dr5ru7"], "classes": {"position": "outskirts", "transit": "near"}}
    areas = parsed(MIDTOWN, other)
    [codes] = areas.of(codes_of("dr5ru7")).codes.T.tolist()
    assert [("income", "high"), ("position", "centre"), ("transit", "near")] == [areas.groups[code] for code in codes]


names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
cells = st.lists(st.text("0123456789bcdefghjkmnpqrstuvwxyz", min_size=1, max_size=6), min_size=1, max_size=4).map(tuple)
classes = st.dictionaries(names, names, min_size=1, max_size=3).map(lambda found: tuple(sorted(found.items())))
some_areas = st.lists(st.builds(Area, name=names, cells=cells, classes=classes), min_size=1, max_size=5, unique_by=lambda area: area.name)


@given(some_areas)
def test_a_written_file_reads_back(found: list[Area]) -> None:
    """What `to_json` writes is an areas file that gives the same areas."""
    areas = Areas("nyc", 6, tuple(found))
    assert areas == areas_from_json(areas.to_json(), NYC, where="a test")


@given(some_areas, st.lists(st.integers(0, 2**30 - 1), max_size=30))
def test_classes_are_those_of_a_plain_search(found: list[Area], numbers: list[int]) -> None:
    """Every cell has the class that a loop over areas and attributes finds."""
    areas = Areas("nyc", 6, tuple(found))
    codes = np.array(numbers, np.uint64)
    groups = areas.of(codes)
    for place, text in enumerate(cell_texts(codes, 6).tolist() if len(codes) else []):
        for row, attribute in enumerate(areas.attributes):
            held = (a for a in found if any(text.startswith(cell) for cell in a.cells) and attribute in dict(a.classes))
            first = next(held, None)
            expected = NO_CLASS if first is None else groups.names.index((attribute, dict(first.classes)[attribute]))
            assert expected == groups.codes[row, place]


def changed(base: dict[str, Any], **fields: object) -> dict[str, Any]:
    """An area with other fields; None leaves one out."""
    return {name: value for name, value in (base | fields).items() if value is not None}


LINE = [[40.7, -73.9], [40.8, -73.8], [40.9, -73.7]]


@pytest.mark.parametrize(
    ("area", "said"),
    [
        ("Midtown", "area 1: expected a JSON object, got str"),
        (changed(MIDTOWN, name=None), "area 1: missing field 'name'"),
        (changed(MIDTOWN, name=""), "area 1: name: expected a text of 1 to 64 printable characters, got ''"),
        (changed(MIDTOWN, name="a\nb"), r"area 1: name: .* got 'a\\nb'"),
        (changed(MIDTOWN, name=" a"), "area 1: name: .* got ' a'"),
        (changed(MIDTOWN, classes=None), "area 1: missing field 'classes'"),
        (changed(MIDTOWN, classes={}), r"area 1 \(Midtown\): classes: expected at least one"),
        (changed(MIDTOWN, classes={"income": 3}), r"area 1 \(Midtown\): class of income: .* got 3"),
        (changed(MIDTOWN, cells=None), r"area 1 \(Midtown\): expected cells or a polygon, got neither"),
        (changed(MIDTOWN, cells="dr5ru7"), r"area 1 \(Midtown\): cells: expected a list, got str"),
        (changed(MIDTOWN, cells=["dr5ru7x"]), r"area 1 \(Midtown\): cells: expected geohashes of 1 to 6 letters, got 'dr5ru7x'"),
        (changed(MIDTOWN, cells=["dr5rua"]), r"area 1 \(Midtown\): cell: expected geohash letters .* got 'a'"),
        (changed(MIDTOWN, cells=[7]), r"area 1 \(Midtown\): cells: .* got 7"),
        (changed(MIDTOWN, colour="red"), "area 1: unknown field 'colour'; known: name, cells, polygon, classes"),
        (changed(QUEENS, polygon=[[1, 2]]), r"area 1 \(Queens\): polygon: expected at least 3 vertices, got 1"),
        (changed(QUEENS, polygon=[[1, 2], [3, 4], [95, 6]]), r"polygon: expected latitude and longitude in degrees, got \(95.0, 6.0\)"),
        (changed(QUEENS, polygon=[1, 2, 3]), "polygon: expected pairs of latitude and longitude"),
        (changed(QUEENS, polygon=LINE), "polygon: has no area"),
    ],
)
def test_an_area_that_cannot_be_used_is_refused(area: object, said: str) -> None:
    """The text names the file, the area and the field, with what was expected and what came."""
    with pytest.raises(UsageError, match=f"^areas.json: .*{said}|^areas.json: {said}"):
        parsed(area)


def test_what_a_file_may_not_be() -> None:
    """Other JSON, another region, another format, no area, names that repeat, and too many classes are refused."""
    many = [{"name": str(number), "cells": ["dr"], "classes": {"a": str(number)}} for number in range(33)]
    wide = [{"name": "a", "cells": ["dr"], "classes": {str(number): "b" for number in range(17)}}]
    cases: list[tuple[object, str]] = [
        ([], "expected a JSON object, got list"),
        ({"region": "nyc"}, "missing field 'areas'"),
        ({"region": "tehran", "areas": [MIDTOWN]}, "region: expected 'nyc', got 'tehran'"),
        ({"region": "nyc", "areas": [MIDTOWN], "format": "ridecast-areas/2"}, "format: expected 'ridecast-areas/1', got"),
        ({"region": "nyc", "areas": []}, "areas: expected a list of 1 to 10,000 areas, got 0"),
        ({"region": "nyc", "areas": {}}, "areas: expected a list of 1 to 10,000 areas, got dict"),
        ({"region": "nyc", "areas": [MIDTOWN, MIDTOWN]}, "expected different names of areas, got 'Midtown' twice"),
        ({"region": "nyc", "areas": many}, "a: expected at most 32 classes, got 33"),
        ({"region": "nyc", "areas": wide}, "expected at most 16 attributes, got 17"),
    ]
    for value, said in cases:
        with pytest.raises(UsageError, match=re.escape(f"areas.json: {said}")):
            areas_from_json(json.dumps(value), NYC, where="areas.json")
    for text in ("{", "[" * 100_000):
        with pytest.raises(UsageError, match=r"areas\.json: expected JSON"):
            areas_from_json(text, NYC, where="areas.json")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file, a directory, a pipe, a device, one of another encoding and one that is too large are refused with their path."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes(b"\xe9")
    (tmp_path / "large").write_bytes(b"")
    with (tmp_path / "large").open("r+b") as file:
        file.truncate((16 << 20) + 1)
    for name, said in (
        ("none", "No such file"),
        (".", "expected a file, got a directory"),
        ("pipe", "expected a file, got a directory, pipe or device"),
        ("/dev/zero", "expected a file, got a directory, pipe or device"),
        ("latin", "expected JSON in UTF-8"),
        ("large", "expected at most"),
    ):
        with pytest.raises(UsageError, match=said):
            load_areas(tmp_path / name, NYC)


def test_each_change_of_the_file_is_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None without a file; another one after a change; a file that cannot be looked at is not the same as none."""
    path = areas_path(tmp_path, "nyc")
    assert "" == areas_version(tmp_path, "nyc")
    path.parent.mkdir()
    path.write_text("{}")
    first = areas_version(tmp_path, "nyc")
    path.write_text("{ }")
    assert "" != first != areas_version(tmp_path, "nyc")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", denied)
    assert "error 13" == areas_version(tmp_path, "nyc")
    with pytest.raises(UsageError, match="Permission denied"):
        areas_of(NYC, tmp_path)


def town(areas: object) -> Region:
    """A region whose definition has areas."""
    return region_from_json(json.dumps(json.loads(NYC.to_json()) | {"areas": areas}), where="town.json")


def test_areas_come_from_the_file_the_home_or_the_region(tmp_path: Path) -> None:
    """The given file wins over the home's, and that over the definition; a region without any has none."""
    given, kept = tmp_path / "given.json", areas_path(tmp_path, "nyc")
    region = town([["A", ["dr5ru"]], ["B", ["dr5re"]]])
    assert None is areas_of(NYC, tmp_path)
    assert areas_of_region(region) == areas_of(region, tmp_path)
    assert (("area", "A"), ("area", "B")) == areas_of_region(region).groups
    kept.parent.mkdir()
    kept.write_text(parsed(QUEENS).to_json(), "utf-8")
    given.write_text(parsed(MIDTOWN).to_json(), "utf-8")
    assert (parsed(QUEENS), parsed(MIDTOWN)) == (areas_of(region, tmp_path), areas_of(region, tmp_path, given))
    with pytest.raises(UsageError, match="No such file"):
        areas_of(region, tmp_path, tmp_path / "missing.json")


def test_areas_of_a_definition_are_checked_when_they_are_used() -> None:
    """A recorded region goes on whatever its areas are; to compare them they must be valid."""
    for areas, said in (([["A", ["dr5ru7x"]]], "got 'dr5ru7x'"), ([["", ["dr"]]], "got ''"), ([["A", ["dr"]], ["A", ["dq"]]], "twice")):
        with pytest.raises(UsageError, match=f"^region nyc: areas.*{said}"):
            areas_of_region(town(areas))
