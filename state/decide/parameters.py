"""Which value a parameter has: parsed from text, checked by its row, and found in the narrowest scope that has one.

`state.decide.parameter_table` lists the parameters. The control log says what was set; whoever asks passes in what was in force.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from schemas.errors import ContractError, UsageError
from schemas.records.records import ParameterSet
from schemas.times import iso

Value = float | int | bool
Place = tuple[str, str, str]  # name of a parameter, region, cell; empty where it is wider
InForce = Mapping[Place, ParameterSet]  # only places that have a value of their own

ON, OFF = "on", "off"
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")


class Scope(StrEnum):
    """Where a value holds, the widest first."""

    INSTANCE = "instance"
    REGION = "region"
    CELL = "cell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter; the type of its default is its type.

    Attributes:
        name: With the unit last.
        default: Where nothing is set; a bool makes it a switch with the values on and off.
        unit: Of a number; empty for a switch.
        low, high: Bounds of a number, both allowed.
        scopes: Where it can be set.
        meaning: One line.
        effect: When a change takes effect.
        setting: Name of the static setting whose value is its default; empty for none.
    """

    name: str
    default: Value
    meaning: str
    effect: str
    scopes: tuple[Scope, ...] = (Scope.INSTANCE, Scope.REGION)
    unit: str = ""
    low: float = 0.0
    high: float = 0.0
    setting: str = ""

    @property
    def kind(self) -> str:
        """Its type, in words."""
        return "switch" if isinstance(self.default, bool) else "whole number" if isinstance(self.default, int) else "number"

    @property
    def bounds(self) -> str:
        """Its allowed values, in words."""
        return f"{ON} or {OFF}" if isinstance(self.default, bool) else f"{self.low:.15g} to {self.high:.15g}"

    def parse(self, text: str) -> Value:
        """The value that a text gives.

        Raises:
            UsageError: it is not of the parameter's type, or out of its bounds; NaN is out of all bounds.

        >>> Parameter(name="n_days", default=2, unit="days", low=0, high=9, meaning="", effect="").parse("3")
        3
        """
        expected = f"{self.bounds}{' ' + self.unit if self.unit else ''}"
        if isinstance(self.default, bool):
            if text not in (ON, OFF):
                raise UsageError(f"parameter {self.name}: expected {expected}, got {text!r}")
            return text == ON
        form = _WHOLE if isinstance(self.default, int) else _NUMBER
        if not form.fullmatch(text):
            raise UsageError(f"parameter {self.name}: expected a {self.kind}, {expected}, got {text!r}")
        number = int(text) if isinstance(self.default, int) else float(text)
        if not self.low <= number <= self.high:
            raise UsageError(f"parameter {self.name}: expected {expected}, got {text}")
        return number


def text_of(value: Value) -> str:
    """The canonical text of a value, which `Parameter.parse` reads to the same value.

    >>> text_of(12.0), text_of(2), text_of(False)
    ('12.0', '2', 'off')
    """
    return (ON if value else OFF) if isinstance(value, bool) else repr(value)


@dataclass(frozen=True, slots=True)
class Found:
    """The value of a parameter for whoever asks.

    Attributes:
        scope: Where it was set; None if nothing is set there: the value is the default.
        record: That set it.
    """

    value: Value
    scope: Scope | None = None
    record: ParameterSet | None = None


def scope_of(region: str, cell: str) -> Scope:
    """The scope that a region and a cell name.

    >>> scope_of("nyc", "").value
    'region'
    """
    return Scope.CELL if cell else Scope.REGION if region else Scope.INSTANCE


def find(in_force: InForce, parameter: Parameter, region: str = "", cell: str = "", default: Value | None = None) -> Found:
    """The value for a cell of a region, for a region or for the instance: that of the narrowest scope that has one.

    Args:
        default: Of the static setting, for a parameter that has one.
    Raises:
        ContractError: this release does not understand a recorded value.
    """
    for place in ((region, cell), (region, ""), ("", "")):
        record = in_force.get((parameter.name, *place))
        if record is None:
            continue
        try:
            return Found(parameter.parse(record.value), scope_of(*place), record)
        except UsageError as cause:
            raise ContractError(f"control: a newer Ridecast may have set this: {cause}") from cause
    return Found(parameter.default if default is None else default)


def check_place(parameter: Parameter, region: str, cell: str) -> None:
    """Refuse a scope that a parameter does not have.

    Raises:
        UsageError: it cannot be set there.
    """
    scope = scope_of(region, cell)
    if scope not in parameter.scopes:
        raise UsageError(f"parameter {parameter.name}: expected one of the scopes {', '.join(parameter.scopes)}, got {scope}")


def document(in_force: InForce, parameter: Parameter, region: str, cell: str, default: Value | None = None) -> dict[str, object]:
    """A parameter and its value as JSON, for a cell of a region, a region or the instance."""
    found = find(in_force, parameter, region, cell, default)
    record = found.record
    usual = parameter.default if default is None else default
    return {
        "parameter": parameter.name,
        "value": text_of(found.value),
        "unit": parameter.unit,
        "source": str(found.scope) if found.scope is not None else f"setting {parameter.setting}" if parameter.setting else "default",
        "default": text_of(usual),
        "bounds": parameter.bounds,
        "scopes": [str(scope) for scope in parameter.scopes],
        "effect": parameter.effect,
        "meaning": parameter.meaning,
        "set": None
        if record is None
        else {
            "region": record.region or None,
            "cell": record.cell or None,
            "set_at": iso(record.set_at_us),
            "author": record.author,
            "reason": record.reason,
        },
    }
