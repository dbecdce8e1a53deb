"""Which parameters and flags are set, by the control log up to a size or a time, and every change of them.

What a recorded value means, and which scope is asked first, `state.decide.parameters` and `state.decide.flags` say.
"""

import json
from collections.abc import Iterator

from ledger.store.log import Ledger, Stored, holds
from schemas.errors import UsageError
from schemas.records.records import CONTROL_LOG, FlagSet, ParameterSet
from schemas.times import iso, parse_utc

Place = tuple[str, str, str]  # name of a parameter, region, cell; empty where it is wider
KINDS = (ParameterSet, FlagSet)


def follow_parameter(in_force: dict[Place, ParameterSet], record: ParameterSet) -> None:
    """Change what is set as a record says."""
    place = record.parameter, record.region, record.cell
    if record.value:
        in_force[place] = record
    else:
        in_force.pop(place, None)


def parameters_at(ledger: Ledger, control_size: int) -> dict[Place, ParameterSet]:
    """What is set by the first entries of the control log."""
    in_force: dict[Place, ParameterSet] = {}
    for stored in ledger.scan(CONTROL_LOG, 0, control_size, ParameterSet):
        follow_parameter(in_force, stored.record)
    return in_force


def flags_at(ledger: Ledger, control_size: int) -> dict[str, Stored[FlagSet]]:
    """The entries that define the flags that there are after the first entries of the control log, by key."""
    in_force: dict[str, Stored[FlagSet]] = {}
    for stored in ledger.scan(CONTROL_LOG, 0, control_size, FlagSet):
        record = stored.record
        if record.definition:
            in_force[record.flag] = stored
        else:
            in_force.pop(record.flag, None)
    return dict(sorted(in_force.items()))


def changes(ledger: Ledger, control_size: int | None = None) -> Iterator[Stored[ParameterSet] | Stored[FlagSet]]:
    """Every change of a parameter or a flag, in order."""
    for stored in ledger.read_kinds(CONTROL_LOG, 0, control_size, KINDS):
        if holds(stored, ParameterSet) or holds(stored, FlagSet):
            yield stored


def newest_us(ledger: Ledger, control_size: int) -> int:
    """When the newest change among the first entries was decided; 0 without one. A later change is never earlier."""
    return max((stored.record.set_at_us for stored in changes(ledger, control_size)), default=0)


def size_at(ledger: Ledger, at_us: int) -> int:
    """Size of the control log that has every change up to a time, and none after it."""
    later = (stored.index for stored in changes(ledger) if stored.record.set_at_us > at_us)
    return next(later, ledger.head(CONTROL_LOG).size)


def size_named(ledger: Ledger, at: str | None) -> int:
    """Size of the control log that a text names: its digits, or a time, whose changes it has; now for None.

    Raises:
        UsageError: it is neither, or the log has not reached that size; the text does not name a field.
    """
    head = ledger.head(CONTROL_LOG).size
    if at is None:
        return head
    if at.isascii() and at.isdigit():
        if len(at) > 18 or int(at) > head:
            raise UsageError(f"expected a size of {CONTROL_LOG} of at most {head}, or an ISO time, got {at}")
        return int(at)
    return size_at(ledger, parse_utc(at))


def history_of(ledger: Ledger, control_size: int, name: str | None = None, region: str = "") -> list[dict[str, object]]:
    """Every change of a parameter, or of all, as JSON; of one region, if one is given. A value of null takes one back."""
    return [
        {
            "index": stored.index,
            "set_at": iso(stored.record.set_at_us),
            "parameter": stored.record.parameter,
            "region": stored.record.region or None,
            "cell": stored.record.cell or None,
            "value": stored.record.value or None,
            "unit": stored.record.unit,
            "author": stored.record.author,
            "reason": stored.record.reason,
        }
        for stored in ledger.scan(CONTROL_LOG, 0, control_size, ParameterSet)
        if name in (None, stored.record.parameter) and (not region or stored.record.region == region)
    ]


def flag_history_of(ledger: Ledger, control_size: int, key: str | None = None) -> list[dict[str, object]]:
    """Every change of a flag, or of all, as JSON. A definition of null removes one."""
    return [
        {
            "index": stored.index,
            "set_at": iso(stored.record.set_at_us),
            "flag": stored.record.flag,
            "definition": json.loads(stored.record.definition) if stored.record.definition else None,
            "author": stored.record.author,
            "reason": stored.record.reason,
        }
        for stored in ledger.scan(CONTROL_LOG, 0, control_size, FlagSet)
        if key in (None, stored.record.flag)
    ]
