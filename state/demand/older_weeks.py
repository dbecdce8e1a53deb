"""Rides by slot of the week in all weeks that a history no longer keeps, decayed from week to week.

A slot enters when it leaves the history, after 29 days, so it includes its late rides. Profiles add these weeks to those
that they read from the counts: for slots around now, the newest week here is the fifth.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from schemas.events.rides import Bools, Float64s, Int64s, UInt64s
from state.demand.calendar import Calendar
from state.demand.moments import MOST_WIDTH, parabola

Float32s = npt.NDArray[np.float32]
Arrays = dict[str, npt.NDArray[np.generic]]
Windows = Sequence[tuple[int, int]]  # [low, high) each, slots relative to a start

WEEK = 0.9  # weight of a week relative to the one after it
NEWEST = 5  # the newest week here of slots around now, in weeks before them
OTHER_KIND = 0.05  # weight of a day of another kind than its weekday's: of a holiday from Monday to Friday
LEAST_RIDES = 1 / 128  # less counts as none, so that snapshots stay sparse

_KEPT_DAYS = 28  # smoothed rows of slots that are not so long after one that enters are dropped: nobody asks for them again


class OlderWeeks:
    """Decayed rides of one history, by slot of the local week.

    Attributes:
        columns: How many there are.
        empty: No slot has entered yet.

    >>> from schemas.regions import load_region
    >>> older = OlderWeeks(Calendar(load_region("nyc")))
    >>> older.widen(2)
    >>> for week in range(3):
    ...     older.push(2016 * week, np.array([10, 20], np.uint64), np.array([4, 0]), observed=True)
    >>> rides, known = older.sums(2016 * 7, ((0, 1),), 1)
    >>> rides.round(2).tolist(), known.round(2).tolist()
    ([[10.84, 0.0]], [2.71])
    """

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._slots = 7 * calendar.day_slots
        self._rides: Float32s = np.zeros((self._slots, 0), np.float32)
        self._city = np.zeros(self._slots)
        self._known = np.zeros(self._slots)
        self._hashes = [_hash(self._rides[0], np.empty(0, np.uint64))] * self._slots
        self._smoothed: dict[int, tuple[int, dict[int, Float64s]]] = {}  # slot -> its place, and float64[columns] by width
        self._widths: set[int] = set()
        self.columns = 0
        self.empty = True

    def _place(self, slot: int) -> int:
        local = self._calendar.local(slot)
        return local.weekday * self._calendar.day_slots + local.slot_of_day

    def share(self, slot: int) -> float:
        """Weight of a slot's day: 1.0 for a day off at the weekend and a working day from Monday to Friday."""
        local = self._calendar.local(slot)
        return 1.0 if local.weekend == (local.weekday >= 5) else OTHER_KIND

    # --- taking in -----------------------------------------------------------------------------

    def widen(self, columns: int) -> None:
        """Grow to at least this many columns; new columns are zero."""
        have = self._rides.shape[1]
        if columns > have:
            self._rides = np.pad(self._rides, ((0, 0), (0, max(columns - have, min(have, 1024)))))
        self.columns = max(columns, self.columns)

    def push(self, slot: int, cells: UInt64s, counts: Int64s, *, observed: bool) -> None:
        """Add the slot that leaves the history, after the same slot of earlier weeks has decayed.

        Args:
            cells: uint64[columns], the history's.
            counts: int64[columns], rides.
            observed: False for an outage: nothing is added, nor counted as known.
        """
        place = self._place(slot)
        rides = self._rides[place, : self.columns]
        rides *= np.float32(WEEK)
        self._city[place] *= WEEK
        self._known[place] *= WEEK
        if observed:
            share = self.share(slot)
            rides += (share * counts).astype(np.float32)
            self._city[place] += share * int(counts.sum())
            self._known[place] += share
        rides[rides < LEAST_RIDES] = 0.0
        self._hashes[place] = _hash(rides, cells)
        self.empty = False
        self._drop_smoothed(slot, place)

    def _drop_smoothed(self, slot: int, changed: int) -> None:
        """Drop the smoothed rows that contain a changed place, and those of slots that are over.

        A slot that leaves is at the place of slots almost six days ahead, which are in windows if a horizon is that long.
        """
        passed, reach = slot + _KEPT_DAYS * self._calendar.day_slots + MOST_WIDTH, max(self._widths, default=0)
        for kept, (place, _) in list(self._smoothed.items()):
            if kept < passed or min((place - changed) % self._slots, (changed - place) % self._slots) < reach:
                del self._smoothed[kept]

    def keep(self, columns: Bools, cells: UInt64s) -> None:
        """Drop columns: bool[columns], which to keep, in their order; uint64[kept], the cells that are left."""
        self._rides = np.ascontiguousarray(self._rides[:, : self.columns][:, columns])
        self.columns = len(cells)
        self._smoothed.clear()
        self._hashes = [_hash(rides, cells) for rides in self._rides]

    # --- reading -------------------------------------------------------------------------------

    def sums(self, start: int, windows: Windows, width: int) -> tuple[Float64s, Float64s]:
        """Rides per slot of each window, smoothed by `parabola(width)`; the fifth week before them has the weight of the start's day.

        Args:
            start: The next slot of the history, or an earlier one.
            windows: Of any length.
        Returns:
            float64[windows, columns], rides times the parabola; float64[windows], the weight of the weeks that were
            observed, times the parabola.
        """
        out = np.empty((len(windows), self.columns))
        by_begin: dict[tuple[int, int], list[int]] = {}  # Windows that begin at one slot and grow the same way share their sums.
        for i, (low, high) in enumerate(windows):
            by_begin.setdefault((low, 1) if high > 0 else (high - 1, -1), []).append(i)
        for (begin, step), alike in by_begin.items():
            total, done = np.zeros(self.columns), 0
            for i in sorted(alike, key=lambda i: windows[i][1] - windows[i][0]):
                length = windows[i][1] - windows[i][0]
                for back in range(done, length):
                    total += self._around(start + begin + step * back, width)
                np.divide(total, length, out=out[i])
                done = length
        out *= self.share(start)
        return out, self._line(self._known, start, windows, width)

    def city(self, start: int, windows: Windows, width: int) -> tuple[Float64s, Float64s]:
        """As `sums`, of the whole region: float64[windows] both."""
        return self._line(self._city, start, windows, width), self._line(self._known, start, windows, width)

    def _around(self, slot: int, width: int) -> Float64s:
        """Smoothed rides around one slot: float64[columns]. Kept, since every slot is in the windows of many closes."""
        _, by_width = self._smoothed.get(slot, (0, {}))
        if width not in by_width:
            self._widths.add(width)
            by_width = self._smooth(slot)
        if len(by_width[width]) < self.columns:
            by_width[width] = np.pad(by_width[width], (0, self.columns - len(by_width[width])))
        return by_width[width]

    def _smooth(self, slot: int) -> dict[int, Float64s]:
        """Smooth around a slot at all widths in use, from the inside out.

        The weights are w^2 - k^2, so two sums serve every width: of the rides at a distance below w, and of them times k^2.
        """
        place, n = self._place(slot), self.columns
        by_width: dict[int, Float64s] = {}
        self._smoothed[slot] = place, by_width
        rides = self._rides[place, :n].astype(np.float64)
        spread, pair = np.zeros(n), np.empty(n)
        for k in range(1, max(self._widths) + 1):
            if k in self._widths:
                by_width[k] = float(k * k) * rides - spread
            before, after = self._rides[(place - k) % self._slots, :n], self._rides[(place + k) % self._slots, :n]
            np.add(before, after, out=pair, dtype=np.float64)
            rides += pair
            pair *= float(k * k)
            spread += pair
        return by_width

    def _line(self, values: Float64s, start: int, windows: Windows, width: int) -> Float64s:
        """Mean over each window of smoothed values by slot of the week, times the share of the start's day: float64[windows]."""
        first, last = min(low for low, _ in windows), max(high for _, high in windows)
        places = (self._place(start) + np.arange(first - width + 1, last + width - 1)) % self._slots
        line, n = values[places], last - first
        smoothed = np.zeros(n)
        for k, weight in enumerate(parabola(width).tolist()):
            smoothed += weight * line[k : k + n]
        before = np.concatenate([[0.0], np.cumsum(smoothed)])
        means = np.array([(before[high - first] - before[low - first]) / (high - low) for low, high in windows])
        return np.asarray(self.share(start) * means, np.float64)

    # --- keeping -------------------------------------------------------------------------------

    def to_arrays(self) -> Arrays:
        """The whole state, sparse; `from_arrays` restores it exactly."""
        places, columns = np.nonzero(self._rides[:, : self.columns])
        return {
            "place": places.astype(np.int32),
            "column": columns.astype(np.int32),
            "rides": self._rides[places, columns],
            "city": self._city.copy(),
            "known": self._known.copy(),
            "empty": np.array([self.empty]),
        }

    def from_arrays(self, arrays: Arrays, cells: UInt64s) -> None:
        """Restore what `to_arrays` returned: uint64[columns], the history's cells."""
        self.columns = 0
        self._rides = np.zeros((self._slots, 0), np.float32)
        self.widen(len(cells))
        self._rides[arrays["place"].astype(np.int64), arrays["column"].astype(np.int64)] = arrays["rides"].astype(np.float32)
        self._city, self._known = arrays["city"].astype(np.float64), arrays["known"].astype(np.float64)
        self.empty = bool(arrays["empty"][0])
        self._smoothed.clear()
        self._hashes = [_hash(rides[: self.columns], cells) for rides in self._rides]

    def digest(self) -> bytes:
        """SHA-256 over the state; each slot of the week is hashed when it changes."""
        return hashlib.sha256(b"".join(self._hashes) + self._city.tobytes() + self._known.tobytes()).digest()


def _hash(rides: Float32s, cells: UInt64s) -> bytes:
    there = np.flatnonzero(rides)
    return hashlib.sha256(cells[there].tobytes() + rides[there].tobytes()).digest()
