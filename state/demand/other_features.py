"""Features of one measure from the region's other measures: other steps of rides, trip ends, and requests without a ride.

Each is NaN where the region counts no such measure; see `state.demand.other_measures`.
"""

import numpy as np

from schemas.events.measures import Says
from schemas.events.rides import Float64s
from state.demand.feature_table import Feature, Fill
from state.demand.groups import Group
from state.demand.levels import HALF_LIVES_MIN
from state.demand.windows import SlotWindows

PREFIX = {Says.DEMAND: "other", Says.END: "ends", Says.UNMET: "unmet"}
MEANINGS = {
    Says.DEMAND: "the region's other measures of demand",
    Says.END: "trip ends",
    Says.UNMET: "cancelled and unserved requests",
}
PLACES = {"own": "in the cell", "near": "in the cells around it", "parent": "in its parent cell", "city": "in the region"}
USED_MIN = {"own": (20.0, 60.0, 180.0, 720.0, 10080.0), "near": (60.0, 180.0), "parent": (60.0, 180.0), "city": (20.0, 60.0, 180.0)}


def _level(says: Says, place: str, minutes: float) -> Fill:
    i = HALF_LIVES_MIN.index(minutes)

    def fill(w: SlotWindows) -> Float64s | float:
        levels = w.other_measures.of(says)
        if levels is None:
            return np.nan
        return float(levels.city[i, 0]) if place == "city" else getattr(levels, place)[i]

    return fill


OTHER_FEATURES: tuple[Feature, ...] = tuple(
    Feature(
        f"{PREFIX[says]}_{place}_{minutes:g}",
        f"log ratio of counts to profile of {MEANINGS[says]} {PLACES[place]}, half-life {minutes:g} min",
        _level(says, place, minutes),
        linear=True,
        group=Group.OTHER,
    )
    for says in Says
    for place, half_lives in USED_MIN.items()
    for minutes in half_lives
)
