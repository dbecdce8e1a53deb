"""Geohash cells: what others' geohashes say, and the laws of codes, texts, parents, neighbours and outlines."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from schemas.errors import UsageError
from schemas.events.cells import LETTERS, cell_code, cell_text, cell_texts, centres, encode, inside, neighbours, parents

LATS = st.floats(-90, 90)
LONS = st.floats(-180, 180)
PRECISIONS = st.integers(1, 12)


def plain_geohash(lat: float, lon: float, precision: int) -> str:
    """Geohash by halving, bit by bit, as the algorithm is usually told."""
    lats, lons = [-90.0, 90.0], [-180.0, 180.0]
    text, value = "", 0
    for bit in range(5 * precision):
        pair, x = (lons, lon) if bit % 2 == 0 else (lats, lat)
        middle = (pair[0] + pair[1]) / 2
        upper = x >= middle
        pair[0 if upper else 1] = middle
        value = value << 1 | upper
        if bit % 5 == 4:
            text, value = text + LETTERS[value], 0
    return text


def one(lat: float, lon: float, precision: int) -> int:
    """The code of one point's cell."""
    return int(encode(np.array([lat]), np.array([lon]), 5 * precision)[0])


@pytest.mark.parametrize(
    ("lat", "lon", "text"),
    [
        (57.64911, 10.40744, "u4pruydqqvj"),  # Geohash, Wikipedia
        (42.605, -5.603, "ezs42"),  # the same article's worked example
        (-25.382708, -49.265506, "6gkzwgjzn820"),  # geohash.org's own
        (40.7128, -74.006, "dr5reg"),
        (0.0, 0.0, "s0000"),
        (-90.0, -180.0, "0000"),
        (90.0, 180.0, "zzzz"),
    ],
)
def test_codes_are_those_that_others_compute(lat: float, lon: float, text: str) -> None:
    """Known points have the geohashes that are published for them."""
    assert text == cell_text(one(lat, lon, len(text)), len(text))


