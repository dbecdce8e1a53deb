"""Times in a query: parsed by `schemas.times`, with the parameter's name in errors."""

from api.problems import bad_value
from schemas import times
from schemas.errors import UsageError
from schemas.regions import Region
from schemas.times import iso, local_iso

__all__ = ["iso", "local_iso", "parse_target", "parse_time"]


def parse_time(field: str, text: str, region: Region) -> int:
    """Microseconds UTC of an ISO time; without a zone it is the region's local time.

    Raises:
        Problem: not a time, out of bounds, or a local time that is ambiguous or does not exist.

    >>> from schemas.regions import load_region
    >>> parse_time("target", "2014-05-01T08:00", load_region("nyc"))
    1398945600000000
    """
    try:
        return times.parse_time(text, region)
    except UsageError as cause:
        raise bad_value(field, str(cause)) from None


def parse_target(field: str, text: str, region: Region) -> int:
    """Microseconds UTC of a slot boundary.

    Raises:
        Problem: not a time, or not a boundary.
    """
    try:
        return times.parse_target(text, region)
    except UsageError as cause:
        raise bad_value(field, str(cause)) from None
