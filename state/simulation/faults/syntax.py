"""Reads faults from texts such as `surge:factor=3,cells=12,from=2026-01-05T18:00,hours=2`, and describes what may be written."""

import re
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from schemas.errors import UsageError
from schemas.events.cells import cell_code, centres, inside
from schemas.regions import US_PER_S, Region
from schemas.times import iso, parse_time
from state.simulation.faults.kinds import FOREVER_US, Fault, FaultKind, Parameter, Stage
from state.simulation.faults.table import FAULTS, TIME_PARAMETERS

SEE_LIST = "see `ridecast simulate --fault list`"
HOUR_US = 3_600 * US_PER_S
_AFTER_START = re.compile(r"\+(?=\d)(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,7})m)?")


def parse_faults(texts: Iterable[str], region: Region, start_us: int, end_us: int) -> tuple[Fault, ...]:
    """The faults of a simulation from start to end; each has chances of its own, also the second of two equal ones.

    Raises:
        UsageError: as `parse_fault`.
    """
    found, seen = list[Fault](), Counter[str]()
    for text in texts:
        fault = parse_fault(text, region, start_us, end_us)
        found.append(replace(fault, salt=_salt(f"{fault.text}#{seen[fault.text]}")))
        seen[fault.text] += 1
    return tuple(found)


def parse_fault(text: str, region: Region, start_us: int, end_us: int) -> Fault:
    """One fault, with its times in UTC and a default for whatever is not given.

    Raises:
        UsageError: an unknown kind or parameter, a value out of bounds, or a time outside the simulation.

    >>> from schemas.regions import load_region
    >>> fault = parse_fault("surge:from=+1d", load_region("tehran"), 0, 2 * 24 * HOUR_US)
    >>> fault.number("factor"), (fault.until_us - fault.from_us) // HOUR_US
    (3.0, 2)
    """
    name, _, rest = text.partition(":")
    if name not in FAULTS:
        raise UsageError(f"--fault {text}: expected one of {', '.join(FAULTS)}, got {name!r}", remedy=SEE_LIST)
    kind, where = FAULTS[name], f"--fault {text}"
    given = _pairs(rest, where)
    known = {parameter.name: parameter for parameter in kind.parameters}
    for word in given:
        if word not in known and word not in TIME_PARAMETERS:
            raise UsageError(f"{where}: expected one of {', '.join([*TIME_PARAMETERS, *known])}, got {word!r}", remedy=SEE_LIST)
    values = {word: _value(parameter, given.get(word), where, region) for word, parameter in known.items()}
    if values.get("by_s") == 0:
        raise UsageError(f"{where}: by_s: expected a clock that is ahead or behind, got 0")
    if "producers" in given and values.get("producer") is None:
        raise UsageError(f"{where}: expected `producer` beside `producers`, got none", remedy="give the first producer, such as producer=0")
    if values.get("producer", 0.0) is None:
        values["producers"] = None
    from_us, until_us = _times(kind, given, where, region, start_us, end_us)
    return Fault(kind, values, from_us, until_us, _canonical(kind, values, from_us, until_us), _salt(text))


def _salt(text: str) -> int:
    """63 bits from a text."""
    data = text.encode()
    return (zlib.crc32(data) << 31 ^ zlib.crc32(data, 0x9E3779B9)) & (1 << 63) - 1


def _canonical(kind: FaultKind, values: dict[str, float | str | None], from_us: int, until_us: int) -> str:
    given = {name: value for name, value in values.items() if value is not None}
    words = [f"{name}={value:.15g}" if isinstance(value, float) else f"{name}={value}" for name, value in given.items()]
    words.append(f"from={iso(from_us)}")
    words += [] if until_us == FOREVER_US else [f"until={iso(until_us)}"]
    return f"{kind.name}:{','.join(words)}"


