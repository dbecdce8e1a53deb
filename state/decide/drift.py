"""Whether what is served drifts away from its truth: cumulative sums of standardised residuals, part of a day by part of a day.

Two series per region and measure, from the recorded scores of the shortest horizon: the log of rides over forecast rides, and the
share of cells inside their interval, which is that of randomised PITs. The same two per band of cells are in `band_drift`. Each
part of a day is compared with the same part of the days before, so the hours that a model always gets wrong are no drift. The sums
are a pure function of the recorded scores: there is no state to keep, and a run and its repetition find the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.events.rides import Float64s, Int64s
from schemas.records.records import SlotScored

PARTS = 4  # of a day
REFERENCE_DAYS = 7
# A step of the sum is a residual, in standard deviations, less ALLOWED; above a threshold it is a drift. Looked at every day for
# eight weeks, in windows of 16 days, 3.5 to 4.8 % of simulated regions without a drift ever have a series beyond its threshold, of
# the two of the region and the six of its bands, if the correlation from part to part is 0.3; if it is 0.5, a third of them have.
# Estimating the correlation from a week helps the latter, and makes drifts twice as hard to see.
ALLOWED = 1.0
THRESHOLD = 17.5
SERIES = ("rides against their forecast", "the share of cells inside their interval")


@dataclass(frozen=True, slots=True)
class Drift:
    """A series that left its usual range.

    Attributes:
        what: The series.
        part: Number of the part of a day in which it did, slot // slots of a part.
        sum: What the sum had reached, standard deviations; negative for a fall.
        threshold: Beyond which it is a drift.
    """

    what: str
    part: int
    sum: float
    threshold: float = THRESHOLD

    def sentence(self) -> str:
        """In words, for the record of a training."""
        way = "rose" if self.sum > 0 else "fell"
        return (
            f"{self.what} {way}: the sum of its deviations from the same hours of {REFERENCE_DAYS} days before, less {ALLOWED:g} each, "
            f"reached {abs(self.sum):.1f} standard deviations, more than {self.threshold:g}"
        )


def sums_of(values: Float64s) -> tuple[Float64s, Float64s]:
    """Sums of rises and of falls after the reference: float64[k, n] twice, zero in the reference.

    Args:
        values: float64[k, n], k series of n parts of days, from the first part of a day; NaN where nothing is known.

    >>> rise, fall = sums_of(np.array([[0.0, 1.0, 2.0, 3.0] * 7 + [1.0, 2.0, 3.0, 4.0], [0.0, 0.1, 0.0, -0.1] * 8]))
    >>> bool(rise[0, -1] > 16.0), float(rise[1, -1])
    (True, 0.0)
    """
    n = REFERENCE_DAYS * PARTS
    k, length = values.shape
    rise, fall = np.zeros(values.shape), np.zeros(values.shape)
    if length <= n:
        return rise, fall
    days = values[:, :n].reshape(k, REFERENCE_DAYS, PARTS)
    known = ~np.isnan(days)
    count = known.sum(axis=1)
    usual = np.where(known, days, 0.0).sum(axis=1) / np.maximum(count, 1)
    off = np.where(known, days - usual[:, None, :], 0.0)
    freedom = np.maximum(known.sum(axis=(1, 2)) - PARTS, 1)
    deviation = np.sqrt((off**2).sum(axis=(1, 2)) / freedom)
    wide = deviation[:, None] * np.sqrt(1.0 + 1.0 / np.maximum(count, 1))  # the usual value is only an estimate
    for at in range(n, length):
        part = at % PARTS
        usable = ~np.isnan(values[:, at]) & (count[:, part] >= REFERENCE_DAYS - 2)
        step = np.where(usable, values[:, at] - usual[:, part], 0.0) / np.maximum(wide[:, part], 1e-9)
        rise[:, at] = np.where(usable, np.maximum(rise[:, at - 1] + step - ALLOWED, 0.0), rise[:, at - 1])
        fall[:, at] = np.where(usable, np.maximum(fall[:, at - 1] - step - ALLOWED, 0.0), fall[:, at - 1])
    return rise, fall


def drifts_in(scores: Sequence[SlotScored], day_slots: int, from_slot: int, today: int) -> list[Drift]:
    """The series that drift since a slot, the first time that each does.

    Args:
        scores: Of one region and measure, in any order; settled ones are left out.
        from_slot: The reference begins with the first whole day from here on.
        today: Number of the day that has just begun; it and later ones are left out.
    """
    first = first_part(day_slots, from_slot)
    if today * PARTS - first <= REFERENCE_DAYS * PARTS or day_slots % PARTS:
        return []
    return beyond(SERIES, _series(scores, day_slots // PARTS, first, today * PARTS), first, THRESHOLD)


def first_part(day_slots: int, from_slot: int) -> int:
    """Number of the first part of the first whole day from a slot on."""
    return -(-from_slot // day_slots) * PARTS


def beyond(names: Sequence[str], values: Float64s, first: int, threshold: float) -> list[Drift]:
    """The series that drift, the first time that each does.

    Args:
        names: Of the k series.
        values: float64[k, n], as for `sums_of`.
        first: Number of the first part.
    """
    found = []
    for what, rise, fall in zip(names, *sums_of(values), strict=True):
        over: Int64s = np.flatnonzero((rise > threshold) | (fall > threshold))
        if len(over):
            at = int(over[0])
            found.append(Drift(what, first + at, float(rise[at] if rise[at] > threshold else -fall[at]), threshold))
    return found


def _series(scores: Sequence[SlotScored], part_slots: int, from_part: int, until_part: int) -> Float64s:
    """float64[len(SERIES), parts]: NaN where a part has no ride, no forecast or no score."""
    sums = np.zeros((4, until_part - from_part))
    for scored in scores:
        at = scored.slot // part_slots - from_part
        if not scored.settled and 0 <= at < sums.shape[1] and scored.rows:
            row = min(scored.rows, key=lambda row: row.horizon_min)
            sums[:, at] += (row.truth, row.forecast_mean_milli / 1000.0, row.covered, row.cells)
    return values_of(sums)


def values_of(sums: Float64s) -> Float64s:
    """The values of the two series from sums per part of a day: float64[2, n]; NaN where nothing is known.

    Args:
        sums: float64[4, n]: rides, forecast rides, cells inside their interval, cells.
    """
    truth, forecast, covered, cells = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.stack([np.log(truth / forecast), covered / cells])
    return np.where(np.isfinite(values), values, np.nan)
