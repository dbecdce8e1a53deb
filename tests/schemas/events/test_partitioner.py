"""A key's partition is the one that Kafka's clients choose."""

import pytest
from hypothesis import given, strategies as st

from schemas.events.partitioner import partition_of


def plain_murmur2(data: bytes) -> int:
    """MurmurHash2 with Kafka's seed, one key at a time, as in its Utils.murmur2: the reference."""
    low_32, mix = 0xFFFFFFFF, 0x5BD1E995
    mixed = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * mix & low_32
        mixed = mixed * mix & low_32 ^ (word ^ word >> 24) * mix & low_32
    if tail := data[whole:]:
        mixed = (mixed ^ int.from_bytes(tail, "little")) * mix & low_32
    mixed = (mixed ^ mixed >> 13) * mix & low_32
    return mixed ^ mixed >> 15


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_reference_gives_the_hashes_of_kafkas_own_test(key: bytes, expected: int) -> None:
    """Values from Apache Kafka's UtilsTest.testMurmur2; the vectorised form puts the key where they say."""
    assert expected % 2**32 == plain_murmur2(key)
    assert [(expected & 0x7FFFFFFF) % 1000] == partition_of([key], 1000).tolist()


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(1, 50))
def test_many_keys_at_once_go_where_each_would_go(keys: list[bytes], partitions: int) -> None:
    """Keys of mixed lengths, empty ones among them, are placed as the reference places them."""
    assert [(plain_murmur2(key) & 0x7FFFFFFF) % partitions for key in keys] == partition_of(keys, partitions).tolist()
