"""Slow growth or decline of a region: its daily rides move away from those of the same weekdays of the weeks before.

The logarithms of the last DAYS daily totals are a mean per weekday, plus noise of which a part stays from day to day, plus a
trend of RATE a day since an unknown day. Once a day the log likelihood ratio of the best trend against none is compared with
the threshold, up and down. Holidays, and days in which nothing arrived for hours, are left out.

Source:
    Generalised least squares with first-order autoregressive noise: D. Cochrane, G. Orcutt (1949), Application of least squares
    regression to relationships containing auto-correlated error terms, Journal of the American Statistical Association 44.
"""

from collections.abc import Mapping
from math import log
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.events.rides import Float64s
from schemas.forecasts.watched import WatchedSlot
from schemas.regions import Region
from state.demand.calendar import Calendar
from state.detect.detector import MOST_EVIDENCE, Arrays, Said, Threshold, signal_of
from state.detect.signals import Severity, Signal

THRESHOLD_NATS = 1.75  # of one decision a day, not one a slot
DAYS = 42  # that are remembered
RATE = 0.01  # of log rides a day
ALIKE = 0.6  # how much of a day's distance from the usual is left on the next day
SCATTER = 0.05  # standard deviation of what is new on a day, of log rides
LEAST_DAYS, LEAST_BEFORE, LEAST_TREND = 21, 10, 5  # with a total; before a trend; of a trend
LEAST_SHARE = 0.9  # of the slots of a day in which something arrived
UP, DOWN = 0, 1


class GrowthDetector:
    """Growth and decline of a region.

    Args:
        region: The region.
        threshold: Nats.
    """

    def __init__(self, region: Region, threshold: float = THRESHOLD_NATS) -> None:
        self._region, self._threshold, self._calendar = region, threshold, Calendar(region)
        self._said = Said("growth", "growth", Severity.INFO, "nats")
        self._days = np.full(DAYS, np.nan)  # log rides, oldest first
        self._weekday = 0  # of the day that goes on
        self._today = np.zeros(2)  # slots in which something arrived, rides
        self._fires = np.zeros(2)

    def see(self, watched: WatchedSlot) -> list[Signal]:
        """Take the next closed slot."""
        local = self._calendar.local(watched.slot)
        signals = []
        if local.weekday != self._weekday:
            whole = self._today[0] >= LEAST_SHARE * self._calendar.day_slots and self._today[1] > 0
            self._days[:-1] = self._days[1:]
            self._days[-1] = log(self._today[1] / self._today[0]) if whole else np.nan
            signals = self._judge(watched)
            self._weekday, self._today[:] = local.weekday, 0.0
        if watched.arrived.received and not local.holiday:
            self._today += (1.0, float(watched.counts.sum()) + watched.late)
        return signals

    def _judge(self, watched: WatchedSlot) -> list[Signal]:
        if np.count_nonzero(~np.isnan(self._days)) < LEAST_DAYS:
            return []
        signals = []
        for number, (nats, since) in enumerate(trends(self._days, self._weekday)):
            fires = nats > self._threshold
            if fires != bool(self._fires[number]):
                self._fires[number] = fires
                way = "grow" if number == UP else "shrink"
                words = f"The rides of a day {way} against the same weekdays before, by some {RATE:.0%} a day for {since} days."
                signals.append(
                    signal_of(
                        self._said,
                        self._region,
                        watched,
                        "region" if number == UP else "region:less",
                        firing=fires,
                        since=watched.slot - since * self._calendar.day_slots,
                        value=nats,
                        threshold=self._threshold,
                        message=words,
                    )
                )
        return signals

    def use(self, threshold: Threshold) -> None:
        """From the next judgement on, fire above this threshold."""
        self._threshold = threshold.value

    def arrays(self) -> Arrays:
        """All of its state."""
        today = np.array([self._weekday, *self._today])
        return {"days": self._days.copy(), "today": today, "fires": self._fires.copy()}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a state."""
        self._days, self._fires = arrays["days"].copy(), arrays["fires"].copy()
        self._weekday, self._today = int(arrays["today"][0]), arrays["today"][1:].copy()


def trends(days: Float64s, weekday: int) -> tuple[tuple[float, int], tuple[float, int]]:
    """Log likelihood ratio of the best trend up and down, and how many days ago it began.

    Args:
        days: float64[d], log rides, oldest first; NaN for none.
        weekday: Of the last day, 0 to 6.
    """
    n = len(days)
    number = np.arange(n)
    columns = (number[:, None] - (n - 1) + weekday) % 7 == np.arange(7)
    starts = np.arange(LEAST_TREND, n - LEAST_BEFORE)  # days ago
    ramps = np.maximum(number[:, None] - (n - 1 - starts), 0) * RATE
    known = ~np.isnan(days)
    table = np.concatenate([columns.astype(np.float64), ramps, np.where(known, days, 0.0)[:, None]], axis=1)
    white = _whitened(table, known)
    fixed, rest = white[:, :7], white[:, 7:]
    base, _ = np.linalg.qr(fixed[:, fixed.any(axis=0)])
    rest = rest - base @ (base.T @ rest)
    along, size = rest[:, :-1].T @ rest[:, -1], (rest[:, :-1] ** 2).sum(axis=0)
    before = np.array([np.count_nonzero(known[: n - 1 - start]) for start in starts])
    found = []
    for sign in (1.0, -1.0):
        nats = np.where(before >= LEAST_BEFORE, (sign * along - size / 2) / SCATTER**2, 0.0)
        best = int(np.argmax(nats))
        found.append((min(float(nats[best]), MOST_EVIDENCE), int(starts[best])))
    return found[UP], found[DOWN]


def _whitened(table: Float64s, known: npt.NDArray[np.bool_]) -> Float64s:
    """Rows of known days, less what is left in them of the last known day before, on the scale of what is new on a day."""
    rows = np.flatnonzero(known)
    left = ALIKE ** np.diff(rows)
    own = table[rows]
    out = np.empty_like(own)
    out[0] = own[0] * np.sqrt(1.0 - ALIKE**2)
    scale = np.sqrt((1.0 - ALIKE**2) / (1.0 - left**2))
    out[1:] = (own[1:] - left[:, None] * own[:-1]) * scale[:, None]
    return out
