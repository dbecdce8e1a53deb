"""The second feature table: levels by source and half-life, profiles and trends per horizon, and the first table.

Its features need a history that tracks levels. Each value depends on no other cell of the build.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from schemas.events.rides import Float64s
from state.demand.feature_table import Feature, FeatureTable, Fill
from state.demand.features import FEATURES
from state.demand.levels import HALF_LIVES_MIN
from state.demand.tracked import BACK_15, BACK_30, BACK_60, RECENT, SOURCES, VARIANTS
from state.demand.windows import AHEAD, Ahead, SlotWindows

LINEAR = ("weekend", "holiday", "holiday_eve")  # columns of the first table that a linear model uses too
DIFFERENCES = ((0, 1), (0, 2), (1, 3), (2, 4))  # indices of half-lives
CITY_TRENDS = {"15": BACK_15, "60": BACK_60}
MEANINGS = {
    "own": "the cell",
    "near0.8": "the cells around it, by a kernel of 0.8 km",
    "near2": "the cells around it, by a kernel of 2 km",
    "parent": "its parent cell",
    "city": "the region",
}


def _level(source: str, i: int) -> Fill:
    return lambda w: _value(w.tracked.levels[source][i])


def _difference(i: int, j: int) -> Fill:
    return lambda w: w.tracked.levels["own"][i] - w.tracked.levels["own"][j]


def _log_profile(ahead: Ahead) -> Fill:
    return lambda w: w.tracked.log_profiles[ahead.place]


def _log_city(ahead: Ahead) -> Fill:
    return lambda w: _value(np.log(w.tracked.profiles["city"][ahead.place]))


def _wide(ahead: Ahead) -> Fill:
    return lambda w: w.tracked.to_wide[ahead.place]


def _variant(ahead: Ahead, i: int) -> Fill:
    return lambda w: w.tracked.to_variant(i)[ahead.place]


def _trend(ahead: Ahead, source: str, back: int) -> Fill:
    return lambda w: _value(w.tracked.trend(source, back)[ahead.place])


def _recent(i: int) -> Fill:
    return lambda w: w.tracked.recent[i]


def _day_after(w: SlotWindows) -> float:
    return float(w.calendar.local(w.start - w.day).holiday)


def _value(values: Float64s) -> Float64s | float:
    """The region's value as one number, others as they are."""
    return float(values[0]) if values.shape == (1,) else values


def _linear(name: str, meaning: str, fill: Fill) -> Feature:
    return Feature(name, meaning, fill, linear=True)


def _each(name: str, meaning: str, filling: Callable[[Ahead], Fill], *, linear: bool = False) -> tuple[Feature, ...]:
    """One feature for each horizon.

    Mostly not for linear models: with a month of history, how far a profile can be trusted changes from week to week, and a
    linear model that had the profile, its trends or its variants as inputs got worse in busy cells (docs/accuracy.md).
    """
    return tuple(Feature(name.format(a.name), meaning.format(a.name), filling(a), linear, ahead=a.place) for a in AHEAD)


def _all() -> tuple[Feature, ...]:
    levels = tuple(
        _linear(
            f"level_{source}_{minutes:g}",
            f"log ratio of rides to profile of {MEANINGS[source]}, half-life {minutes:g} min",
            _level(source, i),
        )
        for source in SOURCES
        for i, minutes in enumerate(HALF_LIVES_MIN)
    )
    differences = tuple(
        _linear(
            f"level_{HALF_LIVES_MIN[i]:g}_less_{HALF_LIVES_MIN[j]:g}",
            f"level of the cell with half-life {HALF_LIVES_MIN[i]:g} min less that with {HALF_LIVES_MIN[j]:g} min",
            _difference(i, j),
        )
        for i, j in DIFFERENCES
    )
    per_horizon = (
        *_each("log_profile_{}", "log of the profile of the {} horizon", _log_profile),
        *_each("log_city_{}", "log of the region's profile of the {} horizon, rides per slot", _log_city),
        *_each("wide_{}", "log ratio of a profile smoothed over 75 min to the profile, {} horizon", _wide, linear=True),
        *(
            feature
            for source in ("own", "city")
            for minutes, back in CITY_TRENDS.items()
            for feature in _each(
                f"trend_{source}_{minutes}_{{}}",
                f"log ratio of the profile of {MEANINGS[source]} in the {{}} horizon to that of the last {minutes} min",
                lambda a, source=source, back=back: _trend(a, source, back),  # type: ignore[misc]
            )
        ),
        *(
            feature
            for source in SOURCES[1:4]
            for feature in _each(
                f"trend_{source}_30_{{}}",
                f"log ratio of the profile of {MEANINGS[source]} in the {{}} horizon to that of the last 30 min",
                lambda a, source=source: _trend(a, source, BACK_30),  # type: ignore[misc]
            )
        ),
        *(
            feature
            for i, v in enumerate(VARIANTS)
            for feature in _each(
                f"variant_{v.reach_min}_{v.week:g}_{v.day:g}_{{}}",
                f"log ratio to the profile of one with {v.reach_min} min, week {v.week:g} and day {v.day:g}, {{}} horizon",
                lambda a, i=i: _variant(a, i),  # type: ignore[misc]
            )
        ),
    )
    common = (
        *(
            _linear(f"recent_{i + 1}", f"log ratio to the profile of slot {i + 1} before, cell and cells around", _recent(i))
            for i in range(RECENT)
        ),
        _linear("time_of_day", "log ratio to the profile at this time of day on the last days", lambda w: w.tracked.time_of_day),
        _linear("day_after_holiday", "the local date before is a holiday", _day_after),
    )
    first = tuple(replace(feature, linear=feature.name in LINEAR) for feature in FEATURES)
    return (*first, *levels, *differences, *per_horizon, *common)


SECOND_TABLE = FeatureTable(2, _all(), profile="log_profile_{}", tracked=True)
