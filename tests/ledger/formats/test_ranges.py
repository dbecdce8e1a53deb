"""Digests of ranges: maps are compared by few digests, with the same result as key by key."""

from itertools import pairwise

from hypothesis import given, strategies as st

from ledger.formats.ranges import FAN_OUT, bounds_of, compared, differing, framed, levels_of, ranges_of

Map = dict[bytes, bytes]
MAPS = st.dictionaries(st.binary(max_size=3), st.binary(max_size=2), max_size=60)


def plain(expected: Map, got: Map) -> list[tuple[bytes, bytes | None, bytes | None]]:
    """The keys that differ, one by one."""
    return [(key, expected.get(key), got.get(key)) for key in sorted({*expected, *got}) if expected.get(key, None) != got.get(key, None)]


@given(expected=MAPS, changes=MAPS, removed=st.sets(st.binary(max_size=3), max_size=5), per_range=st.integers(1, 9))
def test_ranges_find_what_a_comparison_of_keys_finds(expected: Map, changes: Map, removed: set[bytes], per_range: int) -> None:
    """Whatever is changed, added or missing, exactly that is unequal; equal maps have no range that is listed."""
    got = {key: value for key, value in (expected | changes).items() if key not in removed}
    found = compared(expected, got, per_range)
    assert plain(expected, got) == [tuple(one) for one in found.unequal]
    assert (found.listed == 0) == (expected == got)
    assert found.listed <= max(1, len(found.unequal))
    assert found.ranges == len(bounds_of(sorted(expected), per_range)) + 1


def test_one_change_in_a_large_map_lists_one_range() -> None:
    """Of ten thousand keys one range is listed if one value differs."""
    expected = {b"%05d" % number: b"%d" % number for number in range(10_000)}
    found = compared(expected, expected | {b"04711": b"-"})
    assert ((b"04711", b"4711", b"-"), 157, 1) == (tuple(found.unequal[0]), found.ranges, found.listed)


@given(leaves=st.lists(st.binary(max_size=1), min_size=1, max_size=600), at=st.sets(st.integers(0, 599), max_size=4))
def test_a_tree_finds_the_leaves_that_differ(leaves: list[bytes], at: set[int]) -> None:
    """For trees of any size, the places that differ are those of the leaves; equal trees are compared by their root alone."""
    other = [b"other" if place in at else leaf for place, leaf in enumerate(leaves)]
    ours, theirs = levels_of(tuple(leaves)), levels_of(tuple(other))
    assert sorted(place for place in at if place < len(leaves)) == differing(ours, theirs)
    assert 1 == len(ours[-1])
    assert all(len(above) == -(-len(below) // FAN_OUT) for below, above in pairwise(ours))


def test_values_that_are_joined_are_not_mixed_up() -> None:
    """Where a value ends is part of a digest, and no value is not an empty one."""
    assert ranges_of([(b"a", b"bc")], ()) != ranges_of([(b"ab", b"c")], ())
    assert framed(b"") != framed(None)
    assert ranges_of([(b"a", b"1"), (b"b", b"2")], ()) == ranges_of([(b"b", b"2"), (b"a", b"1")], ())
