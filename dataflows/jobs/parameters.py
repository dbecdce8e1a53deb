"""Sets parameters and flags: appends to the control log what was decided from the log that it is appended to."""

from collections.abc import Callable
from dataclasses import dataclass

from ledger.store.log import Ledger
from ledger.views.append import append_decided
from ledger.views.parameters import newest_us, parameters_at
from ledger.views.regions import bootstrapped_in, region_of
from schemas.errors import UsageError
from schemas.events.cells import cell_code
from schemas.records.records import CONTROL_LOG, ParameterSet
from state.decide.parameter_table import parameter_named
from state.decide.parameters import Parameter, check_place, scope_of, text_of


@dataclass(frozen=True, slots=True)
class Changed:
    """What a command did.

    Attributes:
        record: That was appended; None if the value was the same already.
        before: Value that the scope had of its own; empty for none.
    """

    record: ParameterSet | None
    before: str


def set_parameter(
    ledger: Ledger, name: str, text: str, now_us: Callable[[], int], *, region: str = "", cell: str = "", author: str, reason: str
) -> Changed:
    """Record a new value of a parameter in one scope; nothing if it has this value there.

    Raises:
        UsageError: there is no such parameter, scope or region, or it cannot have this value.
    """
    parameter = parameter_named(name)
    value = text_of(parameter.parse(text))
    check_where(ledger, parameter, region, cell)
    return _record(ledger, parameter, value, now_us, region, cell, author, reason)


def unset_parameter(
    ledger: Ledger, name: str, now_us: Callable[[], int], *, region: str = "", cell: str = "", author: str, reason: str
) -> Changed:
    """Record that a scope has no value of its own any more, so that the wider one or the default holds.

    Raises:
        UsageError: as `set_parameter`; or the scope has none.
    """
    parameter = parameter_named(name)
    check_place(parameter, region, cell)
    return _record(ledger, parameter, "", now_us, region, cell, author, reason)


def check_where(ledger: Ledger, parameter: Parameter, region: str, cell: str) -> None:
    """Refuse a scope that a parameter does not have, and a region or cell that this home does not have.

    Raises:
        UsageError: there is none.
    """
    check_region(ledger, region, cell)
    check_place(parameter, region, cell)


def check_region(ledger: Ledger, region: str, cell: str) -> None:
    """Refuse a region or cell that this home does not have.

    Raises:
        UsageError: there is none.
    """
    if cell and not region:
        raise UsageError("--cell: expected --region too, got none")
    known = bootstrapped_in(ledger)
    if region and region not in known:
        raise UsageError(f"--region: expected one of {', '.join(known) or 'none'}, got {region!r}")
    if cell:
        precision = region_of(ledger, region).precision
        cell_code(cell)
        if len(cell) != precision or cell != cell.lower():
            raise UsageError(f"--cell: expected a geohash of {precision} letters in region {region}, got {cell!r}")


def _record(
    ledger: Ledger, parameter: Parameter, value: str, now_us: Callable[[], int], region: str, cell: str, author: str, reason: str
) -> Changed:
    ledger.admit_all()
    changed = Changed(None, "")

    def decide(size: int) -> list[ParameterSet]:
        nonlocal changed
        held = parameters_at(ledger, size).get((parameter.name, region, cell))
        before = held.value if held is not None else ""
        if not value and held is None:
            where = scope_of(region, cell)
            raise UsageError(f"parameter {parameter.name}: expected a value of its own in the {where} scope, found none; nothing to unset")
        if value == before:
            changed = Changed(None, before)
            return []
        record = ParameterSet(
            parameter=parameter.name,
            region=region,
            cell=cell,
            value=value,
            unit=parameter.unit,
            set_at_us=max(now_us(), newest_us(ledger, size)),  # A clock that was set back changes no order.
            author=author,
            reason=reason,
        )
        changed = Changed(record, before)
        return [record]

    append_decided(ledger, CONTROL_LOG, decide)
    return changed
