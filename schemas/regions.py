"""A region: the definition of a city, read from JSON."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, NewType

from schemas.calendars.holidays import HolidaysOf, is_date, look_up, named_in
from schemas.errors import UsageError
from schemas.events.measures import measure_named
from schemas.outlines import centre, is_geojson, outline_fault, outline_from_geojson, slug_of
from schemas.zones import ZoneInfo, ZoneInfoNotFoundError

RegionId = NewType("RegionId", str)

US_PER_S = 1_000_000
US_PER_MIN = 60 * US_PER_S
DAY_MIN = 24 * 60
OFFSET_YEARS = (2018, 2038)  # zones changed their offsets before; a region counts rides of these years

ZoneAt = Callable[[float, float], str]  # (lat, lon) -> IANA name
# What a GeoJSON feature's properties may set; other properties describe the city, not the region.
FROM_PROPERTIES = (
    "timezone", "precision", "slot_min", "horizons_min", "measures", "holidays", "issue_lateness_s", "settle_lateness_s"
)  # fmt: skip

_ID = re.compile(r"[a-z][a-z0-9_-]{0,31}")


LOOKED_UP = ("holiday_rules", "holiday_years", "holiday_source")  # not in the definition of a region that lists its holidays


@dataclass(frozen=True, slots=True)
class Region:
    """One city: its time zone, its outline, its cells and what is forecast.

    Attributes:
        id: Short name, used in topics, logs and file names: [a-z][a-z0-9_-]{0,31}.
        timezone: IANA name; calendar features and local midnights use it.
        polygon: (lat, lon) vertices in degrees; a pickup outside is rejected.
        precision: Geohash length of a cell, 4 to 8 characters (5 bits each).
        slot_min: Slot length; divides a day.
        horizons_min: Forecast windows, ascending multiples of the slot length.
        measures: Names of rows of `schemas.events.measures.MEASURES`.
        holidays: Local dates, YYYY-MM-DD.
        holiday_rules, holiday_years, holiday_source: Where the dates were looked up when the region was defined, the entries of its file,
            the first and the last year, and who said so (`schemas.calendars.holidays`); empty if the file lists dates.
        issue_lateness_s: Time from a slot's end to its cut, in event time.
        settle_lateness_s: Time after which a slot's score is final.
        areas: (name, cells) of named parts, compared by `ridecast fairness` where no areas file is given (`schemas.configuration.areas`).
        parent: Region of the same home whose model serves while this one has none that can be used, or None.
    """

    id: RegionId
    timezone: str
    polygon: tuple[tuple[float, float], ...]
    precision: int = 6
    slot_min: int = 5
    horizons_min: tuple[int, ...] = (15, 30, 60)
    measures: tuple[str, ...] = ("requests",)
    holidays: tuple[str, ...] = ()
    issue_lateness_s: int = 10
    settle_lateness_s: int = 3600
    areas: tuple[tuple[str, tuple[str, ...]], ...] = ()
    parent: str | None = None
    holiday_rules: tuple[str, ...] = ()
    holiday_years: tuple[int, ...] = ()
    holiday_source: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not _ID.fullmatch(self.id):
            raise UsageError(
                f"region id: expected lower-case letters, digits, - or _, starting with a letter, at most 32 characters, got {self.id!r}"
            )
        where = f"region {self.id}"
        _check_whole(where, self)
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, TypeError, OSError) as cause:
            raise UsageError(f"{where}: timezone: expected an IANA name, got {self.timezone!r}") from cause
        if len(self.polygon) < 3:
            raise UsageError(f"{where}: polygon: expected at least 3 vertices, got {len(self.polygon)}")
        for lat, lon in self.polygon:
            if not (-90 <= lat <= 90 and -180 <= lon <= 180):
                raise UsageError(f"{where}: polygon: expected degrees, got ({lat}, {lon})")
        if not 4 <= self.precision <= 8:
            raise UsageError(f"{where}: precision: expected 4 to 8, got {self.precision}")
        if self.slot_min < 1 or DAY_MIN % self.slot_min:
            raise UsageError(f"{where}: slot_min: expected a divisor of {DAY_MIN}, got {self.slot_min}")
        if (
            not self.horizons_min
            or list(self.horizons_min) != sorted(set(self.horizons_min))
            or any(h < 1 or h % self.slot_min for h in self.horizons_min)
        ):
            raise UsageError(f"{where}: horizons_min: expected ascending multiples of {self.slot_min}, got {self.horizons_min}")
        if not self.measures or len(set(self.measures)) != len(self.measures):
            raise UsageError(f"{where}: measures: expected at least one, each once, got {self.measures}")
        for name in self.measures:
            measure_named(name)
        for day in self.holidays:
            if not is_date(day):
                raise UsageError(f"{where}: holidays: expected dates as YYYY-MM-DD, got {day!r}")
        for name, low, value, high in (
            ("issue_lateness_s", 0, self.issue_lateness_s, 3_600),
            ("settle_lateness_s", 0, self.settle_lateness_s, 86_400),
        ):
            if not low <= value <= high:
                raise UsageError(f"{where}: {name}: expected {low} to {high}, got {value}")

    @property
    def slot_us(self) -> int:
        """Length of a slot in microseconds."""
        return self.slot_min * US_PER_MIN

    @property
    def horizons(self) -> tuple[int, ...]:
        """Forecast windows in slots."""
        return tuple(h // self.slot_min for h in self.horizons_min)

    @property
    def cell_bits(self) -> int:
        """Bits of a cell code."""
        return 5 * self.precision

    def to_json(self) -> str:
        """The definition as canonical JSON: sorted keys, no spaces."""
        values = {name: getattr(self, name) for name in self.__slots__ if name not in LOOKED_UP or getattr(self, name)}
        return json.dumps(values, sort_keys=True, separators=(",", ":"))


def _check_whole(where: str, region: Region) -> None:
    """Require whole numbers: JSON may contain strings, fractions or booleans instead."""
    numbers = [(name, getattr(region, name)) for name in ("precision", "slot_min", "issue_lateness_s", "settle_lateness_s")]
    for name, value in (*numbers, *(("horizons_min", horizon) for horizon in region.horizons_min)):
        if type(value) is not int:
            raise UsageError(f"{where}: {name}: expected a whole number, got {value!r}")


def region_from_json(text: str, *, where: str) -> Region:
    """Parse a region from its JSON definition.

    Raises:
        UsageError: not JSON, an unknown or missing field, or a value out of bounds.
    """
    fields = _object(text, where)
    unknown = sorted(set(fields) - set(Region.__slots__))
    if unknown:
        raise UsageError(f"{where}: unknown field {unknown[0]!r}; known: {', '.join(Region.__slots__)}")
    missing = sorted({"id", "timezone", "polygon"} - set(fields))
    if missing:
        raise UsageError(f"{where}: missing field {missing[0]!r}")
    try:
        fields["polygon"] = tuple((float(lat), float(lon)) for lat, lon in fields["polygon"])
        for name in ("horizons_min", "measures", "holidays", "holiday_rules", "holiday_years"):
            if name in fields:
                fields[name] = tuple(fields[name])
        if "areas" in fields:
            fields["areas"] = tuple((str(name), tuple(cells)) for name, cells in fields["areas"])
        return Region(**fields)
    except (TypeError, ValueError) as cause:
        raise UsageError(f"{where}: {cause}") from cause


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise UsageError(f"{where}: expected JSON, {cause}") from cause
    if not isinstance(fields, dict):
        raise UsageError(f"{where}: expected a JSON object, got {type(fields).__name__}")
    return fields


def region_from_file(
    text: str,
    *,
    where: str,
    name: str,
    zone_at: ZoneAt | None = None,
    holidays_of: HolidaysOf | None = None,
    recorded: bool = False,
) -> Region:
    """Parse a region that a person wrote: a definition, or GeoJSON; and check that it can work.

    Args:
        text: JSON. In GeoJSON, a feature's properties may set the id and the fields of FROM_PROPERTIES.
        where: The file, for errors.
        name: Names a region in GeoJSON that has no name of its own.
        zone_at: Finds the time zone of a place, if the file names none.
        holidays_of: Looks up the holidays of a country, if the file names one.
        recorded: The region may already be in a ledger, where it goes on as it is: do not check that it can work, and look up nothing.
    Raises:
        UsageError: as `region_from_json`; or no ride could be found in the region, or its days would not start with a slot.
    """
    fields = _object(text, where)
    if is_geojson(fields):
        found = outline_from_geojson(fields, where)
        given = {key: found.properties[key] for key in FROM_PROPERTIES if key in found.properties}
        fields = {"id": next(iter(found.names), slug_of(name)) or "region", "polygon": found.polygon} | given
    rules = named_in(fields.get("holidays"))
    if rules:
        fields = fields | {"holidays": ()}
    if "timezone" not in fields and zone_at is not None and fields.get("polygon"):
        probe = region_from_json(json.dumps(fields | {"timezone": "UTC"}), where=where)
        fields["timezone"] = zone_at(*centre(probe.polygon))
    region = region_from_json(json.dumps(fields), where=where)
    if rules:
        region = replace(region, holiday_rules=rules)
    if recorded:
        return region
    if rules:
        region = _with_holidays(where, region, holidays_of)
    fault = outline_fault(region.polygon)
    if fault is not None:
        raise UsageError(f"{where}: region {region.id}: polygon: {fault}")
    _check_midnights(where, region)
    return region


def _with_holidays(where: str, region: Region, holidays_of: HolidaysOf | None) -> Region:
    """The region with the dates that its rules stand for."""
    if holidays_of is None:
        raise UsageError(f"{where}: region {region.id}: holidays: expected dates as YYYY-MM-DD here, got {', '.join(region.holiday_rules)}")
    try:
        found = look_up(region.holiday_rules, holidays_of)
    except UsageError as cause:
        raise UsageError(f"{where}: region {region.id}: {cause}") from cause
    return replace(region, holidays=found.dates, holiday_years=found.years, holiday_source=found.source)


def as_recorded(region: Region, recorded: Region) -> Region:
    """A region that was given again, with the holidays that were looked up when it was recorded, if its rules are the same."""
    if not region.holiday_rules or region.holiday_rules != recorded.holiday_rules:
        return region
    return replace(region, holidays=recorded.holidays, holiday_years=recorded.holiday_years, holiday_source=recorded.holiday_source)


def unknown_holidays(region: Region, first_slot: int, last_slot: int) -> str:
    """A warning if slots lie in years for which no holidays were looked up; empty if not, or if the region lists its dates.

    >>> unknown_holidays(load_region("nyc"), 0, 10_000_000)
    ''
    """
    if not region.holiday_years:
        return ""
    zone = ZoneInfo(region.timezone)
    years = [datetime.fromtimestamp(slot * region.slot_us // US_PER_S, zone).year for slot in (first_slot, last_slot)]
    first, last = region.holiday_years
    if first <= years[0] and years[1] <= last:
        return ""
    return (
        f"region {region.id}: its holidays ({', '.join(region.holiday_rules)}) were looked up for {first} to {last}, and its slots are of "
        f"{years[0]} to {years[1]}: other years count as without holidays; a region of another id, or in a new home, knows later years"
    )


def _check_midnights(where: str, region: Region) -> None:
    """Require that every local midnight is the start of a slot."""
    zone = ZoneInfo(region.timezone)
    for month in range(12 * (OFFSET_YEARS[1] - OFFSET_YEARS[0])):
        offset = datetime(OFFSET_YEARS[0] + month // 12, month % 12 + 1, 15, tzinfo=UTC).astimezone(zone).utcoffset()
        minutes = 0 if offset is None else int(offset.total_seconds()) // 60
        if minutes % region.slot_min:
            fitting = [str(slot) for slot in range(60, 0, -1) if DAY_MIN % slot == 0 and minutes % slot == 0][:4]
            raise UsageError(
                f"{where}: region {region.id}: slot_min: expected slots that start at local midnight, got {region.slot_min} minutes in "
                f"{region.timezone}, which is {abs(minutes) // 60}:{abs(minutes) % 60:02d} {'ahead of' if minutes > 0 else 'behind'} UTC",
                remedy=f"use {', '.join(fitting)} or another divisor of {DAY_MIN} and {abs(minutes)}",
            )


def shipped_regions() -> tuple[str, ...]:
    """Names of the built-in regions.

    >>> shipped_regions()
    ('nyc', 'tehran')
    """
    folder = resources.files("schemas") / "region_data"
    return tuple(sorted(item.name.removesuffix(".json") for item in folder.iterdir() if item.name.endswith(".json")))


def load_region(
    name_or_path: str, zone_at: ZoneAt | None = None, *, holidays_of: HolidaysOf | None = None, recorded: bool = False
) -> Region:
    """Load the built-in region of that name, or the region defined in that JSON or GeoJSON file.

    Args:
        name_or_path: Name or file.
        zone_at: Finds the time zone of a place, if the file names none; None makes it required.
        holidays_of, recorded: As for `region_from_file`.
    Raises:
        UsageError: neither a built-in name nor a readable file, or an invalid definition.

    >>> load_region("nyc").slot_us
    300000000
    """
    if name_or_path in shipped_regions():
        text = (resources.files("schemas") / "region_data" / f"{name_or_path}.json").read_text("utf-8")
        return region_from_json(text, where=f"region {name_or_path}")
    path = Path(name_or_path)
    if not path.is_file():
        known = ", ".join(shipped_regions())
        what = "which is no file" if path.exists() else "and there is no such file"
        raise UsageError(f"--region: expected one of {known} or a JSON or GeoJSON file, got {name_or_path!r}, {what}")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise UsageError(f"{path}: expected JSON in UTF-8, {cause}") from cause
    except OSError as cause:
        raise UsageError(f"{path}: {cause.strerror}") from cause
    return region_from_file(text, where=str(path), name=path.stem, zone_at=zone_at, holidays_of=holidays_of, recorded=recorded)
