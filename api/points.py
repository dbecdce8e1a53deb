"""A cache of the forecasts of single cells in past issues, which never change."""

import threading
from collections import OrderedDict

import numpy as np

from ledger.store.blobs import Blobs
from schemas.forecasts.chunks import Blob, decode_chunks, unpack_blob
from schemas.records.records import ForecastIssued

KEPT_POINTS = 50_000  # about 10 MB

Numbers = tuple[float, float, float, float, float]  # mean, median, lower, upper, baseline; rides


def blob_of(data: bytes) -> Blob:
    """The chunks of an issue; none for a region without cells."""
    return unpack_blob(data) if data else Blob((), np.empty(0, np.uint64))


class Points:
    """Forecasts of single cells, cached by (blob, cell, horizon)."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._held: OrderedDict[tuple[bytes, int, int], Numbers | None] = OrderedDict()
        self._lock = threading.Lock()

    def numbers(self, record: ForecastIssued, cell: int, horizon: int) -> Numbers | None:
        """An issue's forecast of one cell, or None if it has no such cell."""
        key = record.blob, cell, horizon
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        found = self._read(record, cell, horizon)
        with self._lock:
            self._held[key] = found
            while len(self._held) > KEPT_POINTS:
                self._held.popitem(last=False)
        return found

    def _read(self, record: ForecastIssued, cell: int, horizon: int) -> Numbers | None:
        chunk = blob_of(self._blobs.get(record.blob) if record.blob else b"").chunk_of(cell)
        if chunk is None:
            return None
        columns = decode_chunks([chunk[1]], record.horizons_min)
        row = columns.cells.tolist().index(cell)
        mean, median, lower, upper, baseline = (
            int(getattr(columns, name)[row, horizon]) / 1000 for name in ("mean", "median", "lower", "upper", "baseline")
        )
        return mean, median, lower, upper, baseline
