"""What a report of an evaluation shows: errors by hour and day, skill of cells, and the cells that went worst. Pure arithmetic."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from schemas.events.rides import Float64s
from state.forecast.evaluation import BASELINES, MODELS, NOISE_FLOOR, Evaluation, bands_in

LINES = (*MODELS, NOISE_FLOOR)
FEW_RIDES = 20.0  # per cell in the test; with fewer, its skill is chance
WORST_CELLS = 10


@dataclass(frozen=True, slots=True)
class Grouped:
    """RMSE of each model by a key of the window's start: {model: {key: rides}}."""

    keys: tuple[str, ...]
    rmse: dict[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class CellSkill:
    """One cell over the test, first horizon.

    Attributes:
        rides: True rides, summed over the windows.
        skill: 1 - squared error / that of the best baseline of the cell; None with few rides.
    """

    cell: int
    band: int
    rides: float
    skill: float | None


@dataclass(frozen=True, slots=True)
class WorstCell:
    """A cell with a large avoidable error, and what happened there; first horizon.

    Attributes:
        excess: RMSE above the one that Poisson noise explains, rides per window.
        at: Local start of the window with the largest error, with its `truth` and `mean`.
        day: The day whose rides were furthest from their forecast, with the ratio of rides to forecast.
        bias: Sum of means over sum of rides, less 1.
        daily: (date, rides, forecast) of each day, summed over its windows.
    """

    cell: int
    rmse: float
    floor: float
    excess: float
    at: datetime
    truth: float
    mean: float
    day: date
    day_ratio: float
    bias: float
    daily: tuple[tuple[date, float, float], ...] = ()


def by_hour(evaluation: Evaluation, horizon: int, band: str) -> Grouped:
    """RMSE by local hour at which the window begins."""
    return _grouped(evaluation, horizon, band, lambda at: f"{at.hour:02d}")


def by_day(evaluation: Evaluation, horizon: int, band: str) -> Grouped:
    """RMSE by local date on which the window begins."""
    return _grouped(evaluation, horizon, band, lambda at: at.date().isoformat())


def _grouped(evaluation: Evaluation, horizon: int, band: str, key: Callable[[datetime], str]) -> Grouped:
    series, pick = evaluation.series(horizon), bands_in(band)
    cells = int(np.isin(evaluation.band, pick).sum())
    keys, place = np.unique(np.array([key(evaluation.local_start(slot)) for slot in series.slots.tolist()]), return_inverse=True)
    pairs = np.bincount(place, minlength=len(keys)) * cells
    rmse = {}
    for model, name in enumerate(LINES):
        squares = np.bincount(place, series.square[:, model, :][:, pick].sum(axis=1), len(keys))
        rmse[name] = tuple(np.sqrt(squares / np.maximum(pairs, 1)).tolist())
    return Grouped(tuple(keys.tolist()), rmse)


def cell_skills(evaluation: Evaluation) -> list[CellSkill]:
    """Every cell, in order of codes; judged against the baseline that was best in that cell."""
    squares, rides = evaluation.cell_square[0], evaluation.cell_truth[0]
    best = squares[1 : len(BASELINES) + 1].min(axis=0)
    return [
        CellSkill(cell, band, truth, 1.0 - served / base if truth >= FEW_RIDES and base > 0 else None)
        for cell, band, truth, served, base in _columns(evaluation.cells, evaluation.band, rides, squares[0], best)
    ]


def worst_cells(evaluation: Evaluation) -> list[WorstCell]:
    """The cells with the largest avoidable error, worst first."""
    issues = max(len(evaluation.series(0).slots), 1)
    served, floor = evaluation.cell_square[0, 0], evaluation.cell_square[0, len(MODELS)]
    order = np.argsort(-(served - floor), kind="stable")[:WORST_CELLS]
    days = sorted(evaluation.days)
    if not days:
        return []
    table = np.stack([evaluation.days[day] for day in days])  # [days, 2, cells]
    out = []
    for cell in order.tolist():
        truth, mean = table[:, 0, cell], table[:, 1, cell]
        worst = int(np.argmax(np.abs(truth - mean)))
        _, slot, then, said = evaluation.largest[:, cell].tolist()
        rmse, noise = (float(np.sqrt(squares[cell] / issues)) for squares in (served, floor))
        out.append(
            WorstCell(
                cell=int(evaluation.cells[cell]),
                rmse=rmse,
                floor=noise,
                excess=rmse - noise,
                at=evaluation.local_start(int(slot)),
                truth=then,
                mean=said,
                day=days[worst],
                day_ratio=float(truth[worst] / max(mean[worst], 1e-9)),
                bias=float(mean.sum() / max(truth.sum(), 1e-9) - 1.0),
                daily=tuple(zip(days, truth.tolist(), mean.tolist(), strict=True)),
            )
        )
    return out


def _columns(*arrays: "Iterable[float] | Float64s") -> "zip[tuple[int, int, float, float, float]]":
    return zip(*(np.asarray(array).tolist() for array in arrays), strict=True)
