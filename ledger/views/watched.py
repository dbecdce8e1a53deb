"""The closed slots of a region as detectors see them, read from its log alone, so that a repetition sees the same."""

from collections.abc import Iterator

import numpy as np

from ledger.store.blobs import Blobs
from ledger.store.log import Ledger, holds
from ledger.views.issues import expired_until
from schemas.events.rides import Float64s, Int64s, UInt64s
from schemas.forecasts.chunks import unpack_blob
from schemas.forecasts.watched import Arrived, WatchedSlot
from schemas.records.count_table import from_table, tables_of
from schemas.records.records import ForecastIssued, SlotClosed, SlotStatus, region_log
from schemas.regions import Region

PAGE_ENTRIES = 1_000
MILLI = 1000.0

Forecast = tuple[int, UInt64s, Float64s, Float64s]  # slot that it is for, cells, means, dispersion


def watched_slots(ledger: Ledger, blobs: Blobs, region: Region, measure: str, first: int, until: int) -> Iterator[WatchedSlot]:
    """The closed slots [first, until), in order. The forecast of a slot is that of the shortest window that begins with it.

    A window of several slots is spread evenly over them. A slot whose forecast has expired, or was never made, has none.
    """
    log = region_log(region.id)
    kept = expired_until(ledger, region.id)
    start = ledger.entry(log, SlotClosed, first - 1) or ledger.entry(log, SlotClosed, last=False)
    forecast: Forecast | None = None
    at = 0 if start is None else start.index
    while page := ledger.read_kinds(log, at, None, (SlotClosed, ForecastIssued), PAGE_ENTRIES):
        for stored in page:
            slot = stored.slot or 0
            if holds(stored, SlotClosed):
                if slot >= until:
                    return
                if slot >= first:
                    yield _watched(stored.record, stored.index, measure, blobs, forecast)
            elif stored.subject == measure and slot >= kept and first <= slot + 1 < until:
                forecast = _forecast(stored.record, region, blobs)
        at = page[-1].index + 1


def _forecast(issued: ForecastIssued, region: Region, blobs: Blobs) -> Forecast | None:
    if not issued.blob:
        return None
    columns = unpack_blob(blobs.get(issued.blob)).columns(issued.horizons_min)
    slots = issued.horizons_min[0] / region.slot_min
    return issued.slot + 1, columns.cells, columns.mean[:, 0] / MILLI / slots, columns.dispersion[:, 0] / MILLI


def _watched(record: SlotClosed, index: int, measure: str, blobs: Blobs, forecast: Forecast | None) -> WatchedSlot:
    own, late = tables_of(record, blobs.get)
    found, counts = np.empty(0, np.uint64), np.empty(0, np.int64)
    for table in own:
        if table.measure == measure:
            _, found, counts = from_table(table)
    known = forecast is not None and forecast[0] == record.slot
    cells, means, dispersion = found, np.zeros(len(found)), np.zeros(len(found))
    if forecast is not None and known:
        cells = np.union1d(forecast[1], found)
        place = np.searchsorted(cells, forecast[1])
        means, dispersion = np.zeros(len(cells)), np.zeros(len(cells))
        means[place], dispersion[place] = forecast[2], forecast[3]
    return WatchedSlot(
        slot=record.slot,
        index=index,
        observed=record.status == SlotStatus.OBSERVED,
        partitions={cut.partition: Arrived(cut.received, cut.accepted, cut.duplicate, dict(cut.rejected)) for cut in record.partitions},
        cells=cells,
        counts=_placed(cells, found, counts),
        means=means,
        dispersion=dispersion,
        forecast=known,
        late=sum(sum(table.counts) for table in late if table.measure == measure),
    )


def _placed(cells: UInt64s, found: UInt64s, counts: Int64s) -> Int64s:
    placed = np.zeros(len(cells), np.int64)
    np.add.at(placed, np.searchsorted(cells, found), counts)
    return placed
