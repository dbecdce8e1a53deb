"""What is known of a region from outside at a cut, such as its weather: values by the time that they are for.

A value counts from the time at which it became known. For one time, the value that became known last counts: an observation
replaces the forecast. What is unknown or too old is NaN, so that a feed that stops never holds up a close.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.events.covariates import MILLI, S_PER_HOUR
from schemas.events.rides import Float64s, Int64s
from schemas.records.records import CovariatesKnown

STALE_S = 3 * S_PER_HOUR  # an observation that is older says nothing about now
DAY_S = 24 * S_PER_HOUR


@dataclass(frozen=True, slots=True)
class _Series:
    """The values of one covariate, ascending by the time that they are for, then by when they became known."""

    valid_s: Int64s
    known_s: Int64s
    values: Float64s

    def joined(self, valid_s: Int64s, known_s: Int64s, values: Float64s) -> "_Series":
        """With more values."""
        valid, known = np.concatenate([self.valid_s, valid_s]), np.concatenate([self.known_s, known_s])
        order = np.lexsort((known, valid))
        return _Series(valid[order], known[order], np.concatenate([self.values, values])[order])

    def known(self, from_s: int, until_s: int, at_s: int) -> Float64s:
        """The value for each time in [from, until) of which one was known by a time, ascending: float64[k]."""
        here = slice(*np.searchsorted(self.valid_s, (from_s, until_s)))
        usable = self.known_s[here] <= at_s
        valid, values = self.valid_s[here][usable], self.values[here][usable]
        last = np.ones(len(valid), np.bool_)
        last[:-1] = valid[1:] != valid[:-1]
        return values[last]


_NOTHING = _Series(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


class Covariates:
    """The covariates of one region, as recorded.

    >>> covariates = Covariates()
    >>> record = CovariatesKnown(region="nyc", source=b"", names=("wind_m_s",), name=(0, 0), valid_s=(0, 3600), known_s=(600, 700),
    ...                          values_milli=(2500, 4000))
    >>> covariates.follow((record,))
    >>> [covariates.now("wind_m_s", at_s) for at_s in (0, 600, 3600, 20000)]
    [nan, 2.5, 4.0, nan]
    """

    def __init__(self) -> None:
        self._records: Sequence[CovariatesKnown] = ()
        self._series: dict[str, _Series] = {}

    def follow(self, records: Sequence[CovariatesKnown]) -> None:
        """Hold the values of these records, all of one region, in the order of their log."""
        held = self._records
        if records is held:
            return
        grown = len(records) >= len(held) and (not held or records[len(held) - 1] is held[-1])
        if not grown:
            self._series = {}
        self._add(records[len(held) if grown else 0 :])
        self._records = records

    def _add(self, records: Sequence[CovariatesKnown]) -> None:
        """Add the values of some records, each series once: a resume takes the records of years."""
        parts: dict[str, list[tuple[Int64s, Int64s, Float64s]]] = {}
        for record in records:
            place, valid, known = (np.array(column, np.int64) for column in (record.name, record.valid_s, record.known_s))
            values = np.array(record.values_milli, np.float64) / MILLI
            for i, name in enumerate(record.names):
                mine = place == i
                parts.setdefault(name, []).append((valid[mine], known[mine], values[mine]))
        for name, of_name in parts.items():
            valid, known, values = (np.concatenate(column) for column in zip(*of_name, strict=True))
            self._series[name] = self._series.get(name, _NOTHING).joined(valid, known, values)

    def now(self, name: str, at_s: int) -> float:
        """The newest value for a time before or at `at_s`, as known then; NaN if there is none of the last STALE_S."""
        return self._one(name, at_s - STALE_S + 1, at_s + 1, at_s, -1)

    def day(self, name: str, at_s: int) -> float:
        """Mean of the values for the day before, as known then; NaN if there is none."""
        series = self._series.get(name)
        values = series.known(at_s - DAY_S + 1, at_s + 1, at_s) if series is not None else ()
        return float(np.mean(values)) if len(values) else np.nan

    def ahead(self, name: str, at_s: int, ahead_s: int) -> float:
        """The value forecast for the hour that contains a time so far ahead, as known now; without a forecast, the newest value."""
        found = self._one(name, at_s + ahead_s, at_s + ahead_s + S_PER_HOUR, at_s, 0)
        return self.now(name, at_s) if np.isnan(found) else found

    def _one(self, name: str, from_s: int, until_s: int, at_s: int, place: int) -> float:
        series = self._series.get(name)
        values = series.known(from_s, until_s, at_s) if series is not None else ()
        return float(values[place]) if len(values) else np.nan


NONE_KNOWN = Covariates()  # of a region without covariates; never changed