@given(LATS, LONS, PRECISIONS)
def test_codes_are_those_of_halving(lat: float, lon: float, precision: int) -> None:
    """Any point's cell is the plain algorithm's, unless rounding puts it on an edge of the plain one's."""
    text = cell_text(one(lat, lon, precision), precision)
    width, height = 360.0 / (1 << (5 * precision + 1) // 2), 180.0 / (1 << 5 * precision // 2)
    near = {
        plain_geohash(min(max(lat + dy, -90.0), 90.0), min(max(lon + dx, -180.0), 180.0), precision)
        for dx in (-1e-6 * width, 0.0, 1e-6 * width)
        for dy in (-1e-6 * height, 0.0, 1e-6 * height)
    }
    assert text in near


@given(PRECISIONS, st.data())
def test_text_and_code_are_each_other(precision: int, data: st.DataObject) -> None:
    """Texts become codes and codes texts, one by one and many at once."""
    texts = data.draw(st.lists(st.text(LETTERS, min_size=precision, max_size=precision), min_size=1, max_size=5))
    codes = [cell_code(text) for text in texts]
    assert texts == [cell_text(code, precision) for code in codes]
    assert texts == cell_texts(np.array(codes, np.uint64), precision).tolist()


def test_many_texts_of_none_are_none() -> None:
    """No codes have no texts."""
    assert [] == cell_texts(np.empty(0, np.uint64), 6).tolist()


@pytest.mark.parametrize("text", ["", "dr5ru7dr5ru7d", "dr5rua", "DR5RU7", "dr5 u7", "dr5ruı"])
def test_a_text_that_is_no_cell_is_refused(text: str) -> None:
    """The message says which letters there are, or how many are expected."""
    with pytest.raises(UsageError, match=r"cell: expected (a geohash of 1 to 12 characters|geohash letters)"):
        cell_code(text)


@given(LATS, LONS, PRECISIONS)
def test_the_middle_of_a_cell_lies_in_it(lat: float, lon: float, precision: int) -> None:
    """A cell's centre has the cell's code, and is at most half a cell away from any of its points."""
    code = np.array([one(lat, lon, precision)], np.uint64)
    middle_lat, middle_lon = centres(code, 5 * precision)
    assert code.tolist() == encode(middle_lat, middle_lon, 5 * precision).tolist()
    assert abs(middle_lat[0] - lat) <= 0.5001 * 180.0 / (1 << 5 * precision // 2)
    assert abs(middle_lon[0] - lon) <= 0.5001 * 360.0 / (1 << (5 * precision + 1) // 2)


@given(LATS, LONS, st.integers(2, 12), st.data())
def test_a_parent_is_the_text_without_its_last_letters(lat: float, lon: float, precision: int, data: st.DataObject) -> None:
    """Going up levels drops letters, and the parent is the cell of the same point at that precision."""
    levels = data.draw(st.integers(1, precision - 1))
    code = one(lat, lon, precision)
    above = int(parents(np.array([code], np.uint64), levels)[0])
    assert cell_text(code, precision)[:-levels] == cell_text(above, precision - levels)
    if abs(lat) < 90 and abs(lon) < 180:
        assert one(lat, lon, precision - levels) == above


@given(st.floats(-60, 60), st.floats(-150, 150), st.integers(3, 12))
def test_neighbours_are_mutual_and_around(lat: float, lon: float, precision: int) -> None:
    """Away from the poles a cell has eight different neighbours, one step in each direction, and is a neighbour of each."""
    bits = 5 * precision
    code = np.array([one(lat, lon, precision)], np.uint64)
    [around] = neighbours(code, bits)
    assert 9 == len({int(code[0]), *around.tolist()})
    assert all(int(code[0]) in back for back in neighbours(around, bits).tolist())
    middle, others = centres(code, bits), centres(around, bits)
    height, width = 180.0 / (1 << bits // 2), 360.0 / (1 << (bits + 1) // 2)
    steps = {(round((a - middle[0][0]) / height), round((b - middle[1][0]) / width)) for a, b in zip(*others, strict=True)}
    assert {(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx} == steps


def test_known_neighbours() -> None:
    """The eight cells around one in New York are those that others list."""
    [around] = neighbours(np.array([cell_code("dr5ru7")], np.uint64), 30)
    assert sorted(["dr5rue", "dr5ruk", "dr5rus", "dr5ru5", "dr5ruh", "dr5ru4", "dr5ru6", "dr5rud"]) == sorted(
        cell_texts(around, 6).tolist()
    )


def test_longitude_wraps_and_poles_end() -> None:
    """East of the antimeridian begins the west; beyond a pole the row itself stands in."""
    east = np.array([one(0.0, 179.999, 6)], np.uint64)
    assert one(0.0, -180.0, 6) in neighbours(east, 30)[0].tolist()
    [around] = neighbours(np.array([one(90.0, 0.0, 6)], np.uint64), 30)
    assert 6 == len(set(around.tolist()))  # of the eight, three more stand for those beyond


SQUARE = ((0.0, 0.0), (0.0, 2.0), (2.0, 2.0), (2.0, 0.0))
NOTCHED = ((0.0, 0.0), (0.0, 4.0), (4.0, 4.0), (4.0, 0.0), (2.0, 2.0))  # a bite out of the western side


@pytest.mark.parametrize(
    ("polygon", "lat", "lon", "within"),
    [
        (SQUARE, 1.0, 1.0, True),
        (SQUARE, 0.0, 0.0, True),  # southern and western edges belong to it
        (SQUARE, 0.0, 1.0, True),
        (SQUARE, 1.0, 0.0, True),
        (SQUARE, 2.0, 1.0, False),  # northern and eastern ones to the next
        (SQUARE, 1.0, 2.0, False),
        (SQUARE, -0.1, 1.0, False),
        (SQUARE, float("nan"), 1.0, False),
        (SQUARE, 1.0, float("nan"), False),
        (SQUARE, float("inf"), 1.0, False),
        (NOTCHED, 2.0, 1.0, False),
        (NOTCHED, 2.0, 3.0, True),
        (NOTCHED, 0.5, 1.0, True),
        (NOTCHED, 3.5, 1.0, True),
    ],
)
def test_what_lies_within_an_outline(polygon: tuple[tuple[float, float], ...], lat: float, lon: float, within: bool) -> None:
    """Points, edges, a bite, and what is no place at all."""
    assert [within] == inside(polygon, np.array([lat]), np.array([lon])).tolist()
    assert [within] == inside(polygon[::-1], np.array([lat]), np.array([lon])).tolist()


@given(st.floats(-1, 5), st.floats(-1, 5))
def test_two_halves_share_no_point_and_miss_none(lat: float, lon: float) -> None:
    """Cut in two, each point of an outline lies in exactly one half."""
    whole = ((0.0, 0.0), (0.0, 4.0), (4.0, 4.0), (4.0, 0.0))
    south, north = ((0.0, 0.0), (0.0, 4.0), (2.0, 4.0), (2.0, 0.0)), ((2.0, 0.0), (2.0, 4.0), (4.0, 4.0), (4.0, 0.0))
    at = np.array([lat]), np.array([lon])
    assert int(inside(whole, *at)[0]) == int(inside(south, *at)[0]) + int(inside(north, *at)[0])
