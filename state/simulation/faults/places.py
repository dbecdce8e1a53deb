"""Faults of places and ids: spoofed and drifting positions, invented rides, one key for many events."""

from dataclasses import replace

import numpy as np

from schemas.events.cells import bounds, cell_code
from schemas.events.measures import KINDS, RideKind
from schemas.events.partitioner import partition_of
from schemas.events.ride_columns import EventColumns, MaybeTexts
from schemas.events.rides import Float64s, UInt64s
from schemas.regions import US_PER_S
from state.simulation.city import KM_PER_DEGREE
from state.simulation.faults.kinds import (
    CELL,
    PRODUCER,
    PRODUCER_COUNT,
    SHARE,
    Concern,
    Fault,
    FaultKind,
    Parameter,
    Reports,
    Scene,
    Touched,
    chances,
    named_producers,
    of_producers,
    spread,
    unit,
)

MOST_DRIFT_KM = 50.0
MARGIN = 0.05  # of a cell that invented places keep from its border
_HOUR_US = 3_600 * US_PER_S


def target_cell(scene: Scene, fault: Fault) -> UInt64s:
    """The cell of a fault that has one: uint64[1]."""
    text = fault.word("cell")
    return scene.city.cells[scene.city.hub_cells[:1]] if text is None else np.array([cell_code(text)], np.uint64)


def at_target(scene: Scene, fault: Fault) -> Concern:
    """One cell."""
    return Concern(cells=target_cell(scene, fault))


def spoofing(scene: Scene, fault: Fault, reports: Reports) -> tuple[Reports, Touched]:
    """Some rides report a pickup in one cell, wherever they are."""
    columns = reports.columns
    rows = fault.during(reports.sent_at_us) & (chances(columns.ride_id, fault.salt) < fault.number("share"))
    rides = [columns.ride_id[row] for row in np.flatnonzero(rows).tolist()]
    lat, lon = columns.lat.copy(), columns.lon.copy()
    lat[rows], lon[rows] = _points(scene, fault, chances(rides, fault.salt ^ 1), chances(rides, fault.salt ^ 2))
    return replace(reports, columns=replace(columns, lat=lat, lon=lon)), Touched(changed=int(rows.sum()))


def gps_drift(scene: Scene, fault: Fault, reports: Reports) -> tuple[Reports, Touched]:
    """Positions move away from the truth, further with every hour."""
    columns = reports.columns
    rows = fault.during(reports.sent_at_us) & of_producers(columns.ride_id, fault)
    rows &= reports.sent_at_us > fault.from_us
    away_km = np.minimum((reports.sent_at_us[rows] - fault.from_us) / _HOUR_US * fault.number("m_per_hour") / 1_000, MOST_DRIFT_KM)
    bearing = np.radians(fault.number("bearing"))
    lat, lon = columns.lat.copy(), columns.lon.copy()
    lat[rows] += away_km * np.cos(bearing) / KM_PER_DEGREE
    lon[rows] += away_km * np.sin(bearing) / (KM_PER_DEGREE * np.cos(np.radians(columns.lat[rows])))
    lat, lon = np.round(lat, 6), np.round(lon, 6)
    moved = (lat != columns.lat) | (lon != columns.lon)
    return replace(reports, columns=replace(columns, lat=lat, lon=lon)), Touched(changed=int(moved.sum()))


