"""Digests of ranges of keys: two large maps are compared by few digests, and only ranges that differ are listed.

A map is cut into ranges at keys of the expected one, so that both sides have the same ranges whatever is added or missing.
Digests of ranges are the leaves of a tree; a node is compared only if the node above it differs.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

PER_RANGE = 64  # keys: a range that differs is listed as quickly as it is found
FAN_OUT = 16
MISSING = b"-"

Level = tuple[bytes, ...]


class Unequal(NamedTuple):
    """A key whose digests differ; None on the side that does not have it."""

    key: bytes
    expected: bytes | None
    got: bytes | None


class Comparison(NamedTuple):
    """What a comparison found.

    Attributes:
        unequal: In order of their keys.
        ranges: How many ranges there are.
        listed: How many of them differ, and so were listed.
    """

    unequal: tuple[Unequal, ...]
    ranges: int
    listed: int


def framed(value: bytes | None) -> bytes:
    """A value with its length, so that values can be joined without mixing them up.

    >>> framed(b"abc"), framed(None)
    (b'3:abc', b'-')
    """
    return MISSING if value is None else b"%d:%b" % (len(value), value)


def bounds_of(keys: Sequence[bytes], per_range: int = PER_RANGE) -> tuple[bytes, ...]:
    """The first key of each range but the first, which begins before all keys.

    Args:
        keys: Ascending.

    >>> bounds_of([b"a", b"b", b"c", b"d", b"e"], 2)
    (b'c', b'e')
    """
    return tuple(keys[per_range::per_range])


def ranges_of(items: Iterable[tuple[bytes, bytes]], bounds: Sequence[bytes]) -> Level:
    """The digest of each range of keys and values, in any order of the items; one more range than bounds."""
    lists: list[list[bytes]] = [[] for _ in range(len(bounds) + 1)]
    for key, value in items:
        lists[bisect_right(bounds, key)].append(framed(key) + framed(value))
    return tuple(_digest(sorted(found)) for found in lists)


def levels_of(leaves: Level) -> list[Level]:
    """The tree above some digests: the leaves first, the root alone in the last level."""
    levels = [leaves]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append(tuple(_digest(below[at : at + FAN_OUT]) for at in range(0, len(below), FAN_OUT)))
    return levels


def differing(expected: Sequence[Level], got: Sequence[Level]) -> list[int]:
    """Which leaves of two trees of one shape differ; nothing below an equal node is looked at.

    >>> differing(levels_of((b"a", b"b")), levels_of((b"a", b"c")))
    [1]
    """
    places = [0]
    for level in range(len(expected) - 1, -1, -1):
        places = [at for at in places if expected[level][at] != got[level][at]]
        if level:
            wide = len(expected[level - 1])
            places = [below for at in places for below in range(at * FAN_OUT, min((at + 1) * FAN_OUT, wide))]
    return places


def compared(expected: Mapping[bytes, bytes], got: Mapping[bytes, bytes], per_range: int = PER_RANGE) -> Comparison:
    """The keys whose values differ, found by digests of ranges.

    >>> compared({b"a": b"1", b"b": b"2"}, {b"a": b"1", b"c": b"2"}).unequal
    (Unequal(key=b'b', expected=b'2', got=None), Unequal(key=b'c', expected=None, got=b'2'))
    """
    bounds = bounds_of(sorted(expected), per_range)
    leaves = ranges_of(expected.items(), bounds)
    places = set(differing(levels_of(leaves), levels_of(ranges_of(got.items(), bounds))))
    keys = {key for side in (expected, got) for key in side if places and bisect_right(bounds, key) in places}
    unequal = [Unequal(key, expected.get(key), got.get(key)) for key in sorted(keys) if expected.get(key) != got.get(key)]
    return Comparison(tuple(unequal), len(leaves), len(places))


def _digest(parts: Sequence[bytes]) -> bytes:
    return hashlib.sha256(b"".join(map(framed, parts))).digest()
