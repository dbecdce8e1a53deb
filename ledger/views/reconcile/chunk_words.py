"""How a stored chunk differs from the ledger's, in words: which cells, and the first number that differs."""

from typing import NamedTuple

import numpy as np

from ledger.views.reconcile.differences import Reason
from schemas.errors import DamagedError
from schemas.events.cells import cell_text
from schemas.forecasts.chunks import NUMBERS, ForecastColumns, decode_chunk

CELLS_NAMED = 3
DIGITS = 12  # hexadecimal, of a digest


class ChunkWords(NamedTuple):
    """A difference of two chunks; see `ledger.views.reconcile.differences.Difference`."""

    reason: Reason
    expected: str
    got: str
    cells: tuple[str, ...]


def words_of(expected: bytes, got: bytes | None, horizons_min: tuple[int, ...], precision: int) -> ChunkWords:
    """How a chunk differs from what the ledger has.

    Args:
        expected: Of the ledger.
        got: Stored bytes that are not the same; None if there are none.
        precision: Letters of a cell's geohash.
    """
    ours = decode_chunk(expected, horizons_min)
    names = tuple(cell_text(cell, precision) for cell in ours.cells.tolist()[:CELLS_NAMED])
    whole = f"{len(ours)} cells from {names[0]}"
    if got is None:
        return ChunkWords(Reason.MISSING, whole, "nothing", names)
    try:
        theirs = decode_chunk(got, horizons_min)
    except DamagedError:
        how = f"its first {len(got)} of {len(expected)} bytes" if expected.startswith(got) else f"{len(got)} bytes that are no chunk"
        return ChunkWords(Reason.DAMAGED, whole, how, names)
    return _numbers(ours, theirs, precision)


def _numbers(ours: ForecastColumns, theirs: ForecastColumns, precision: int) -> ChunkWords:
    only = {
        name: sorted(set(a.cells.tolist()) - set(b.cells.tolist())) for name, a, b in (("ours", ours, theirs), ("theirs", theirs, ours))
    }
    texts = {name: tuple(cell_text(cell, precision) for cell in cells[:CELLS_NAMED]) for name, cells in only.items()}
    if only["theirs"]:
        expected = f"{len(ours)} cells"
        return ChunkWords(
            Reason.ADDED, expected, f"{len(only['theirs'])} cells that are not forecast, {texts['theirs'][0]} first", texts["theirs"]
        )
    if only["ours"]:
        return ChunkWords(Reason.MISSING, f"{texts['ours'][0]} among {len(ours)} cells", f"{len(theirs)} cells", texts["ours"])
    for name in NUMBERS:
        rows, columns = np.nonzero(getattr(ours, name) != getattr(theirs, name))
        if len(rows):
            cells = tuple(cell_text(int(ours.cells[row]), precision) for row in np.unique(rows)[:CELLS_NAMED])
            row, column = int(rows[0]), int(columns[0])
            what = f"{cell_text(int(ours.cells[row]), precision)} {name} at {ours.horizons_min[column]} min"
            values = (getattr(side, name)[row, column] / 1000 for side in (ours, theirs))
            a, b = (f"{what} {value:g}" for value in values)
            return ChunkWords(Reason.CHANGED, a, b, cells)
    rows = np.flatnonzero(ours.fallback != theirs.fallback)
    cells = tuple(cell_text(int(ours.cells[row]), precision) for row in rows[:CELLS_NAMED])
    return (
        ChunkWords(Reason.CHANGED, "the same model of each cell", "another", cells)
        if len(rows)
        else ChunkWords(Reason.DAMAGED, "the same bytes", "other bytes of the same numbers", ())
    )


def cells_in(chunk: bytes | None, horizons_min: tuple[int, ...], precision: int) -> tuple[str, ...]:
    """The first cells of a chunk that should not be there; none if it is no chunk."""
    try:
        return tuple(cell_text(cell, precision) for cell in decode_chunk(chunk or b"", horizons_min).cells.tolist()[:CELLS_NAMED])
    except DamagedError:
        return ()
