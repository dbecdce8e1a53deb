"""Geohash cells as integers: their neighbours, parents and texts.

A cell code holds 5 bits per geohash character, longitude in the higher bit of each pair, so that the
code of a cell's parent is the code shifted right by five bits. Texts are used only at the system's boundaries.
"""

import math

import numpy as np
import numpy.typing as npt

from schemas.errors import UsageError

LETTERS = "0123456789bcdefghjkmnpqrstuvwxyz"  # geohash base 32: no a, i, l, o
_VALUE = {letter: value for value, letter in enumerate(LETTERS)}

UInt64s = npt.NDArray[np.uint64]
Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

KM_PER_DEGREE = 111.2  # of a great circle
NO_CELL = np.uint64(2**64 - 1)


def _spread(x: UInt64s) -> UInt64s:
    """20 low bits of each value moved to the even bits of 40 (Morton order)."""
    for shift, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        x = (x | x << np.uint64(shift)) & np.uint64(mask)
    return x


def _gather(x: UInt64s) -> UInt64s:
    """The even bits of each value, packed: the inverse of `_spread`."""
    x = x & np.uint64(0x5555555555555555)
    for shift, mask in (
        (1, 0x3333333333333333),
        (2, 0x0F0F0F0F0F0F0F0F),
        (4, 0x00FF00FF00FF00FF),
        (8, 0x0000FFFF0000FFFF),
        (16, 0x00000000FFFFFFFF),
    ):
        x = (x | x >> np.uint64(shift)) & np.uint64(mask)
    return x


def _axis_bits(bits: int) -> tuple[int, int]:
    """Bits of longitude and of latitude in a code of that many bits."""
    return (bits + 1) // 2, bits // 2


def encode(lat: Float64s, lon: Float64s, bits: int) -> UInt64s:
    """Cell codes of points.

    Args:
        lat, lon: float64[n], degrees; must be finite and within -90..90, -180..180.
        bits: Length of a code, 5 per geohash character.
    Returns:
        uint64[n]
    Source:
        G. Niemeyer (2008), geohash.org.

    >>> encode(np.array([40.7128]), np.array([-74.006]), 30) == cell_code("dr5reg")
    array([ True])
    """
    lon_bits, lat_bits = _axis_bits(bits)
    i = np.clip((lon + 180.0) * ((1 << lon_bits) / 360.0), 0, (1 << lon_bits) - 1).astype(np.uint64)
    j = np.clip((lat + 90.0) * ((1 << lat_bits) / 180.0), 0, (1 << lat_bits) - 1).astype(np.uint64)
    # The first bit is longitude, so the last one is longitude only when the number of bits is odd.
    high, low = (_spread(j), _spread(i)) if bits % 2 else (_spread(i), _spread(j))
    return high << np.uint64(1) | low


def _axes(codes: UInt64s, bits: int) -> tuple[UInt64s, UInt64s]:
    """(longitude index, latitude index) of codes."""
    high, low = _gather(codes >> np.uint64(1)), _gather(codes)
    return (low, high) if bits % 2 else (high, low)


def centres(codes: UInt64s, bits: int) -> tuple[Float64s, Float64s]:
    """(lat, lon) float64[n] of the middle of each cell, degrees."""
    lon_bits, lat_bits = _axis_bits(bits)
    i, j = _axes(codes, bits)
    lat = np.asarray((j + 0.5) * (180.0 / (1 << lat_bits)) - 90.0, np.float64)
    return lat, np.asarray((i + 0.5) * (360.0 / (1 << lon_bits)) - 180.0, np.float64)


def neighbours(codes: UInt64s, bits: int) -> UInt64s:
    """The eight cells around each: uint64[n, 8].

    Longitude wraps around; beyond a pole the cell itself replaces the missing neighbour.
    """
    lon_bits, lat_bits = _axis_bits(bits)
    i, j = (axis.astype(np.int64) for axis in _axes(codes, bits))
    out = np.empty((len(codes), 8), np.uint64)
    steps = [(di, dj) for di in (-1, 0, 1) for dj in (-1, 0, 1) if di or dj]
    for column, (di, dj) in enumerate(steps):
        ni = ((i + di) % (1 << lon_bits)).astype(np.uint64)
        nj = np.clip(j + dj, 0, (1 << lat_bits) - 1).astype(np.uint64)
        high, low = (_spread(nj), _spread(ni)) if bits % 2 else (_spread(ni), _spread(nj))
        out[:, column] = high << np.uint64(1) | low
    return out


