"""Paired losses by number: trials whose every gate is known before it is judged."""

from collections.abc import Sequence

import numpy as np

from schemas.forecasts.chunks import ForecastColumns
from state.decide.paired import CHALLENGER, CHAMPION, PairedLosses
from state.decide.promotion import Trial

HORIZONS = (15, 30, 60)
BLOCK = 288
FIRST = 58_000  # a block


def losses_of(ratios: Sequence[float], *, bias: float = 1.0, champion_bias: float = 1.0, inside: float = 0.8) -> PairedLosses:
    """A trial of whole blocks in which the challenger's losses are those of the champion times a ratio."""
    losses = PairedLosses(HORIZONS, 5, BLOCK)
    n = len(ratios)
    losses.blocks = np.arange(FIRST, FIRST + n)
    losses.issues = np.full((n, 3), BLOCK)
    losses.losses = np.ones((n, 2, 2, 3, 3)) * np.array([100.0, 10.0, 1.0])
    losses.losses[:, CHALLENGER] *= np.array(ratios)[:, None, None, None]
    losses.pairs = np.full((n, 3, 3), 1_000.0)
    losses.truth = np.full((n, 3, 3), 500.0)
    losses.means = np.full((n, 2, 3, 3), 500.0)
    losses.means[:, CHALLENGER] *= bias
    losses.means[:, CHAMPION] *= champion_bias
    losses.inside = np.full((n, 2, 3, 3), 800.0)
    losses.inside[:, CHALLENGER] = 1_000.0 * inside
    return losses


def trial_of(losses: PairedLosses, *, size_bytes: int = 1_000, **more: object) -> Trial:
    """A trial of one region, seen after its last block."""
    until = (FIRST + 1 + len(losses.blocks)) * BLOCK
    return Trial(losses={"nyc": losses}, until_slot=until, size_bytes=size_bytes, **more)  # type: ignore[arg-type]


def columns_of(
    cells: Sequence[int], means: Sequence[float], medians: Sequence[int], *, dispersion: int = 0, baseline: Sequence[float] = ()
) -> ForecastColumns:
    """Forecasts that are the same at every horizon."""

    def every(values: Sequence[float]) -> np.ndarray:
        return np.repeat(np.rint(np.array(values, np.float64) * 1000).astype(np.int64)[:, None], len(HORIZONS), axis=1)

    n = len(cells)
    return ForecastColumns(
        cells=np.array(cells, np.uint64),
        horizons_min=HORIZONS,
        mean=every(means),
        median=every(medians),
        lower=every([0] * n),
        upper=every(medians),
        dispersion=np.full((n, len(HORIZONS)), dispersion, np.int64),
        baseline=every(baseline or means),
        fallback=np.zeros(n, np.uint8),
    )
