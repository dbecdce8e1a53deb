"""Whether what is served drifts away from its truth: cumulative sums of standardised residuals, part of a day by part of a day.

Two series per region and measure, from the recorded scores of the shortest horizon: the log of rides over forecast rides, and the
share of cells inside their interval, which is that of randomised PITs. Each part of a day is compared with the same part of the
days before, so the hours that a model always gets wrong are no drift. The sums are a pure function of the recorded scores: there is
no state to keep, and a run and its repetition find the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.events.rides import Float64s, Int64s
from schemas.records.records import SlotScored

PARTS = 4  # of a day
REFERENCE_DAYS = 7
# A step of the sum is a residual, in standard deviations, less ALLOWED; above THRESHOLD it is a drift. Looked at every day for
# eight weeks, in windows of 16 days, 4 % of simulated regions without a drift ever reach it if the correlation from part to part
# is 0.3, and a third if it is 0.5. Estimating the correlation from a week helps the latter, and makes drifts twice as hard to see.
ALLOWED = 1.0
THRESHOLD = 16.0
SERIES = ("rides against their forecast", "the share of cells inside their interval")


@dataclass(frozen=True, slots=True)
class Drift:
    """A series that left its usual range.

    Attributes:
        what: The series.
        part: Number of the part of a day in which it did, slot // slots of a part.
        sum: What the sum had reached, standard deviations; negative for a fall.
    """

    what: str
    part: int
    sum: float

    def sentence(self) -> str:
        """In words, for the record of a training."""
        way = "rose" if self.sum > 0 else "fell"
        return (
            f"{self.what} {way}: the sum of its deviations from the same hours of {REFERENCE_DAYS} days before, less {ALLOWED:g} each, "
            f"reached {abs(self.sum):.1f} standard deviations, more than {THRESHOLD:g}"
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
    first = -(-from_slot // day_slots)
    if today - first <= REFERENCE_DAYS or day_slots % PARTS:
        return []
    values = _series(scores, day_slots // PARTS, first * PARTS, today * PARTS)
    found = []
    for what, rise, fall in zip(SERIES, *sums_of(values), strict=True):
        beyond: Int64s = np.flatnonzero((rise > THRESHOLD) | (fall > THRESHOLD))
        if len(beyond):
            at = int(beyond[0])
            found.append(Drift(what, first * PARTS + at, float(rise[at] if rise[at] > THRESHOLD else -fall[at])))
    return found


def _series(scores: Sequence[SlotScored], part_slots: int, from_part: int, until_part: int) -> Float64s:
    """float64[len(SERIES), parts]: NaN where a part has no ride, no forecast or no score."""
    sums = np.zeros((4, until_part - from_part))
    for scored in scores:
        at = scored.slot // part_slots - from_part
        if not scored.settled and 0 <= at < sums.shape[1] and scored.rows:
            row = min(scored.rows, key=lambda row: row.horizon_min)
            sums[:, at] += (row.truth, row.forecast_mean_milli / 1000.0, row.covered, row.cells)
    truth, forecast, covered, cells = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.stack([np.log(truth / forecast), covered / cells])
    return np.where(np.isfinite(values), values, np.nan)
