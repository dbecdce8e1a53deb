"""Avro's integers, many at a time, are those that fastavro writes one at a time."""

import io

import fastavro
import numpy as np
import pytest
from hypothesis import given, strategies as st

from schemas.encoding.varints import BLOCK, decode_longs, encode_longs
from schemas.errors import DamagedError

longs = st.lists(st.one_of(st.integers(-200, 200), st.integers(-(2**63), 2**63 - 1)), max_size=50)


def one_at_a_time(values: list[int]) -> bytes:
    """The bytes of values, as fastavro writes them."""
    out = io.BytesIO()
    for value in values:
        fastavro.schemaless_writer(out, "long", value)
    return out.getvalue()


@given(longs)
def test_values_are_written_as_avro_longs(values: list[int]) -> None:
    """Bytes equal fastavro's, and the sizes say where each value lies."""
    data, sizes = encode_longs(np.array(values, np.int64))
    assert one_at_a_time(values) == data.tobytes()
    assert [len(one_at_a_time([value])) for value in values] == sizes.tolist()


@given(longs)
def test_reading_undoes_writing(values: list[int]) -> None:
    """Any 64-bit values come back."""
    assert values == decode_longs(encode_longs(np.array(values, np.int64))[0]).tolist()


def test_more_values_than_one_block_are_written_in_order() -> None:
    """Blocks are joined without a seam."""
    values = np.arange(-BLOCK, BLOCK + 7)
    data, sizes = encode_longs(values)
    assert len(data) == int(sizes.sum())
    assert np.array_equal(values, decode_longs(data))


@given(st.binary(max_size=30))
def test_only_the_shortest_form_is_read(data: bytes) -> None:
    """Bytes are either refused, or exactly what the values that were read are written as."""
    try:
        values = decode_longs(np.frombuffer(data, np.uint8))
    except DamagedError:
        return
    assert data == encode_longs(values)[0].tobytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("80", "expected the last of 1 bytes"),
        ("0180", "expected the last of 2 bytes"),
        ("8000", "byte 0"),
        ("028100", "byte 1"),  # one, padded
        ("ffffffffffffffffff0104" + "80808080808080808000", "byte 11"),  # zero in ten bytes
        ("02ffffffffffffffffffff01", "byte 1"),  # eleven bytes
        ("02ffffffffffffffffff02", "byte 1"),
    ],
)
def test_a_value_that_is_cut_or_stretched_is_damage(text: str, message: str) -> None:
    """The error says where."""
    with pytest.raises(DamagedError, match=message):
        decode_longs(np.frombuffer(bytes.fromhex(text), np.uint8))
