"""An issue whose windows have ended and settled: its forecasts, and the rides that came."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.events.rides import Int64s, UInt64s
from schemas.forecasts.chunks import ForecastColumns
from schemas.records.records import HorizonSpread


@dataclass(frozen=True, slots=True)
class SettledIssue:
    """The forecasts of one issue, and the truth for n cells and h horizons.

    Attributes:
        slot: At whose cut they were issued.
        columns: The forecasts, of m cells.
        spread: The distributions of each horizon, as in the header of the issue.
        cells: uint64[n], strictly ascending: those of the forecasts, and others that had a ride in the longest window.
        truth: int64[n, h], settled rides in each window.
        whole: bool[h], whether every slot of the window was observed; else its count says less than the demand.
    """

    slot: int
    columns: ForecastColumns
    spread: tuple[HorizonSpread, ...]
    cells: UInt64s
    truth: Int64s
    whole: npt.NDArray[np.bool_]
