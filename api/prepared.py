"""The newest issue of a region as bytes that are ready to send, made once for each issue.

Only the age changes between two answers of one issue. It stands between the header and the rows, so an answer is three
pieces in a row. Compressed, the rows are a run of deflate blocks that is made once; the pieces before them are added as
blocks of their own, because compressing 750 KB again each second would take 15 ms.
"""

import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from api.answers import COMPRESSION, SMALLEST_COMPRESSED_BYTES, to_json
from api.arms import model_of, said_of_arm
from api.forecast_rows import confidences, header_of, why_of
from schemas.events.cells import cell_texts
from schemas.events.rides import Bools
from schemas.forecasts.chunks import ForecastColumns
from schemas.records.records import BY_MODEL, FALLBACKS, Fallback, ForecastIssued
from schemas.regions import Region

KEPT_SELECTIONS = 16  # selections of rows of one issue whose bytes are kept, such as `top=500`
GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"  # deflate, no time, Unix (RFC 1952)

Selection = tuple[int | None, int]  # (position of the horizon or None for all, most cells or 0 for all)


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of an answer up to its end, plain and as deflate blocks."""

    plain: bytes
    deflated: bytes


@dataclass(slots=True)
class _LastAnswer:
    """The answer of one selection at one age: asked for many times before the age changes."""

    said: bytes = b""
    plain: bytes = b""
    gzipped: bytes = b""


class PreparedIssue:
    """The newest issue of one region and measure.

    Args:
        index: Of its entry in the region's log.
        record: The entry.
        columns: Its forecasts.
        region: Definition of the region.
        log: Name of the region's log.
        challenged: bool[n], which forecasts the challenger of an experiment made; None for none.
    """

    def __init__(
        self, index: int, record: ForecastIssued, columns: ForecastColumns, region: Region, log: str, challenged: Bools | None = None
    ) -> None:
        self.index, self.record, self.columns, self.region = index, record, columns, region
        self.version = f"{index}-{record.blob.hex()[:16]}"
        self.texts: list[str] = cell_texts(columns.cells, region.precision).tolist()
        self.row_of: dict[int, int] = {cell: row for row, cell in enumerate(columns.cells.tolist())}
        self._head = to_json(header_of(record, region, log, index))[:-1]
        self._before = _row_starts(self.texts, columns, record, challenged)
        self._horizons = [_horizon_texts(columns, record, position) for position in range(len(record.horizons_min))]
        self._kept: OrderedDict[Selection, Rows] = OrderedDict()
        self._last: dict[Selection, _LastAnswer] = {}
        self.rows((None, 0))  # what most clients and the page's map ask for

    def some(self, said: bytes, rows: Sequence[int], horizon: int | None, missing: Sequence[str]) -> bytes:
        """An answer with some rows.

        Args:
            said: The members that change with time, from `said_of`.
            rows: Numbers of the rows.
            horizon: Position of the horizon, or None for all.
            missing: Geohashes without a forecast.
        """
        return b"".join((self._head, said, self._rows(rows, horizon), b'],"without_forecast":', to_json(list(missing)), b"}"))

    def selected(self, said: bytes, selection: Selection, *, gzipped: bool) -> tuple[bytes, bool]:
        """An answer with many rows, and whether it is compressed; small ones are not."""
        rows = self.rows(selection)
        last = self._last.get(selection)
        if last is None or last.said != said:
            if len(self._last) > KEPT_SELECTIONS:
                self._last = {}
            last = self._last[selection] = _LastAnswer(said)
        if not gzipped or len(rows.plain) < SMALLEST_COMPRESSED_BYTES:
            last.plain = last.plain or b"".join((self._head, said, rows.plain))
            return last.plain, False
        last.gzipped = last.gzipped or gzip_of(self._head + said, rows)
        return last.gzipped, True

    def rows(self, selection: Selection) -> Rows:
        """The rows of a selection; kept for the next time."""
        found = self._kept.get(selection)
        if found is None:
            horizon, top = selection
            numbers = range(len(self.texts))
            if top:
                order = (-self.columns.mean[:, horizon or 0]).argsort(kind="stable")
                numbers = order[:top].tolist()
            plain = self._rows(numbers, horizon) + b'],"without_forecast":[]}'
            found = self._kept[selection] = Rows(plain, _deflate(plain, last=True))
            while len(self._kept) > KEPT_SELECTIONS:
                self._kept.popitem(last=False)
        return found

    def _rows(self, rows: Sequence[int], horizon: int | None) -> bytes:
        picked = self._horizons if horizon is None else self._horizons[horizon : horizon + 1]
        return ",".join([self._before[row] + ",".join([texts[row] for texts in picked]) + "]}" for row in rows]).encode()


def said_of(age_s: int, stale: bool, freshness: str, source: str) -> bytes:
    """The members of an answer that change with time, up to the start of the rows."""
    return b',"age_s":%d,"stale":%s,"freshness":"%s","source":"%s","forecasts":[' % (
        age_s,
        b"true" if stale else b"false",
        freshness.encode(),
        source.encode(),
    )


def gzip_of(head: bytes, rows: Rows) -> bytes:
    """A gzip file of the head, compressed now, and of rows that are compressed already.

    >>> import gzip
    >>> rows = Rows(b"rows", _deflate(b"rows", last=True))
    >>> gzip.decompress(gzip_of(b"head and ", rows))
    b'head and rows'
    """
    check = zlib.crc32(rows.plain, zlib.crc32(head))
    size = (len(head) + len(rows.plain)) & 0xFFFFFFFF
    return b"".join((GZIP_HEAD, _deflate(head, last=False), rows.deflated, check.to_bytes(4, "little"), size.to_bytes(4, "little")))


def _deflate(data: bytes, *, last: bool) -> bytes:
    """Raw deflate blocks of some bytes, which refer to nothing before them; without `last` others follow on a byte boundary."""
    pressed = zlib.compressobj(COMPRESSION, zlib.DEFLATED, -zlib.MAX_WBITS)
    return pressed.compress(data) + pressed.flush(zlib.Z_FINISH if last else zlib.Z_FULL_FLUSH)


def _row_starts(texts: list[str], columns: ForecastColumns, record: ForecastIssued, challenged: Bools | None) -> list[str]:
    """Each row up to its horizons; `api.forecast_rows` is the simple way to make one."""
    after = []
    for by_other in (False, True):
        for fallback in FALLBACKS:
            named = to_json(model_of(record, challenged=by_other) if fallback in BY_MODEL else None).decode()
            arm = to_json(said_of_arm(record, own=fallback is Fallback.NONE, challenged=by_other)).decode()
            why = to_json(why_of(fallback, record)).decode()
            after.append(f'","fallback":"{fallback.value}","why":{why},"model":{named},"experiment":{arm},"horizons":[')
    codes = columns.fallback.astype(np.int64)
    if challenged is not None:
        codes = codes + len(FALLBACKS) * challenged
    return [f'{{"cell":"{text}{after[code]}' for text, code in zip(texts, codes.tolist(), strict=True)]


def _horizon_texts(columns: ForecastColumns, record: ForecastIssued, position: int) -> list[str]:
    numbers = [(getattr(columns, name)[:, position] / 1000).tolist() for name in ("mean", "median", "lower", "upper", "baseline")]
    sure, horizon_min = confidences(columns, np.arange(len(columns)), record, position), record.horizons_min[position]
    return [
        f'{{"horizon_min":{horizon_min},"mean":{mean!r},"median":{median!r},"lower":{lower!r},"upper":{upper!r},"baseline":{baseline!r},'
        f'"confidence":{confidence!r}}}'
        for mean, median, lower, upper, baseline, confidence in zip(*numbers, sure, strict=True)
    ]
