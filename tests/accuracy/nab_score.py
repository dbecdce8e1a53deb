"""The score of the Numenta Anomaly Benchmark for one series of detections, standard profile, written from its definition.

Source: A. Lavin and S. Ahmad (2015), Evaluating real-time anomaly detection algorithms: the Numenta Anomaly Benchmark,
arXiv 1510.03336. What the paper leaves open is as in the scores that the benchmark publishes: positions count rows, a
detection in the first row of a window has position -1 and is worth 1, and only rows after the probationary period count.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, floor

FALSE_POSITIVE = 0.11  # weight of the standard profile; those of found and missed windows are 1
PROBATION_SHARE, PROBATION_ROWS = 0.15, 750
FAR = 3.0  # window lengths after a window, from where on a false detection costs its whole weight
STEEPNESS = 5.0

Window = tuple[int, int]  # first and last row


@dataclass(frozen=True, slots=True)
class NabScore:
    """What detections are worth.

    Attributes:
        raw: Sum over windows and false detections: with n windows from -n and less to n.
        normalised: 0 for a detector that never detects, 100 for a perfect one.
        found: Windows with a detection.
        windows: All windows.
        false: Detections outside of windows.
    """

    raw: float
    normalised: float
    found: int
    windows: int
    false: int


def worth(position: float) -> float:
    """What a detection is worth: positive in a window, from position -1 at its start to 0 at its end, negative after it.

    >>> [round(worth(position), 4) for position in (-1.0, -0.5, 0.0, 0.45, 3.0)]
    [0.9866, 0.8483, 0.0, -0.8093, -1.0]
    """
    return -1.0 if position >= FAR else 2.0 / (1.0 + exp(STEEPNESS * position)) - 1.0


def probation(rows: int) -> int:
    """The number of first rows that do not count.

    >>> probation(1000), probation(10320)
    (150, 750)
    """
    return min(floor(PROBATION_SHARE * rows), PROBATION_ROWS)


def score(detections: Iterable[int], windows: Sequence[Window], rows: int) -> NabScore:
    """The score of the rows at which something was detected; windows are in order and do not overlap.

    >>> score([130], [(100, 199)], 200).raw == worth(-0.7) / worth(-1.0)
    True
    """
    counted = [(first, last) for first, last in windows if last >= probation(rows)]
    best: dict[Window, float] = {}
    false = 0
    cost = 0.0
    for row in detections:
        if row < probation(rows):
            continue
        window = next(((first, last) for first, last in windows if first <= row <= last), None)
        if window is not None:
            first, last = window
            gain = worth(-(last - row + 1) / (last - first + 1)) / worth(-1.0)
            best[window] = max(best.get(window, -1.0), gain)
        else:
            false += 1
            before = [(first, last) for first, last in windows if last < row]
            position = (row - before[-1][1]) / max(before[-1][1] - before[-1][0], 1) if before else FAR
            cost += FALSE_POSITIVE * worth(position)
    raw = sum(best.get(window, -1.0) for window in counted) + cost
    most = float(len(counted))
    return NabScore(raw, 100.0 * (raw + most) / (2.0 * most) if counted else 100.0, len(best), len(counted), false)
