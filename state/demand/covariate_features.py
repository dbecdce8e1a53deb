"""Features of covariates: the weather now, over the last day and in each horizon, as known at the cut.

Each is one number for all cells, and NaN where it is not known: then the linear model counts it as average. A region without
covariates has NaN in all rows, which training leaves out.
"""

import math

from schemas.events.covariates import COVARIATES, Covariate
from state.demand.feature_table import Feature, Fill
from state.demand.groups import Group
from state.demand.windows import AHEAD, Ahead, SlotWindows


def _scaled(row: Covariate, value: float) -> float:
    return math.log1p(value) if row.skewed else value


def _now(row: Covariate) -> Fill:
    return lambda w: _scaled(row, w.covariates.now(row.name, w.start_s))


def _day(row: Covariate) -> Fill:
    return lambda w: _scaled(row, w.covariates.day(row.name, w.start_s))


def _ahead(row: Covariate, ahead: Ahead) -> Fill:
    def fill(w: SlotWindows) -> float:
        return _scaled(row, w.covariates.ahead(row.name, w.start_s, w.ahead[ahead.place] * w.calendar.slot_min * 60 // 2))

    return fill


def _of(row: Covariate) -> tuple[Feature, ...]:
    kept = "log of 1 and " if row.skewed else ""
    return (
        Feature(f"weather_{row.name}_now", f"{kept}{row.name} now", _now(row), linear=True, group=Group.WEATHER),
        Feature(f"weather_{row.name}_day", f"{kept}mean of {row.name} over the last day", _day(row), linear=True, group=Group.WEATHER),
        *(
            Feature(
                f"weather_{row.name}_ahead_{a.name}",
                f"{kept}{row.name} forecast for the middle of the {a.name} horizon, or now if there is no forecast",
                _ahead(row, a),
                linear=True,
                ahead=a.place,
                group=Group.WEATHER,
            )
            for a in AHEAD
        ),
    )


COVARIATE_FEATURES: tuple[Feature, ...] = tuple(feature for row in COVARIATES for feature in _of(row))
