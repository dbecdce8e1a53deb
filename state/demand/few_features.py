"""Features for cells with few rides: other smoothings of the profile, which count the more the less the profile rests on.

The profile of a cell with few rides is noisy, and a wider smoothing says more; that of a busy cell is not. A linear
model has one coefficient for both, so these columns fade as the profile grows.
"""

import numpy as np

from schemas.events.rides import Float64s
from state.demand.feature_table import Feature, Fill
from state.demand.profiles import OWN
from state.demand.tracked import VARIANTS
from state.demand.windows import AHEAD, Ahead, SlotWindows

# Indices of VARIANTS. New York, folds of April 2014: the other three added nothing in cells of 0.25 to 1 rides per 15 min.
CHOSEN = (1, 4, 5)


def _faded(ahead: Ahead, i: int) -> Fill:
    def fill(w: SlotWindows) -> Float64s:
        rides = w.tracked.profiles["own"][ahead.place] * (OWN.reach_min / w.calendar.slot_min)
        return np.asarray(w.tracked.to_variant(i)[ahead.place] / (1.0 + rides), np.float64)

    return fill


FEW_FEATURES: tuple[Feature, ...] = tuple(
    Feature(
        f"variant_few_{v.reach_min}_{v.week:g}_{v.day:g}_{a.name}",
        f"log ratio to the profile of one with {v.reach_min} min, week {v.week:g} and day {v.day:g}, "
        f"divided by 1 and the rides of the profile in {OWN.reach_min} min, {a.name} horizon",
        _faded(a, i),
        linear=True,
        ahead=a.place,
    )
    for i, v in ((i, VARIANTS[i]) for i in CHOSEN)
    for a in AHEAD
)
