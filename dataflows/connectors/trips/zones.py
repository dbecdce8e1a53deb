"""The time zone of a place, for cities whose zone nobody has named."""

from schemas.errors import UsageError


def zone_at(lat: float, lon: float) -> str:
    """The IANA zone at a place on land or near it.

    Raises:
        UsageError: the place is on the open sea, where no city is.

    >>> zone_at(48.85, 2.35)
    'Europe/Paris'
    """
    from tzfpy import get_tz  # loads its map of the world, which few commands need

    found = str(get_tz(lon, lat))
    if not found or found.startswith("Etc/"):
        raise UsageError(
            f"expected a city, found no time zone at latitude {lat:.3f}, longitude {lon:.3f}",
            remedy="name the zone: --timezone for trips, `timezone` in a region's file",
        )
    return found
