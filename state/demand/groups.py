"""Groups of features in a dispatcher's words: explanations add up the contributions of the features of a group."""

from enum import StrEnum

from schemas.errors import ContractError


class Group(StrEnum):
    """What a feature tells about, in words that are shown to people."""

    USUAL = "usual demand at this time of the week"
    CELL = "rides in this cell just now"
    AROUND = "rides in the cells around it"
    CITY = "demand in the whole region"
    OTHER = "other events: trip ends, cancellations, unserved requests"
    EARLIER = "rides of the last days and weeks"
    CALENDAR = "time of day, weekday and holidays"
    WEATHER = "weather, now and as forecast"


# Start of a feature's name -> its group; the longest start that fits decides.
STARTS: dict[str, Group] = {
    "around_": Group.AROUND,
    "city_": Group.CITY,
    "day_": Group.EARLIER,
    "day_after_holiday": Group.CALENDAR,
    "days_": Group.EARLIER,
    "holiday": Group.CALENDAR,
    "kind_": Group.USUAL,
    "lag_": Group.CELL,
    "lag_1440": Group.EARLIER,
    "level_": Group.CELL,
    "level_city_": Group.CITY,
    "level_day": Group.EARLIER,
    "level_near": Group.AROUND,
    "level_parent_": Group.AROUND,
    "log_city_": Group.CITY,
    "log_profile_": Group.USUAL,
    "log_since_ride": Group.CELL,
    "log_smooth_": Group.USUAL,
    "parent_": Group.AROUND,
    "rate_": Group.EARLIER,
    "recent_": Group.CELL,
    "share_hour": Group.CELL,
    "slot_of_day": Group.CALENDAR,
    "time_of_day": Group.EARLIER,
    "trend_city_": Group.CITY,
    "trend_near": Group.AROUND,
    "trend_own_": Group.USUAL,
    "trend_parent_": Group.AROUND,
    "variant_": Group.USUAL,
    "weather_": Group.WEATHER,
    "week_": Group.EARLIER,
    "weekday": Group.CALENDAR,
    "weekend": Group.CALENDAR,
    "weeks_": Group.USUAL,
    "wide_": Group.USUAL,
}


def group_of(name: str, given: Group | None = None) -> Group:
    """The group of a feature: the one that its row gives, or else the one that its name starts with.

    Raises:
        ContractError: neither says one; add it to the feature's row or to STARTS.

    >>> [group_of("level_city_60").name, group_of("level_short").name, group_of("anything", Group.CALENDAR).name]
    ['CITY', 'CELL', 'CALENDAR']
    """
    if given is not None:
        return given
    starts = [start for start in STARTS if name.startswith(start)]
    if not starts:
        raise ContractError(f"feature {name}: expected a group in its row or a start of its name in STARTS, got neither")
    return STARTS[max(starts, key=len)]
