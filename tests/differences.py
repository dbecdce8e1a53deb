"""Where two large values differ first, with both sides: what a failing comparison of states, arrays or records should say."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from schemas.errors import DamagedError
from schemas.records.record_codec import decode

MOST_TEXT = 200  # letters of one side


def assert_same(expected: object, found: object, where: str = "") -> None:
    """Demand that two values are equal to the last bit; NaN is equal to itself."""
    said = difference(expected, found, where)
    if said is not None:
        raise AssertionError(said)


def difference(expected: Any, found: Any, where: str = "") -> str | None:
    """The first place at which two values differ, and what is there; None if they are equal.

    Walks into mappings, sequences, dataclasses and arrays; of bytes it names the first that differs.

    >>> difference({"a": [1, 2]}, {"a": [1, 3]}, "state")
    "state['a'][1]: expected 2, got 3"
    >>> difference(np.array([[1, 2], [3, 4]]), np.array([[1, 2], [3, 5]]), "rows")
    'rows[1, 1]: expected 4, got 5 (1 of 4 values differ)'
    >>> difference((1, 2), (1,)), difference({1: 2}, {1: 2})
    (': expected 2 items, got 1; the first that is not there: 2', None)
    """
    if isinstance(expected, np.ndarray) and isinstance(found, np.ndarray):
        return _of_arrays(expected, found, where)
    if type(expected) is not type(found):
        return f"{where}: expected {_short(expected)}, got {_short(found)}"
    if isinstance(expected, Mapping):
        return _of_mappings(expected, found, where)
    if isinstance(expected, bytes):
        return _of_bytes(expected, found, where)
    if isinstance(expected, Sequence) and not isinstance(expected, str):
        return _of_sequences(expected, found, where)
    if dataclasses.is_dataclass(expected) and not isinstance(expected, type):
        names = [field.name for field in dataclasses.fields(expected) if field.compare]
        steps = (difference(getattr(expected, name), getattr(found, name), f"{where}.{name}") for name in names)
        return next((said for said in steps if said is not None), None)
    if expected == found or (expected != expected and found != found):
        return None
    return f"{where}: expected {_short(expected)}, got {_short(found)}"


def payload_difference(expected: Sequence[bytes], found: Sequence[bytes]) -> str | None:
    """The first entry of two logs that differs, and in which field of its record; None if the logs are equal."""
    for index, (one, other) in enumerate(zip(expected, found, strict=False)):
        if one != other:
            try:
                said = difference(decode(one), decode(other), f"entry {index}")
            except DamagedError as damage:
                said = f"entry {index}: {damage}"
            return said or difference(one, other, f"entry {index}, bytes of an equal record")
    return difference(list(expected), list(found), "log")


def assert_same_payloads(expected: Sequence[bytes], found: Sequence[bytes]) -> None:
    """Demand that two logs are byte-identical."""
    said = payload_difference(expected, found)
    if said is not None:
        raise AssertionError(said)


def _of_mappings(expected: Mapping[Any, Any], found: Mapping[Any, Any], where: str) -> str | None:
    missing = [key for key in expected if key not in found]
    further = [key for key in found if key not in expected]
    if missing:
        return f"{where}[{missing[0]!r}]: expected {_short(expected[missing[0]])}, got nothing ({len(missing)} keys are missing)"
    if further:
        return f"{where}[{further[0]!r}]: expected nothing, got {_short(found[further[0]])} ({len(further)} keys too many)"
    steps = (difference(expected[key], found[key], f"{where}[{key!r}]") for key in expected)
    return next((said for said in steps if said is not None), None)


def _of_sequences(expected: Sequence[Any], found: Sequence[Any], where: str) -> str | None:
    for at, (one, other) in enumerate(zip(expected, found, strict=False)):
        if (said := difference(one, other, f"{where}[{at}]")) is not None:
            return said
    if len(expected) == len(found):
        return None
    longer, what = (expected, "is not there") if len(expected) > len(found) else (found, "is too many")
    left = _short(longer[min(len(expected), len(found))])
    return f"{where}: expected {len(expected)} items, got {len(found)}; the first that {what}: {left}"


def _of_bytes(expected: bytes, found: bytes, where: str) -> str | None:
    if expected == found:
        return None
    at = next((at for at, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]), min(len(expected), len(found)))
    sides = (f"{len(side)} bytes with {side[at : at + 8].hex() or 'the end'}" for side in (expected, found))
    return f"{where}, byte {at}: expected {next(sides)}, got {next(sides)}"


def _of_arrays(expected: np.ndarray, found: np.ndarray, where: str) -> str | None:
    if (expected.shape, expected.dtype) != (found.shape, found.dtype):
        return f"{where}: expected {expected.dtype}{list(expected.shape)}, got {found.dtype}{list(found.shape)}"
    differs = expected != found
    if expected.dtype.kind in "fc":
        differs &= ~(np.isnan(expected) & np.isnan(found))
    if not differs.any():
        return None
    place = tuple(int(axis[0]) for axis in np.nonzero(differs))
    count = f"{int(differs.sum())} of {differs.size} values differ"
    return f"{where}[{', '.join(map(str, place))}]: expected {expected[place].item()!r}, got {found[place].item()!r} ({count})"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}... ({len(text)} letters)"