def _pairs(text: str, where: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(",") if text else ():
        name, equals, value = part.partition("=")
        if not equals or not name or not value:
            raise UsageError(f"{where}: expected parameters as name=value with commas between them, got {part!r}", remedy=SEE_LIST)
        if name in found:
            raise UsageError(f"{where}: expected each parameter once, got {name} twice")
        found[name] = value
    return found


def _value(parameter: Parameter, text: str | None, where: str, region: Region) -> float | str | None:
    if text is None:
        return parameter.default
    where = f"{where}: {parameter.name}"
    if parameter.choices:
        if text not in parameter.choices:
            raise UsageError(f"{where}: expected one of {', '.join(parameter.choices)}, got {text!r}")
        return text
    if parameter.cell:
        return _cell(text, where, region)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not parameter.low <= value <= parameter.high or (parameter.whole and value != int(value)):
        raise UsageError(f"{where}: expected {bounds_of(parameter)}, got {text!r}")
    return value


def _cell(text: str, where: str, region: Region) -> str:
    if len(text) != region.precision:
        raise UsageError(f"{where}: expected a geohash of {region.precision} letters, as the cells of {region.id}, got {text!r}")
    try:
        lat, lon = centres(np.array([cell_code(text)], np.uint64), region.cell_bits)
    except UsageError as cause:
        raise UsageError(f"{where}: {cause}") from None
    if not inside(region.polygon, lat, lon)[0]:
        raise UsageError(f"{where}: expected a cell in {region.id}, got {text!r}, whose middle is at {lat[0]:.4f}, {lon[0]:.4f}")
    return text


def _times(kind: FaultKind, given: dict[str, str], where: str, region: Region, start_us: int, end_us: int) -> tuple[int, int]:
    if "from" not in given:
        raise UsageError(f"{where}: expected its beginning, got none", remedy="add from=2025-04-07T18:00, or from=+2d18h after the start")
    if "until" in given and "hours" in given:
        raise UsageError(f"{where}: expected `until` or `hours`, got both")
    from_us = _moment(given["from"], f"{where}: from", region, start_us)
    if not start_us <= from_us < end_us:
        raise UsageError(f"{where}: from: expected a time in the simulation, {iso(start_us)} to {iso(end_us)}, got {iso(from_us)}")
    until_us = FOREVER_US
    if "until" in given:
        until_us = _moment(given["until"], f"{where}: until", region, start_us)
        if until_us <= from_us:
            raise UsageError(f"{where}: until: expected a time after {iso(from_us)}, got {iso(until_us)}")
    elif "hours" in given or kind.hours is not None:
        try:
            hours = float(given.get("hours", kind.hours or 0.0))
        except ValueError:
            hours = float("nan")
        if not 1 / 3_600 <= hours <= 100_000:
            raise UsageError(f"{where}: hours: expected 0.0003 to 100000, got {given['hours']!r}")
        until_us = from_us + round(hours * HOUR_US)
    if kind.stage is Stage.DEMAND:
        for name, at_us in (("from", from_us), ("end", until_us)):
            if at_us != FOREVER_US and at_us % region.slot_us:
                before_us = at_us - at_us % region.slot_us
                # An end goes up, so that it stays after its beginning.
                better = iso(before_us) if name == "from" else f"until={iso(before_us + region.slot_us)}"
                raise UsageError(
                    f"{where}: {name}: expected the start of a slot of {region.slot_min} minutes, got {iso(at_us)}",
                    remedy=f"demand is planned by slot; give {better}",
                )
    return from_us, until_us


def _moment(text: str, where: str, region: Region, start_us: int) -> int:
    after = _AFTER_START.fullmatch(text)
    if after:
        days, hours, minutes = (int(part or 0) for part in after.groups())
        return start_us + ((days * 24 + hours) * 60 + minutes) * 60 * US_PER_S
    try:
        return parse_time(text, region)
    except UsageError as cause:
        raise UsageError(f"{where}: {cause}", remedy="a time after the start is written as +2d6h30m") from None


# --- help ------------------------------------------------------------------------------------------


def bounds_of(parameter: Parameter) -> str:
    """What a parameter takes.

    >>> bounds_of(Parameter("share", "", 0.2, 0.01, 1.0))
    'a number from 0.01 to 1'
    """
    if parameter.choices:
        return f"one of {', '.join(parameter.choices)}"
    if parameter.cell:
        return "a geohash of the region's precision"
    kind = "a whole number" if parameter.whole else "a number"
    return f"{kind} from {parameter.low:g} to {parameter.high:g}{f' {parameter.unit}' if parameter.unit else ''}"


def described() -> str:
    """The table of faults as text."""
    lines = ["--fault KIND:name=value,name=value,...", "", "every kind:"]
    lines += [f"  {name:<12} {says}" for name, says in TIME_PARAMETERS.items()]
    for kind in FAULTS.values():
        length = "for good" if kind.hours is None else f"hours={kind.hours:g}"
        lines += ["", f"{kind.name}: {kind.says}", f"  by default {length}; the label names {kind.labels}"]
        for parameter in kind.parameters:
            default = parameter.default
            shown = "" if default is None else f"={default:g}" if isinstance(default, float) else f"={default}"
            lines.append(f"  {parameter.name + shown:<14} {parameter.says}; {bounds_of(parameter)}")
    return "\n".join(lines)
