"""Faults of demand: how many rides are requested, where and when; rides that stay keep their bytes.

Each function returns what is expected in each slot and cell. Where that is less than before, `state.simulation.changes`
leaves out some of the rides; where it is more, it adds others.
"""

import numpy as np

from schemas.events.cells import cell_code, centres
from schemas.events.rides import Float64s, Int64s
from state.simulation.city import Day, interpolated, local_clock
from state.simulation.faults.kinds import CELL, Concern, Fault, FaultKind, Parameter, Scene

MOST_GROWTH = 100.0
LEAST_LEFT = 0.05  # of the demand of the cells that a shift of the mix takes from
STREAM = 3  # streams 0 and 1 of a seed make the city and its days, 2 its quarters


def slot_times(scene: Scene, day: Day) -> Int64s:
    """The start of each slot: int64[slots]."""
    return day.start_us + np.arange(len(day.expected)) * scene.region.slot_us


def nearest_cells(scene: Scene, fault: Fault) -> Int64s:
    """Places in `City.cells` of the cells around the fault's own, nearest first."""
    city, text = scene.city, fault.word("cell")
    if text is None:
        hub = int(city.hub_cells[0])
        lat, lon = float(city.lat[hub]), float(city.lon[hub])
    else:
        at = centres(np.array([cell_code(text)], np.uint64), scene.region.cell_bits)
        lat, lon = float(at[0][0]), float(at[1][0])
    apart = (city.lat - lat) ** 2 + (city.lon - lon) ** 2
    return np.asarray(np.argsort(apart, kind="stable")[: int(fault.number("cells"))], np.int64)


def nearby(scene: Scene, fault: Fault) -> Concern:
    """The cells of a fault that has a place."""
    return Concern(cells=np.sort(scene.city.cells[nearest_cells(scene, fault)]))


def surge(scene: Scene, fault: Fault, day: Day) -> Float64s:
    """Neighbouring cells have several times their demand."""
    expected = day.expected.copy()
    rows = np.flatnonzero(fault.during(slot_times(scene, day)))
    expected[np.ix_(rows, nearest_cells(scene, fault))] *= fault.number("factor")
    return expected


def level(scene: Scene, fault: Fault, day: Day) -> Float64s:
    """All of the region has a multiple of its demand."""
    return day.expected * np.where(fault.during(slot_times(scene, day)), fault.number("factor"), 1.0)[:, None]


def growth(scene: Scene, fault: Fault, day: Day) -> Float64s:
    """Demand grows or shrinks by a share a day, compounded slot by slot."""
    rate = fault.number("per_day") if fault.kind.name == "growth" else -fault.number("per_day")
    times = slot_times(scene, day)
    days = np.where(fault.during(times), fault.elapsed_days(times), 0.0)
    return np.asarray(day.expected * np.exp(np.minimum(days * np.log1p(rate), np.log(MOST_GROWTH)))[:, None], np.float64)


def mix(scene: Scene, fault: Fault, day: Day) -> Float64s:
    """A share of all demand moves from some cells to the others; in each slot the total stays."""
    city = scene.city
    order = np.random.default_rng([scene.seed, STREAM, fault.salt]).permutation(len(city.cells))
    giving = np.zeros(len(order), np.bool_)
    giving[order[np.cumsum(city.weight[order]) <= 0.5]] = True
    given, taken = day.expected[:, giving].sum(axis=1), day.expected[:, ~giving].sum(axis=1)
    moved = np.minimum(fault.number("share") * (given + taken), (1 - LEAST_LEFT) * given) * fault.during(slot_times(scene, day))
    moved[(given <= 0) | (taken <= 0)] = 0.0
    less, more = moved / np.maximum(given, 1e-12), moved / np.maximum(taken, 1e-12)
    return np.asarray(day.expected * np.where(giving, 1.0 - less[:, None], 1.0 + more[:, None]), np.float64)


def holiday(scene: Scene, fault: Fault, day: Day) -> Float64s:
    """Working days have the shape of a day off, and less demand; no calendar knows of it."""
    _, at, weekend = local_clock(scene.region, day.start_us, len(day.expected))
    usual, off = (interpolated(at, kind) @ scene.city.sort.T for kind in (weekend, np.ones_like(weekend)))
    ratio = np.divide(off, usual, out=np.ones_like(off), where=usual > 0)
    during = fault.during(slot_times(scene, day))
    return np.asarray(day.expected * np.where(during[:, None], ratio * fault.number("factor"), 1.0), np.float64)


def stadium(scene: Scene, fault: Fault, day: Day) -> Float64s:
    """A crowd leaves from a few cells, most of it at once."""
    times, cells = slot_times(scene, day), nearest_cells(scene, fault)
    expected = day.expected.copy()
    rows = np.flatnonzero(fault.during(times))
    if not len(rows):
        return expected
    until_us = min(fault.until_us, scene.end_us)
    whole = np.exp(-np.arange(max(1, (until_us - fault.from_us) // scene.region.slot_us)) * scene.region.slot_min / 30)
    fade = np.exp(-(times[rows] - fault.from_us) / scene.region.slot_us * scene.region.slot_min / 30) / whole.sum()
    shares = 0.5 ** np.arange(len(cells))
    expected[np.ix_(rows, cells)] += fault.number("crowd") * np.outer(fade, shares / shares.sum())
    return expected


_RATE = Parameter("per_day", "share by which demand changes each day", 0.01, 0.0001, 0.5)
KINDS_OF_DEMAND = (
    FaultKind(
        "surge",
        "Neighbouring cells have several times their demand.",
        "the cells",
        2,
        (
            Parameter("factor", "demand over usual demand", 3.0, 1.01, 50.0),
            Parameter("cells", "number of cells, the nearest to `cell`", 12.0, 1, 500, whole=True),
            CELL,
        ),
        demand=surge,
        concerns=nearby,
    ),
    FaultKind(
        "level",
        "All demand of the region changes by a factor.",
        "the region",
        None,
        (Parameter("factor", "demand over usual demand", 0.7, 0.01, 20.0),),
        demand=level,
    ),
    FaultKind(
        "mix",
        "A share of the demand moves from half of the cells to the others; the total stays.",
        "the region",
        None,
        (Parameter("share", "share of all demand that moves", 0.2, 0.01, 0.4),),
        demand=mix,
    ),
    FaultKind("growth", "A growing city: demand rises by a share each day, up to 100 times.", "the region", None, (_RATE,), demand=growth),
    FaultKind("decline", "A dying city: demand falls by a share each day.", "the region", None, (_RATE,), demand=growth),
    FaultKind(
        "holiday",
        "Working days have the shape of a day off, and no calendar knows of it.",
        "the region",
        24,
        (Parameter("factor", "demand over that of a usual day off", 0.8, 0.05, 5.0),),
        demand=holiday,
    ),
    FaultKind(
        "stadium",
        "A crowd leaves from a few cells, most of it within half an hour.",
        "the cells",
        1.5,
        (
            Parameter("crowd", "rides that it requests", 300.0, 1, 100_000, unit="rides"),
            Parameter("cells", "number of cells, the nearest to `cell`; each has half the crowd of the one before", 4.0, 1, 50, whole=True),
            CELL,
        ),
        demand=stadium,
        concerns=nearby,
    ),
)
