"""Sums over the cells around each cell, weighted by distance.

Which cells lie around a cell, and how much each weighs, depends only on the grid and on the cells that are known; the
sums run over the grid in one order. So a sum depends neither on the order in which cells were first seen nor on the
cells whose sums are asked for.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from schemas.events.cells import NO_CELL, at_steps, cell_size_km
from schemas.events.rides import Float64s, Int64s, UInt64s
from schemas.regions import Region

KERNELS_KM = (0.8, 2.0)  # standard deviations
REACH = 2.0  # standard deviations
MOST_STEPS = 200  # bounds time and memory where cells are small

if TYPE_CHECKING:
    from scipy.sparse import csr_array  # type: ignore[import-untyped]

_NO_CELLS: UInt64s = np.empty(0, np.uint64)


class Around:
    """Gaussian kernels over all other cells of a region's history.

    Args:
        region: Its middle latitude gives the size of all cells.
    """

    def __init__(self, region: Region) -> None:
        self._bits = region.cell_bits
        lats = [lat for lat, _ in region.polygon]
        size = cell_size_km((min(lats) + max(lats)) / 2, region.cell_bits)
        self._steps, km = _steps(size)
        self._by_step = [np.where(km <= REACH * kernel, np.exp(-0.5 * (km / kernel) ** 2), 0.0) for kernel in KERNELS_KM]
        self._cells = _NO_CELLS
        self._matrices: list[csr_array] = []
        self._asked: dict[int, tuple[Int64s, csr_array]] = {}  # by kernel: the columns asked for last, and their rows of the matrix

    def sums(self, kernel: int, cells: UInt64s, columns: Int64s, values: Float64s) -> Float64s:
        """Weighted sums over the cells around some cells: float64[len(columns), k].

        Args:
            kernel: Index in KERNELS_KM.
            cells: uint64[n], all known cells.
            columns: Which of them.
            values: float64[n, k].
        """
        if not np.array_equal(cells, self._cells):
            self._place(cells)
        return np.asarray(self._rows(kernel, columns) @ values, np.float64)

    def _rows(self, kernel: int, columns: Int64s) -> "csr_array":
        asked = self._asked.get(kernel)
        if asked is None or not np.array_equal(asked[0], columns):  # The cells to forecast change rarely.
            asked = self._asked[kernel] = columns.copy(), self._matrices[kernel][columns]
        return asked[1]

    def _place(self, cells: UInt64s) -> None:
        from scipy.sparse import csr_array

        order = np.argsort(cells)
        ascending = cells[order]
        wanted = at_steps(cells, self._bits, self._steps)
        place = np.minimum(np.searchsorted(ascending, wanted), max(len(cells) - 1, 0))
        known = (ascending[place] == wanted) & (wanted != NO_CELL) if len(cells) else np.zeros(wanted.shape, np.bool_)
        self._matrices, self._asked = [], {}
        for weights in self._by_step:
            used = known & (weights > 0.0)
            starts = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
            data = np.broadcast_to(weights, used.shape)[used]
            # Rows keep the order of the steps: `csr_array` does not sort.
            self._matrices.append(csr_array((data, order[place[used]], starts), shape=(len(cells), len(cells))))
        self._cells = cells.copy()


def _steps(size_km: tuple[float, float]) -> tuple[Int64s, Float64s]:
    """The steps within reach, nearest first, and how far each is, km: int64[m, 2], float64[m]."""
    width, height = size_km
    reach = REACH * max(KERNELS_KM)
    most = math.isqrt(4 * MOST_STEPS)  # beyond it, the bound on their number holds anyway
    across, up = (min(int(reach / step), most) for step in size_km)
    found = [(i, j) for i in range(-across, across + 1) for j in range(-up, up + 1) if i or j]
    near = sorted((math.hypot(i * width, j * height), i, j) for i, j in found)
    kept = [row for row in near if row[0] <= reach][:MOST_STEPS]
    return np.array([row[1:] for row in kept], np.int64).reshape(-1, 2), np.array([row[0] for row in kept])
