"""The sums per band and part of a day that drift is found in, read once from the settled issues of a region's log."""

import logging
from collections.abc import Callable

import numpy as np

from dataflows.stream.stores import Stores
from ledger.views.recent import newest_settled
from ledger.views.settled import settled_issues
from schemas.errors import DamagedError, NotFound
from schemas.events.rides import Float64s
from schemas.regions import Region
from state.decide.band_drift import BANDS, SUMS, band_sums
from state.decide.drift import PARTS

log = logging.getLogger(__name__)

KEPT_PARTS = 32 * PARTS  # the policy looks back 16 days


class BandParts:
    """The sums of one region; every part of a day is read once.

    Args:
        beat: Called often during long work.
    """

    def __init__(self, stores: Stores, region: Region, day_slots: int, beat: Callable[[], object] = lambda: None) -> None:
        self._stores, self._region, self._beat = stores, region, beat
        self._part_slots = day_slots // PARTS
        self._kept: dict[tuple[str, int], Float64s] = {}

    def sums(self, measure: str, first: int, ended: int) -> Float64s:
        """Sums of the parts from `first` on that had settled at a slot: float64[3, SUMS, n].

        Windows do not overlap: one issue per shortest horizon is read.

        Args:
            first: Number of a part.
            ended: Every issue before this slot has ended, so that what had settled is the same whenever it is asked.
        """
        until = max(first, newest_settled(self._region, ended - 1 + self._region.horizons[-1]) // self._part_slots)
        for part in range(first, until):
            if (measure, part) not in self._kept:
                self._kept[measure, part] = self._read(measure, part)
        self._kept = {place: sums for place, sums in self._kept.items() if place[1] >= until - KEPT_PARTS}
        return np.stack([self._kept[measure, part] for part in range(first, until)], axis=-1) if until > first else _NONE

    def _read(self, measure: str, part: int) -> Float64s:
        """Sums of one part; what has expired or cannot be read adds nothing."""
        sums, slot, step = np.zeros((len(BANDS), SUMS)), part * self._part_slots, self._region.horizons[0]
        stores = self._stores
        try:
            for issue in settled_issues(stores.ledger, stores.blobs, self._region, measure, slot, slot + self._part_slots, step=step):
                self._beat()
                sums += band_sums(issue)
        except (NotFound, DamagedError) as gone:
            log.warning("region %s, %s: drift of bands is not judged from slot %d on: %s", self._region.id, measure, slot, gone)
            return np.zeros((len(BANDS), SUMS))
        return sums


_NONE = np.zeros((len(BANDS), SUMS, 0))
