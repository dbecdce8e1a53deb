"""Faults of bytes: values that are no event of a known schema, in the four ways in which schemas break."""

from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np

from schemas.encoding.avro_files import MARKER, fingerprint, head, released
from schemas.events.codec import RIDE_EVENT
from schemas.events.rides import Float64s
from state.simulation.faults.kinds import (
    PRODUCER,
    PRODUCER_COUNT,
    SHARE,
    Concern,
    Fault,
    FaultKind,
    Messages,
    Parameter,
    Scene,
    Touched,
    chances,
    named_producers,
    of_producers,
)

WAYS = ("new-version", "wrong-type", "truncated", "wrong-magic")
MIXED = "mixed"
TEXT_TIME = b"2025-01-01T00:00:00Z"  # an event's time as a text, where its schema has a number
WRONG_MARKER = b"\xff\xff"
_HEAD_BYTES = 10


def schema_break(scene: Scene, fault: Fault, messages: Messages) -> tuple[Messages, Touched]:
    """Some values are not events of the schema that readers know."""
    rows = fault.during(messages.logged_at_us) & (chances(messages.ids, fault.salt) < fault.number("share"))
    rows &= of_producers(messages.ids, fault) & ~messages.broken
    values, how = list(messages.values), fault.word("how")
    chance: Float64s = chances(messages.ids, fault.salt ^ 1)
    for row in np.flatnonzero(rows).tolist():
        way = WAYS[int(chance[row] * len(WAYS))] if how == MIXED else str(how)
        values[row] = broken_value(values[row], way, float(chance[row] * len(WAYS) % 1.0))
    return replace(messages, values=values, broken=messages.broken | rows), Touched(changed=int(np.count_nonzero(rows)))


def broken_value(value: bytes, way: str, chance: float) -> bytes:
    """An encoded ride event, broken in one of the ways.

    Args:
        chance: In [0, 1); decides where a value is truncated.

    >>> broken_value(bytes(10) + b"body", "wrong-magic", 0.0).hex()
    'ffff0000000000000000626f6479'
    """
    if way == "new-version":  # its own frame, and a field more at the end
        return _newer_head() + value[_HEAD_BYTES:] + b"\x00"
    if way == "wrong-type":  # the frame that readers know, and a time as a text
        at = _HEAD_BYTES
        for _ in range(2):  # event_id and ride_id
            at = _after_text(value, at)
        at += 1  # kind
        stop = _after_number(value, at)
        return value[:at] + bytes([2 * len(TEXT_TIME)]) + TEXT_TIME + value[stop:]
    if way == "truncated":
        return value[: _HEAD_BYTES + int(chance * (len(value) - _HEAD_BYTES))]
    return WRONG_MARKER + value[len(MARKER) :]


@cache
def _newer_head() -> bytes:
    """The frame of a ride event with one field more, which no reader here knows."""
    schema = deepcopy(released(RIDE_EVENT))
    schema["fields"].append({"name": "tip", "type": ["null", "double"], "default": None})
    assert fingerprint(schema) != head(RIDE_EVENT)[len(MARKER) :]
    return MARKER + fingerprint(schema)


def _after_number(value: bytes, at: int) -> int:
    while value[at] > 127:
        at += 1
    return at + 1


def _after_text(value: bytes, at: int) -> int:
    size, shift, start = 0, 0, at
    stop = _after_number(value, at)
    for byte in value[start:stop]:
        size |= (byte & 127) << shift
        shift += 7
    return stop + (size >> 1)


def _by_producer(scene: Scene, fault: Fault) -> Concern:
    return Concern(producers=named_producers(fault))


KINDS_OF_BREAKS = (
    FaultKind(
        "schema",
        "Some values are not events of a schema that readers know; all are rejected as undecodable.",
        "the producers",
        6,
        (
            replace(SHARE, default=0.05),
            Parameter(
                "how",
                "a newer version, a text for a time, a truncated value, a wrong first byte, or all four",
                MIXED,
                choices=(MIXED, *WAYS),
            ),
            PRODUCER,
            PRODUCER_COUNT,
        ),
        messages=schema_break,
        concerns=_by_producer,
    ),
)