def at_steps(codes: UInt64s, bits: int, steps: Int64s) -> UInt64s:
    """The cells so many columns and rows away from each: uint64[n, m]; NO_CELL beyond a pole. Longitude wraps around.

    Args:
        steps: int64[m, 2], to the east and to the north.

    >>> at_steps(np.array([cell_code("dr5ru7")], np.uint64), 30, np.array([[0, 0], [0, 40_000]])) == NO_CELL
    array([[False,  True]])
    """
    lon_bits, lat_bits = _axis_bits(bits)
    i, j = (axis.astype(np.int64)[:, None] + step for axis, step in zip(_axes(codes, bits), steps.T, strict=True))
    beyond = (j < 0) | (j >= 1 << lat_bits)
    x, y = (i % (1 << lon_bits)).astype(np.uint64), np.where(beyond, 0, j).astype(np.uint64)
    high, low = (_spread(y), _spread(x)) if bits % 2 else (_spread(x), _spread(y))
    return np.where(beyond, NO_CELL, high << np.uint64(1) | low)


def cell_size_km(lat: float, bits: int) -> tuple[float, float]:
    """Width and height of the cells at a latitude."""
    lon_bits, lat_bits = _axis_bits(bits)
    return KM_PER_DEGREE * math.cos(math.radians(lat)) * 360.0 / (1 << lon_bits), KM_PER_DEGREE * 180.0 / (1 << lat_bits)


def parents(codes: UInt64s, levels: int = 1) -> UInt64s:
    """The cells that contain each, `levels` geohash characters up."""
    return codes >> np.uint64(5 * levels)


def cell_text(code: int, precision: int) -> str:
    """Geohash text of a code.

    >>> cell_text(cell_code("dr5ru7"), 6)
    'dr5ru7'
    """
    return "".join(LETTERS[int(code) >> 5 * (precision - 1 - place) & 31] for place in range(precision))


def cell_texts(codes: UInt64s, precision: int) -> npt.NDArray[np.str_]:
    """Geohash texts of many codes: str[n]."""
    letters = np.frombuffer(LETTERS.encode(), np.uint8)
    shifts = np.uint64(5) * np.arange(precision - 1, -1, -1, dtype=np.uint64)
    picked = letters[(codes[:, None] >> shifts & np.uint64(31)).astype(np.int64)]
    return np.ascontiguousarray(picked).view(f"S{precision}").ravel().astype(f"U{precision}")


def cell_code(text: str) -> int:
    """Code of a geohash text.

    Raises:
        UsageError: a letter that geohash does not use, or an empty text.
    """
    code = 0
    if not text or len(text) > 12:
        raise UsageError(f"cell: expected a geohash of 1 to 12 characters, got {text!r}")
    for letter in text:
        if letter not in _VALUE:
            raise UsageError(f"cell: expected geohash letters ({LETTERS}), got {letter!r} in {text!r}")
        code = code << 5 | _VALUE[letter]
    return code


def inside(polygon: tuple[tuple[float, float], ...], lat: Float64s, lon: Float64s) -> npt.NDArray[np.bool_]:
    """Which points are inside a polygon, including its southern and western edges: bool[n].

    Args:
        polygon: (lat, lon) vertices, degrees; must not cross the antimeridian.
        lat, lon: float64[n]; NaN is never inside.
    Source:
        M. Shimrat (1962), Algorithm 112: position of point relative to polygon, CACM 5.

    >>> inside(((0.0, 0.0), (0.0, 2.0), (2.0, 2.0), (2.0, 0.0)), np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    array([ True, False])
    """
    odd = np.zeros(len(lat), np.bool_)
    previous_lat, previous_lon = polygon[-1]
    for vertex_lat, vertex_lon in polygon:
        if vertex_lat != previous_lat:
            crosses = (vertex_lat > lat) != (previous_lat > lat)
            with np.errstate(invalid="ignore", over="ignore"):  # infinite or huge latitudes cross no edge, so this result is not used
                at_lon = (previous_lon - vertex_lon) * (lat - vertex_lat) / (previous_lat - vertex_lat) + vertex_lon
            odd ^= crosses & (lon < at_lon)
        previous_lat, previous_lon = vertex_lat, vertex_lon
    return odd
