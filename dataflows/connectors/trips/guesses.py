"""What a value that is no time or coordinate probably is, in words that a person can act on."""

import re

import numpy as np

from schemas.events.rides import Float64s

_CALENDARS = (
    (r"1[34]\d\d[-/].*", "looks like the Persian calendar: convert the dates to the Gregorian calendar"),
    (r"2[4-6]\d\d[-/].*", "looks like the Buddhist calendar: convert the dates to the Gregorian calendar"),
)
_TIMES = (
    (r"\d{5}(\.\d+)?", "looks like a serial number of a spreadsheet: format the column as date and time, and save it again"),
    *_CALENDARS,
    (r"20\d{10}", "looks like year, month, day, hour and minute: give --time-format %Y%m%d%H%M"),
    (r".*[A-Za-z]{3,}.*\d.*|.*\d.*[^\W\d_]{3,}.*", "give --time-format if it is a time"),
    (r"\d{8}|\d{4}\D\d\d?\D\d\d?", "has no time of day: name another column with --time"),
    (r".*\d.*", "give --time-format if it is a time, such as %d.%m.%Y %H.%M"),
)
_DEGREES = re.compile(r"[°º′'\"]|\d\s*[NSEWnsew]$")


def guess_time(text: str) -> str:
    """What a text that is no known time looks like, or nothing.

    >>> guess_time("41730.0104")
    'looks like a serial number of a spreadsheet: format the column as date and time, and save it again'
    """
    return next((words for pattern, words in _TIMES if re.fullmatch(pattern, text.strip())), "")


def guess_calendar(text: str) -> str:
    """Of which other calendar a date out of bounds looks like, or nothing.

    >>> guess_calendar("1393-01-12 08:15")
    'looks like the Persian calendar: convert the dates to the Gregorian calendar'
    """
    return next((words for pattern, words in _CALENDARS if re.fullmatch(pattern, text.strip())), "")


def guess_place(lat: Float64s, lon: Float64s, text: str) -> str:
    """What coordinates that are no degrees look like, or nothing.

    Args:
        lat, lon: float64[n], the values of rejected rows; NaN for what is no number.
        text: The latitude of one of them as it is written.
    """
    if _DEGREES.search(text):
        return "looks like degrees with minutes or letters: convert them to decimal degrees"
    known = np.isfinite(lat) & np.isfinite(lon)
    lat, lon = lat[known], lon[known]
    if not len(lat):
        return ""
    if swapped_fits(lat, lon):
        return "looks like latitude and longitude are swapped: name the columns with --lat and --lon"
    largest = float(np.median(np.maximum(np.abs(lat), np.abs(lon))))
    for scale, name in ((1e6, "millionths"), (1e7, "ten-millionths")):
        if largest > 1e6 and ((np.abs(lat) <= 90 * scale) & (np.abs(lon) <= 180 * scale)).mean() > 0.5 and (lat == np.round(lat)).all():
            return f"looks like {name} of degrees, or metres of a map projection: convert them to degrees (WGS 84)"
    if largest > 1_000:
        return "looks like metres of a map projection: convert them to degrees (WGS 84)"
    return ""


def swapped_fits(lat: Float64s, lon: Float64s) -> bool:
    """Whether most places are degrees only with latitude and longitude swapped."""
    return bool(((np.abs(lat) > 90) & (np.abs(lat) <= 180) & (np.abs(lon) <= 90)).mean() > 0.5)
