"""Public holidays of countries and their subdivisions, from the `holidays` package."""

from importlib import metadata

from schemas.calendars.holidays import FIRST_YEAR, YEARS_AHEAD, NamedHolidays
from schemas.errors import UsageError


def public_holidays(code: str, this_year: int) -> NamedHolidays:
    """Public holidays from the first year of ride hailing until some years ahead; with the days on which they are observed.

    Args:
        code: ISO 3166: a country, or one and its subdivision.
        this_year: From which the years ahead are counted.
    Raises:
        UsageError: the package does not know the country or the subdivision, or is not installed.

    >>> found = public_holidays("US-NY", 2026)
    >>> found.years, "2014-07-04" in found.dates, "2036-07-04" in found.dates
    ((2009, 2036), True, True)
    """
    try:
        import holidays  # some 200 ms, and most regions name no country
    except ImportError as cause:
        raise UsageError(f"holidays: {code}: expected the package holidays, {cause}", remedy="install it, or list dates") from cause
    country, _, subdivision = code.partition("-")
    last = this_year + YEARS_AHEAD
    version = f"holidays {metadata.version('holidays')}"
    try:
        found = holidays.country_holidays(country, subdiv=subdivision or None, years=range(FIRST_YEAR, last + 1))
    except NotImplementedError as cause:
        raise UsageError(
            f"holidays: expected a country, or country-subdivision, that the package {version} knows, got {code}: {cause}",
            remedy="use ISO 3166 codes such as US or US-NY, or list dates",
        ) from cause
    return NamedHolidays((code,), tuple(sorted(str(day) for day in found)), (FIRST_YEAR, last), version)
