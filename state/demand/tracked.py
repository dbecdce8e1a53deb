"""What the second feature table computes from levels and profiles, once for all of its features.

Everything is of the cells of one build, after one closed slot; `state.demand.second_table` lists the features.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from schemas.events.rides import Float64s
from state.demand.around import KERNELS_KM
from state.demand.levels import HALF_LIVES_MIN
from state.demand.profiles import LEAST_RATE, OWN, Profiles, Smoothing

if TYPE_CHECKING:
    from state.demand.windows import SlotWindows

WIDE = Smoothing(75)
VARIANTS = (
    Smoothing(15, 0.9, 0.1),
    Smoothing(60, 0.9, 0.5),
    Smoothing(60, 0.6, 0.25),
    Smoothing(60, 1.0, 0.02),
    Smoothing(120, 0.9, 0.3),
    Smoothing(60, 0.3, 2.0),
)
RECENT = 6  # slots, each with a feature of its own
SMALL_RIDES = 1.0  # added to both sides of a level
RECENT_RIDES = 0.5  # added to both sides of one slot
LEAST_RIDES = 1e-6  # per slot, added to both sides of a change; keeps it finite where there is nothing around

# Windows of profiles, in this order: the three horizons, then what trends compare them with.
AHEAD_WINDOWS = (0, 1, 2)
BACK_30, BACK_15, BACK_60 = 3, 4, 5
SOURCES = ("own", *(f"near{km:g}" for km in KERNELS_KM), "parent", "city")


class Tracked:
    """Levels and profiles of some cells after a closed slot, n cells.

    Attributes:
        profiles: Rides per slot in each of the windows: float64[windows, n], by source; the region's: float64[windows, 1].
            Those of the cells around have the horizons and BACK_30 only.
        levels: Log ratio of decayed counts to the decayed profile: float64[half-lives, n], by source; the region's: [.., 1].
        recent: Log ratio of each of the last slots, newest first, cell and near cells: float64[n] each.
        time_of_day: Log ratio at this time of day on the last days: float64[n].
    """

    def __init__(self, windows: "SlotWindows") -> None:
        self._w = w = windows
        history, columns, levels = w.history, w.columns, w.history.levels
        back = [w.slots(minutes) for minutes in (30, 15, 60)]
        self._windows = (*((0, horizon) for horizon in w.ahead), *((-slots, 0) for slots in back))
        self._all = Profiles(history, w.calendar, w.start, self._windows)
        own = self._all.own(OWN)[0]
        counts = self._recent_counts()
        parents = history.parent_of[columns]
        n = len(HALF_LIVES_MIN)
        everything = np.concatenate([levels.own[0], levels.own[1], own[: BACK_30 + 1], counts]).T.copy()
        near, far = history.around(0, columns, everything), history.around(1, columns, everything[:, :-RECENT].copy())
        mine = everything[columns]
        self.profiles: dict[str, Float64s] = {}
        self.levels: dict[str, Float64s] = {}
        for source, values in zip(SOURCES[:3], (mine, near, far), strict=True):
            self._take(source, values[:, : 2 * n + BACK_30 + 1].T, n)
        self.profiles["own"] = own[:, columns]
        self._take("parent", np.concatenate([*levels.parent, self._all.parent()])[:, parents], n)
        self._take("city", np.concatenate([*levels.city, self._all.city])[:, None], n)
        expected = self.profiles["own"][BACK_30] + self.profiles[SOURCES[1]][BACK_30]
        rides = (mine + near)[:, -RECENT:].T
        self.recent = [w.observed_at(i + 1, _log_ratio(rides[i], expected, RECENT_RIDES)) for i in range(RECENT)]
        counted, profiled = levels.times(w.start)[:, columns]
        self.time_of_day = _log_ratio(counted, profiled, SMALL_RIDES)
        self._trends: dict[tuple[str, int], Float64s] = {}
        self._variants: dict[int, Float64s] = {}

    def _take(self, source: str, rows: Float64s, half_lives: int) -> None:
        self.levels[source] = _log_ratio(rows[:half_lives], rows[half_lives : 2 * half_lives], SMALL_RIDES)
        self.profiles[source] = rows[2 * half_lives :]

    def _recent_counts(self) -> Float64s:
        """Rides of every column of the history in each of the last slots, newest first: float64[RECENT, columns]."""
        history, start = self._w.history, self._w.start
        everything = np.arange(len(history.cells))
        rows = history.cumulative([start - back for back in range(RECENT + 1)], everything)
        return (rows[:-1] - rows[1:]).astype(np.float64)

    @cached_property
    def wide(self) -> Float64s:
        """Profile of each horizon over a wider time: float64[3, n], rides per slot."""
        [wide] = self._all.own(WIDE, windows=len(AHEAD_WINDOWS), columns=self._w.columns)
        return wide

    # --- changes: log ratios of two rates in the three horizons, float64[3, n] ---------------------

    def trend(self, source: str, back: int) -> Float64s:
        """From the profile of a window before the start to those of the horizons; the region's: float64[3, 1]."""
        if (source, back) not in self._trends:
            profiles = self.profiles[source]
            self._trends[source, back] = _log_ratio(profiles[: len(AHEAD_WINDOWS)], profiles[back], LEAST_RIDES)
        return self._trends[source, back]

    @cached_property
    def to_wide(self) -> Float64s:
        """From the profiles of the horizons to those over a wider time."""
        return self._from_own(self.wide)

    def to_variant(self, i: int) -> Float64s:
        """From the profiles of the horizons to those by one of VARIANTS."""
        if i not in self._variants:
            self._variants[i] = self._from_own(self.variants[i])
        return self._variants[i]

    def _from_own(self, profiles: Float64s) -> Float64s:
        return _log_ratio(profiles, self.profiles["own"][: len(AHEAD_WINDOWS)], LEAST_RIDES)

    @cached_property
    def log_profiles(self) -> Float64s:
        """Log of the profile of each horizon, rides: float64[3, n]."""
        slots = np.array(self._w.ahead, np.float64)[:, None]
        return np.asarray(np.log(np.maximum(self.profiles["own"][: len(AHEAD_WINDOWS)], LEAST_RATE) * slots), np.float64)

    @cached_property
    def variants(self) -> Sequence[Float64s]:
        """Profile of each horizon by each of VARIANTS: float64[3, n], rides per slot."""
        by_reach: dict[int, list[Smoothing]] = {}
        for variant in VARIANTS:
            by_reach.setdefault(variant.reach_min, []).append(variant)
        found: dict[Smoothing, Float64s] = {}
        for alike in by_reach.values():
            profiles = self._all.own(*alike, windows=len(AHEAD_WINDOWS), columns=self._w.columns)
            found |= zip(alike, profiles, strict=True)
        return [found[variant] for variant in VARIANTS]


def _log_ratio(value: Float64s, reference: Float64s, small: float) -> Float64s:
    return np.asarray(np.log((value + small) / (reference + small)), np.float64)