def poisoning(scene: Scene, fault: Fault, reports: Reports) -> tuple[Reports, Touched]:
    """A few riders request rides in one cell all the time, and cancel each within a minute."""
    every_us = int(_HOUR_US / fault.number("per_hour"))
    first = max(0, -(-(reports.from_us - fault.from_us) // every_us))
    stop = -(-(min(reports.until_us, fault.until_us) - fault.from_us) // every_us)
    number = np.arange(first, max(first, stop), dtype=np.int64)
    if not len(number):
        return reports, Touched()
    words = spread(number.astype(np.uint64) ^ np.uint64(fault.salt))
    lat, lon = _points(scene, fault, unit(spread(words ^ np.uint64(1))), unit(spread(words ^ np.uint64(2))))
    requested_at = fault.from_us + number * every_us
    given_up_at = requested_at + US_PER_S * (20 + (words % np.uint64(40)).astype(np.int64))
    within = given_up_at < min(scene.end_us, fault.until_us)
    rides = [f"{word:016x}" for word in words.tolist()]
    riders: MaybeTexts = [f"rider-fake-{row % int(fault.number('riders'))}" for row in number.tolist()]
    steps = ((RideKind.REQUESTED, requested_at, np.ones(len(number), np.bool_)), (RideKind.CANCELLED, given_up_at, within))
    columns, sent_at = reports.columns, reports.sent_at_us
    for kind, at, rows in steps:
        code = KINDS.index(kind)
        some = np.flatnonzero(rows).tolist()
        n = len(some)
        columns = _joined(
            columns,
            EventColumns(
                event_id=[f"{rides[row]}-{code}" for row in some],
                ride_id=[rides[row] for row in some],
                kind=np.full(n, code, np.uint8),
                occurred_at_us=at[rows],
                region=scene.region.id,
                lat=lat[rows],
                lon=lon[rows],
                dropoff_lat=lat[rows][::-1],
                dropoff_lon=lon[rows][::-1],
                rider_id=[riders[row] for row in some],
                driver_id=[None] * n,
                vehicle_class=["eco"] * n,
                fare=np.full(n, np.nan),
            ),
        )
        sent_at = np.concatenate([sent_at, at[rows]])
    order = np.argsort(sent_at, kind="stable")
    added = Touched(added=len(sent_at) - len(reports.sent_at_us))
    return replace(reports, columns=_in_order(columns, order.tolist()), sent_at_us=sent_at[order]), added


def hot_key(scene: Scene, fault: Fault, reports: Reports) -> tuple[Reports, Touched]:
    """Some events have one and the same key, so that one partition receives them all."""
    columns = reports.columns
    rows = fault.during(reports.sent_at_us) & (chances(columns.event_id, fault.salt) < fault.number("share"))
    key = hot_key_of(fault)
    rides = [key if hot else ride for ride, hot in zip(columns.ride_id, rows.tolist(), strict=True)]
    return replace(reports, columns=replace(columns, ride_id=rides)), Touched(changed=int(rows.sum()))


def hot_key_of(fault: Fault) -> str:
    """The key, which looks like that of a ride."""
    return f"{int(spread(np.array([fault.salt], np.uint64))[0]):016x}"


def _one_partition(scene: Scene, fault: Fault) -> Concern:
    return Concern(partitions=(int(partition_of([hot_key_of(fault).encode()], scene.partitions)[0]),))


def by_producer(scene: Scene, fault: Fault) -> Concern:
    """Some producers, or all."""
    return Concern(producers=named_producers(fault))


def _points(scene: Scene, fault: Fault, up: Float64s, right: Float64s) -> tuple[Float64s, Float64s]:
    """Places in the fault's cell, from numbers in [0, 1)."""
    south, west, north, east = bounds(target_cell(scene, fault), scene.region.cell_bits)[0]
    up, right = MARGIN + (1 - 2 * MARGIN) * up, MARGIN + (1 - 2 * MARGIN) * right
    return np.round(south + up * (north - south), 6), np.round(west + right * (east - west), 6)


def _joined(first: EventColumns, second: EventColumns) -> EventColumns:
    """Both, of which neither says when it was logged."""
    columns: dict[str, object] = {"region": first.region}
    for name in EventColumns.__slots__:
        ours, theirs = getattr(first, name), getattr(second, name)
        if name not in ("region", "logged_at_us"):
            columns[name] = ours + theirs if isinstance(ours, list) else np.concatenate([ours, theirs])
    return EventColumns(**columns)  # type: ignore[arg-type]


def _in_order(columns: EventColumns, order: list[int]) -> EventColumns:
    moved: dict[str, object] = {"region": columns.region}
    for name in EventColumns.__slots__:
        column = getattr(columns, name)
        if name not in ("region", "logged_at_us"):
            moved[name] = [column[row] for row in order] if isinstance(column, list) else column[order]
    return EventColumns(**moved)  # type: ignore[arg-type]


KINDS_OF_PLACES = (
    FaultKind(
        "spoofing",
        "Some rides report a pickup in one cell, wherever they are.",
        "the cell",
        6,
        (Parameter("share", "share of the rides that report it", 0.1, 0.0001, 1.0), CELL),
        reports=spoofing,
        concerns=at_target,
    ),
    FaultKind(
        "gps-drift",
        "Positions move away from the truth, further with every hour, up to 50 km.",
        "the producers",
        24,
        (
            Parameter("m_per_hour", "speed of the drift", 500.0, 1, 50_000, unit="m/h"),
            Parameter("bearing", "its direction, clockwise from north", 45.0, 0, 359, unit="degrees"),
            PRODUCER,
            PRODUCER_COUNT,
        ),
        reports=gps_drift,
        concerns=by_producer,
    ),
    FaultKind(
        "poisoning",
        "A few riders request rides in one cell all the time, and cancel each within a minute.",
        "the cell",
        12,
        (
            Parameter("per_hour", "requests of that kind", 60.0, 1, 3_600, unit="1/h"),
            Parameter("riders", "number of riders", 5.0, 1, 1_000, whole=True),
            CELL,
        ),
        reports=poisoning,
        concerns=at_target,
    ),
    FaultKind(
        "hot-key",
        "Some events have one and the same key, so that one partition receives them all.",
        "the partition that has too many",
        6,
        (replace(SHARE, default=0.5),),
        reports=hot_key,
        concerns=_one_partition,
    ),
)
