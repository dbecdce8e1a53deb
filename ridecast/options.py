"""Options that several commands share, and how their values are parsed."""

import os
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schemas.calendars.holidays import HolidaysOf, NamedHolidays
from schemas.configuration.settings import SETTINGS, Settings
from schemas.errors import UsageError
from schemas.regions import Region, ZoneAt, load_region, shipped_regions

if TYPE_CHECKING:
    from dataflows.connectors.kafka.cluster import Cluster

LONGEST_RECORDED = 1_000  # characters of an author or a reason

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

home: Decorator = click.option("--home", metavar="DIR", help="Directory of all embedded data. [RIDECAST_HOME, default: home]")
region: Decorator = click.option(
    "--region",
    "region_name",
    required=True,
    metavar="NAME|FILE",
    help=f"A built-in region ({', '.join(shipped_regions())}), or a JSON or GeoJSON file.",
)
regions: Decorator = click.option(
    "--region",
    "region_names",
    multiple=True,
    metavar="NAME|FILE",
    help="A region of this home; may be given several times. [default: all that are bootstrapped in it]",
)
rides: Decorator = click.option(
    "--rides", metavar="DIR|kafka://HOST:PORT/TOPIC", help="Source of ride events: a directory, or a broker and topic. [RIDECAST_RIDES]"
)
port: Decorator = click.option(
    "--port", "api_port", type=click.IntRange(0, 65_535), metavar="N", help="Port of the API and page. [RIDECAST_API_PORT, default: 8000]"
)


class RecordedText(click.ParamType[str]):
    """Text that a record keeps for ever and that terminals show: one line of UTF-8 without control characters."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text."""
        text = str(value)
        name = param.opts[0] if param is not None else "text"
        if len(text) > LONGEST_RECORDED:
            raise UsageError(f"{name}: expected at most {LONGEST_RECORDED:,} characters, got {len(text):,}")
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
            raise UsageError(f"{name}: expected one line of UTF-8 without control characters, got {text!a}")
        return text


author: Decorator = click.option(
    "--author",
    type=RecordedText(),
    default="operator",
    show_default=True,
    metavar="ROLE",
    help="Who decides, for the record: a role or the name of a key, not a person; the ledger keeps it for ever.",
)
reason: Decorator = click.option(
    "--reason", type=RecordedText(), default="by command", show_default=True, metavar="TEXT", help="Why, for the record."
)


class Number(click.FloatRange):
    """A number in bounds; `nan`, which is beside all bounds, is refused too."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number = float(super().convert(value, param, ctx))
        if number != number:
            self.fail(f"expected a number, got {value!r}", param, ctx)
        return number


class OutFile(click.Path):
    """A file that a command writes at its end: that it can is checked at its beginning, before the work."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path, if a file can be written there; folders that are missing are created when it is."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if not folder.is_dir():
            self.fail(f"{str(path)!r} cannot be written: {str(folder)!r} is not a directory", param, ctx)
        if not os.access(folder, os.W_OK | os.X_OK):
            self.fail(f"{str(path)!r} cannot be written: no permission to create files in {str(folder)!r}", param, ctx)
        return path


def settings_of(*, warn: bool = True, **given: object) -> Settings:
    """Settings from the environment, overridden by the command line.

    Args:
        warn: Print variables that set nothing; whoever does not want that reports `unknown_settings` in another way.
    """
    settings = Settings.from_env(os.environ, given)
    for line in unknown_settings(settings) if warn else ():
        click.echo(f"ridecast: warning: {line}", err=True)
    return settings


def unknown_settings(settings: Settings) -> list[str]:
    """Warnings of variables that set nothing.

    >>> unknown_settings(Settings.from_env({"RIDECAST_API_PROT": "9000"}))
    ['RIDECAST_API_PROT is not a Ridecast setting (typo?); did you mean RIDECAST_API_PORT? `ridecast settings` lists all']
    """
    if not settings.unknown:
        return []
    from difflib import get_close_matches

    known = [setting.variable for setting in SETTINGS]
    found: list[str] = []
    for name in settings.unknown:
        near = get_close_matches(name, known, 1, 0.8)
        meant = f"did you mean {near[0]}? " if near else ""
        found.append(f"{name} is not a Ridecast setting (typo?); {meant}`ridecast settings` lists all")
    return found


def rides_cluster(bootstrap: str) -> "Cluster":
    """The cluster of rides at an address, with the client properties of the settings."""
    from dataflows.connectors.kafka.cluster import Cluster

    return Cluster(bootstrap, settings_of().rides_client)


def settings_of_home(*, warn: bool = True, **given: object) -> Settings:
    """The same for a command that needs an existing home: a mistyped directory is an error, and never created.

    Raises:
        UsageError: the ledger is embedded, and there is none.
    """
    settings = settings_of(warn=warn, **given)
    if not settings.database and not (settings.home / "ledger").is_dir():
        what = "holds no ledger" if settings.home.is_dir() else "is not a directory" if settings.home.exists() else "does not exist"
        raise UsageError(f"--home: expected a directory that `ridecast bootstrap` has filled, got {str(settings.home)!r}, which {what}")
    return settings


def date_of(option: str, text: str) -> date:
    """The value of an option as a date.

    Raises:
        UsageError: it is not a date.

    >>> date_of("--until", "2014-05-01").day
    1
    """
    try:
        return date.fromisoformat(text)
    except ValueError as cause:
        raise UsageError(f"{option}: expected a date as YYYY-MM-DD, got {text!r}") from cause


def region_of(name: str) -> Region:
    """The region that `--region` names, for commands on a home that may have recorded it: what is recorded goes on."""
    return load_region(name, _zone_for(name), recorded=True)


def regions_of(names: Iterable[str]) -> list[Region]:
    """The regions that a repeated `--region` names, each once.

    Raises:
        UsageError: as `region_of`; or two different ones have the same id.
    """
    found: dict[str, Region] = {}
    for region in map(region_of, names):
        if found.setdefault(region.id, region) != region:
            raise UsageError(f"--region: expected different ids, got two definitions of {region.id}")
    return list(found.values())


def new_region_of(name: str) -> Region:
    """The region that `--region` names, for commands that begin something: one that cannot work is refused.

    Raises:
        UsageError: as `load_region`; or one of its areas is invalid.
    """
    region = load_region(name, _zone_for(name), holidays_of=_holidays_for(name))
    if region.areas:
        from schemas.configuration.areas import areas_of_region

        areas_of_region(region)
    return region


def _holidays_for(name: str) -> HolidaysOf:
    """Looks up the holidays of a region whose file names a country, and says so."""

    def holidays_of(code: str) -> NamedHolidays:
        from dataflows.connectors.public_holidays import public_holidays

        found = public_holidays(code, datetime.now(UTC).year)
        first, last = found.years
        click.echo(f"ridecast: {name}: {len(found.dates)} holidays of {code} from {first} to {last}, by {found.source}", err=True)
        return found

    return holidays_of


def _zone_for(name: str) -> ZoneAt:
    """Finds the zone of a region whose file names none, and says so."""

    def zone_at(lat: float, lon: float) -> str:
        from dataflows.connectors.trips.zones import zone_at as find

        zone = find(lat, lon)
        click.echo(f"ridecast: {name}: no time zone given; using {zone}, from its location", err=True)
        return zone

    return zone_at
