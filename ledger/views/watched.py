"""The closed slots of a region as detectors see them, read from its log alone, so that a repetition sees the same."""

from collections.abc import Iterable, Iterator

import numpy as np

from ledger.store.blobs import Blobs
from ledger.store.log import Ledger, Stored, holds
from ledger.views.issues import expired_until
from schemas.errors import NotFound
from schemas.events.rides import Float64s, Int64s, UInt64s
from schemas.forecasts.chunks import ForecastColumns, unpack_blob
from schemas.forecasts.watched import Arrived, WatchedSlot
from schemas.records.count_table import from_table, tables_of
from schemas.records.records import ForecastIssued, PartitionCut, Record, SlotClosed, SlotStatus, region_log
from schemas.regions import Region

PAGE_ENTRIES = 1_000
MILLI = 1000.0

Forecast = tuple[int, UInt64s, Float64s, Float64s]  # slot that it is for, cells, means, dispersion


def watched_slots(ledger: Ledger, blobs: Blobs, region: Region, measure: str, first: int, until: int) -> Iterator[WatchedSlot]:
    """The closed slots [first, until), in order. The forecast of a slot is that of the shortest window that begins with it.

    A window of several slots is spread evenly over them. A slot whose forecast has expired, or was never made, has none.
    """
    log = region_log(region.id)
    view = WatchedView(ledger, blobs, region, measure)
    start = ledger.entry(log, SlotClosed, first - 1) or ledger.entry(log, SlotClosed, last=False)
    at = 0 if start is None else start.index
    while page := ledger.read_kinds(log, at, None, (SlotClosed, ForecastIssued), PAGE_ENTRIES):
        for stored in page:
            slot = stored.slot or 0
            if holds(stored, SlotClosed) and slot >= until:
                return
            if slot + (not holds(stored, SlotClosed)) < first:
                continue
            if watched := view.take(stored):
                yield watched
        at = page[-1].index + 1


class WatchedView:
    """Makes watched slots of the entries of a region's log, in order; arguments as for `watched_slots`."""

    def __init__(self, ledger: Ledger, blobs: Blobs, region: Region, measure: str) -> None:
        self._ledger, self._blobs, self._region, self._measure = ledger, blobs, region, measure
        self._kept = expired_until(ledger, region.id)
        self._forecast: Forecast | None = None

    def take(self, stored: Stored[Record]) -> WatchedSlot | None:
        """The slot that an entry closes; None for any other entry."""
        if holds(stored, SlotClosed):
            return _of_record(stored.record, stored.index, self._measure, self._blobs, self._forecast)
        if holds(stored, ForecastIssued) and stored.subject == self._measure and stored.record.slot >= self._kept:
            self._forecast = self._read(stored.record)
        return None

    def _read(self, issued: ForecastIssued) -> Forecast | None:
        try:
            return _forecast(issued, self._region, self._blobs)
        except NotFound:
            self._kept = expired_until(self._ledger, self._region.id)  # it may have expired since it was asked
            if issued.slot >= self._kept:
                raise
            return None


def _forecast(issued: ForecastIssued, region: Region, blobs: Blobs) -> Forecast | None:
    if not issued.blob:
        return None
    return forecast_of(issued.slot, unpack_blob(blobs.get(issued.blob)).columns(issued.horizons_min), region)


def forecast_of(slot: int, columns: ForecastColumns, region: Region) -> Forecast:
    """What forecasts that were issued at the cut of a slot say of the next slot."""
    slots = columns.horizons_min[0] / region.slot_min
    return slot + 1, columns.cells, columns.mean[:, 0] / MILLI / slots, columns.dispersion[:, 0] / MILLI


def _of_record(record: SlotClosed, index: int, measure: str, blobs: Blobs, forecast: Forecast | None) -> WatchedSlot:
    own, late = tables_of(record, blobs.get)
    found, counts = np.empty(0, np.uint64), np.empty(0, np.int64)
    for table in own:
        if table.measure == measure:
            _, found, counts = from_table(table)
    number = sum(sum(table.counts) for table in late if table.measure == measure)
    return watched_slot(
        record.slot, index, record.status, record.partitions, found, counts, number, forecast, (record.control_size, record.control_root)
    )


def watched_slot(
    slot: int,
    index: int,
    status: str,
    cuts: Iterable[PartitionCut],
    found: UInt64s,
    counts: Int64s,
    late: int,
    forecast: Forecast | None,
    control: tuple[int, bytes] = (0, b""),
) -> WatchedSlot:
    """A closed slot of one measure as detectors see it.

    Args:
        found, counts: Cells with rides, ascending, and how many each had.
        late: Rides of earlier slots that were counted with it.
        control: Size and root of the control log that the close cites.
        forecast: Of the newest issue before; if it is for another slot, there is none for this one.
    """
    known = forecast is not None and forecast[0] == slot
    cells, means, dispersion = found, np.zeros(len(found)), np.zeros(len(found))
    if forecast is not None and known:
        cells = np.union1d(forecast[1], found)
        place = np.searchsorted(cells, forecast[1])
        means, dispersion = np.zeros(len(cells)), np.zeros(len(cells))
        means[place], dispersion[place] = forecast[2], forecast[3]
    return WatchedSlot(
        slot=slot,
        index=index,
        observed=status == SlotStatus.OBSERVED,
        partitions={cut.partition: Arrived(cut.received, cut.accepted, cut.duplicate, dict(cut.rejected)) for cut in cuts},
        cells=cells,
        counts=_placed(cells, found, counts),
        means=means,
        dispersion=dispersion,
        forecast=known,
        late=late,
        control=control,
    )


def _placed(cells: UInt64s, found: UInt64s, counts: Int64s) -> Int64s:
    placed = np.zeros(len(cells), np.int64)
    np.add.at(placed, np.searchsorted(cells, found), counts)
    return placed
