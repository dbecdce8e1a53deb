"""Converts columns of latitude or longitude to degrees, also with a decimal comma."""

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from schemas.errors import UsageError
from schemas.events.rides import Float64s

_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_DECIMAL_COMMA = r"^(\s*[+-]?\d{1,3}),(\d+\s*)$"


def degrees(column: pa.ChunkedArray, where: str) -> Float64s:
    """float64[n], NaN for what is no number.

    Args:
        column: Numbers or texts; in texts the decimal mark may be a comma.
        where: File and column, for errors.
    Raises:
        UsageError: the column has a type that cannot hold coordinates.

    >>> degrees(pa.chunked_array([["40,7", " -74.01 ", "north", None]]), "t").tolist()
    [40.7, -74.01, nan, nan]
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_boolean(column.type) or pa.types.is_temporal(column.type):
        raise UsageError(f"{where}: expected numbers, got {column.type}", remedy="name another column with --lat or --lon")
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.string())  # the nearest float64, which Arrow's own cast misses
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or str(column.type) == "string_view":
        column = column.cast(pa.string())
        column = pc.replace_substring_regex(column, _DECIMAL_COMMA, r"\1.\2")
        number = pc.match_substring_regex(column, _NUMBER)
        column = pc.utf8_trim_whitespace(pc.if_else(number, column, pa.scalar("nan", column.type)))
    try:
        numbers = column.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as cause:
        raise UsageError(f"{where}: expected numbers, got {column.type}", remedy="name another column with --lat or --lon") from cause
    return np.asarray(numbers.to_numpy(zero_copy_only=False), np.float64)
