"""ISO times to microseconds UTC and back; a time without a zone is the region's local time."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.errors import UsageError
from schemas.regions import Region

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
FIRST_YEAR, LAST_YEAR = 2000, 2100  # the bounds of intake: no ride is outside them


def parse_time(text: str, region: Region) -> int:
    """Microseconds UTC of an ISO time; without a zone it is the region's local time.

    Raises:
        UsageError: not a time, out of bounds, or a local time that is ambiguous or does not exist; the text does not name a field.

    >>> from schemas.regions import load_region
    >>> parse_time("2014-05-01T08:00", load_region("nyc")) == parse_time("2014-05-01T12:00Z", load_region("nyc"))
    True
    """
    if "T" in text:
        text = text.replace(" ", "+")  # A plus sign in a URL arrives as a space when the client did not quote it.
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"expected an ISO time such as 2014-05-01T08:00 or 2014-05-01T12:00Z, got {text!r}") from None
    if not FIRST_YEAR <= at.year < LAST_YEAR:
        raise UsageError(f"expected a year from {FIRST_YEAR} to {LAST_YEAR - 1}, got {at.year}")
    if at.tzinfo is None:
        at = _localised(at, region.timezone)
    return (at - EPOCH) // MICROSECOND


def parse_utc(text: str) -> int:
    """Microseconds UTC of an ISO time; without a zone it is UTC.

    Raises:
        UsageError: not a time, or out of bounds; the text does not name a field.

    >>> iso(parse_utc("2026-05-01T12:00")), iso(parse_utc("2026-05-01T12:00:00.25+02:00"))
    ('2026-05-01T12:00:00Z', '2026-05-01T10:00:00.250000Z')
    """
    if "T" in text:
        text = text.replace(" ", "+")  # as above
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"expected an ISO time such as 2014-05-01T12:00Z, got {text!r}") from None
    if not FIRST_YEAR <= at.year < LAST_YEAR:
        raise UsageError(f"expected a year from {FIRST_YEAR} to {LAST_YEAR - 1}, got {at.year}")
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - EPOCH) // MICROSECOND


def _localised(at: datetime, timezone: str) -> datetime:
    zone = ZoneInfo(timezone)
    first, second = at.replace(tzinfo=zone), at.replace(tzinfo=zone, fold=1)
    if first.utcoffset() != second.utcoffset():
        exists = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == at
        how = "is ambiguous" if exists else "does not exist"
        raise UsageError(f"{at.isoformat()} {how} in {timezone}", remedy="add the offset from UTC, or Z")
    return first


def parse_target(text: str, region: Region) -> int:
    """Microseconds UTC of a slot boundary.

    Raises:
        UsageError: not a time, or not a boundary.
    """
    at_us = parse_time(text, region)
    if at_us % region.slot_us:
        before = local_iso(at_us - at_us % region.slot_us, region)
        raise UsageError(f"expected a boundary of a {region.slot_min}-minute slot, such as {before}, got {text!r}")
    return at_us


def iso(at_us: int) -> str:
    """Format a time as UTC.

    >>> iso(1_398_945_600_000_000)
    '2014-05-01T12:00:00Z'
    """
    return (EPOCH + at_us * MICROSECOND).isoformat().replace("+00:00", "Z")


def slot_end(region: Region, slot: int) -> datetime:
    """The end of a slot, in the region's local time.

    >>> from schemas.regions import load_region
    >>> f"{slot_end(load_region('nyc'), 4_663_151):%Y-%m-%d %H:%M %Z}"
    '2014-05-01 08:00 EDT'
    """
    return (EPOCH + (slot + 1) * region.slot_us * MICROSECOND).astimezone(ZoneInfo(region.timezone))


def local_iso(at_us: int, region: Region) -> str:
    """Format a time as the region's local time, with its offset."""
    return (EPOCH + at_us * MICROSECOND).astimezone(ZoneInfo(region.timezone)).isoformat()
