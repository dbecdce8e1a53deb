"""The interval of an experiment after each block, as lines of text and as a picture."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.records.records import ExperimentStarted
    from schemas.regions import Region
    from state.decide.arm_losses import Compared

SHOWN_PERCENT = 100.0  # an interval wider than this is drawn to the edge


def sketch(found: "Compared", columns: int, lines: int) -> list[str]:
    """The interval after the last blocks as text: one column per look, `o` the estimate, `|` the interval, `-` no change.

    Args:
        columns: How many looks at most; with more, they are spread over all.
        lines: How many lines, an odd number: the middle one is 0.
    """
    known = np.flatnonzero(np.isfinite(found.sequence.lower))
    if not len(known):
        return []
    looks = known[np.unique(np.linspace(0, len(known) - 1, min(columns, len(known))).astype(np.int64))]
    mean, low, high = (100.0 * values[looks] for values in (found.sequence.mean, found.sequence.lower, found.sequence.upper))
    half = len(looks) // 2  # the first intervals are much wider than what follows
    top = float(np.clip(np.max(np.abs(np.concatenate([low[half:], high[half:], mean]))), 0.1, SHOWN_PERCENT))
    middle = lines // 2

    def line_of(percent: float) -> int:
        return int(np.clip(round(middle - middle * percent / top), 0, lines - 1))

    grid = [["-" if line == middle else " "] * len(looks) for line in range(lines)]
    for column, (center, lower, upper) in enumerate(zip(mean.tolist(), low.tolist(), high.tolist(), strict=True)):
        for line in range(line_of(upper), line_of(lower) + 1):
            grid[line][column] = "|"
        grid[line_of(center)][column] = "o"
    labels = {0: f"{top:+7.1f} %", middle: f"{0:7.1f} %", lines - 1: f"{-top:+7.1f} %"}
    rows = [f"{labels.get(line, ''):>9} {''.join(cells)}" for line, cells in enumerate(grid)]
    return [*rows, f"{'':>9} change of the loss by B after each of {len(found.blocks)} blocks, interval of 95 %; below 0 B is better"]


def plot_sequence(started: "ExperimentStarted", found: "Compared", region: "Region", path: Path) -> None:
    """Draw the estimate and its interval after each block into a file.

    Raises:
        UsageError: matplotlib is not installed, or cannot write such a file.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--plot: expected matplotlib, which is not installed", remedy="pip install 'ridecast[plot]'")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(8.0, 4.2))
    hours = (found.blocks - started.start_slot // started.block_slots + 1) * started.block_slots * region.slot_min / 60.0
    known = np.isfinite(found.sequence.lower)
    mean, low, high = (100.0 * values[known] for values in (found.sequence.mean, found.sequence.lower, found.sequence.upper))
    axis.axhline(0.0, color="0.4", linewidth=0.8)
    axis.fill_between(hours[known], low, high, color="#9ecae1", alpha=0.6, label="interval, valid at every look")
    axis.plot(hours[known], mean, color="#08519c", label="change of the loss by B")
    decided = found.sequence.decided
    if decided is not None:
        axis.axvline(float(hours[decided]), color="#d1495b", linestyle="--", label=f"decided: {found.finding.value}")
    if len(mean):
        half = len(mean) // 2
        top = float(np.clip(1.2 * np.max(np.abs(np.concatenate([low[half:], high[half:], mean]))), 0.1, SHOWN_PERCENT))
        axis.set_ylim(-top, top)
    axis.set_xlabel("hours since the start")
    axis.set_ylabel("change of the loss, % (below 0: B is better)")
    axis.set_title(f"{started.region}, {started.measure}: experiment {started.experiment}")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="upper right")
    figure.tight_layout()
    try:
        figure.savefig(path, dpi=110)
    except ValueError as cause:
        raise UsageError(f"--plot: {path}: {cause}") from cause
    finally:
        pyplot.close(figure)
