"""The drivers of a simulated city: one ride at a time, at the right place, and unserved requests only where none is near."""

import io
from collections import defaultdict
from dataclasses import replace
from functools import cache
from itertools import pairwise

import fastavro
import numpy as np
import pytest

from schemas.encoding.avro_files import head, plain_parsed, released
from schemas.errors import DamagedError, UsageError
from schemas.events.codec import EventColumns, encode_events
from schemas.events.drivers import DRIVER_STATES, DriverColumns, DriverState, decode_driver_state, encode_driver_states
from schemas.events.measures import KINDS, RideKind
from schemas.regions import load_region
from state.simulation.city import KM_PER_DEGREE, build_city
from state.simulation.faults.kinds import Scene
from state.simulation.faults.run import FaultRun
from state.simulation.faults.syntax import parse_faults
from state.simulation.fleet import REACH_KM, Fleet
from state.simulation.simulate import DAY_US, simulate_city

TEHRAN = load_region("tehran")
START_US = 1_743_798_600_000_000  # Saturday 2025-04-05, local midnight
SEED, DAYS, RIDES_PER_DAY = 7, 2, 3_000
SOON_US, LAST_CALL_US = 300_000_000, 900_000_000
NEXT = {
    "offline": {"idle"},
    "idle": {"idle", "on_the_way", "offline"},
    "on_the_way": {"occupied", "idle", "offline"},
    "occupied": {"idle", "offline"},
}
State = tuple[int, str, float, float]  # time, state, place


def lived(seed: int = SEED, *faults: str) -> tuple[list[EventColumns], list[DriverColumns]]:
    """Rides and states of drivers, day by day."""
    city, end_us = build_city(TEHRAN, seed), START_US + DAYS * DAY_US
    fleet = Fleet(city, TEHRAN, START_US, seed, RIDES_PER_DAY)
    scene = Scene(TEHRAN, city, seed, START_US, end_us, RIDES_PER_DAY, 4)
    run = FaultRun(scene, parse_faults(faults, TEHRAN, START_US, end_us), all_served=True) if faults else None
    days, states = [], []
    for day, events in enumerate(simulate_city(TEHRAN, START_US, DAYS, seed, RIDES_PER_DAY, run, fleet)):
        days.append(events)
        states.append(fleet.states(START_US + (day + 1) * DAY_US))
    return days, states


@cache
def usual() -> tuple[list[EventColumns], list[DriverColumns]]:
    """Two days without faults."""
    return lived()


@cache
def by_driver() -> dict[str, list[State]]:
    """The states of each driver, in order."""
    found: dict[str, list[State]] = defaultdict(list)
    for columns in usual()[1]:
        rows = (columns.driver, columns.at_us, columns.state, columns.lat, columns.lon)
        for driver, at, state, lat, lon in zip(*(column.tolist() for column in rows), strict=True):
            found[f"driver-{driver}"].append((at, str(DRIVER_STATES[state]), lat, lon))
    return found


def steps(*kinds: RideKind) -> list[tuple[str, str | None, int, float, float]]:
    """Ride, driver, time and pickup of all events of some kinds."""
    found = []
    for day in usual()[0]:
        assert day.driver_id is not None
        columns = (day.ride_id, day.driver_id, day.occurred_at_us.tolist(), day.lat.tolist(), day.lon.tolist(), day.kind.tolist())
        found += [row[:5] for row in zip(*columns, strict=True) if KINDS[row[5]] in kinds]
    return found


def away_km(lat: float, lon: float, state: State) -> float:
    """The distance between a place and a driver."""
    return float(np.hypot((state[2] - lat) * KM_PER_DEGREE, (state[3] - lon) * KM_PER_DEGREE * np.cos(np.radians(lat))))


def test_same_seed_same_bytes() -> None:
    """A seed decides every ride and every state; another seed gives others, and without a fleet the rides are others."""
    again = lived()
    assert [encode_events(day) for day in usual()[0]] == [encode_events(day) for day in again[0]]
    assert [encode_driver_states(day) for day in usual()[1]] == [encode_driver_states(day) for day in again[1]]
    assert encode_driver_states(lived(8)[1][0]) != encode_driver_states(again[1][0])
    plain = next(simulate_city(TEHRAN, START_US, 1, SEED, RIDES_PER_DAY))
    assert encode_events(plain) != encode_events(again[0][0])
    requests = [{ride for ride, kind in zip(day.ride_id, day.kind, strict=True) if kind == 0} for day in (plain, again[0][0])]
    assert requests[0] == requests[1]  # the demand is the same


def test_states_follow_each_other() -> None:
    """Every driver begins at the first moment, times ascend, and each state is one that may follow the one before."""
    assert len(by_driver()) == RIDES_PER_DAY // 8
    for states in by_driver().values():
        assert states[0][0] == START_US
        assert states[0][1] in ("offline", "idle")
        for before, after in pairwise(states):
            assert before[0] < after[0]
            assert after[1] in NEXT[before[1]]
    for day, columns in enumerate(usual()[1]):
        assert (np.diff(columns.at_us) >= 0).all()
        assert START_US + day * DAY_US <= columns.at_us[0]
        assert columns.at_us[-1] < START_US + (day + 1) * DAY_US


def test_a_driver_serves_one_ride_at_a_time() -> None:
    """Between the acceptance of a ride and its end, its driver accepts no other."""
    rides: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for ride, driver, at, _, _ in steps(RideKind.ACCEPTED, RideKind.STARTED, RideKind.COMPLETED, RideKind.CANCELLED):
        if driver is not None:
            rides[driver].append((at, ride))
    assert len(rides) > 150
    for found in rides.values():
        order = [ride for _, ride in sorted(found)]
        blocks = [ride for number, ride in enumerate(order) if number == 0 or order[number - 1] != ride]
        assert len(blocks) == len(set(blocks))


def test_states_agree_with_the_rides() -> None:
    """A driver is on the way from the acceptance on, within reach, and occupied from the start on, at the pickup."""
    known = {(driver, at): (state, lat, lon) for driver, states in by_driver().items() for at, state, lat, lon in states}
    accepted, started = steps(RideKind.ACCEPTED), steps(RideKind.STARTED)
    for _, driver, at, lat, lon in accepted:
        state = known[str(driver), at]
        assert state[0] == "on_the_way"
        assert away_km(lat, lon, (at, *state)) <= REACH_KM * 1.01
    for _, driver, at, lat, lon in started:
        assert ("occupied", lat, lon) == known[str(driver), at]
    counts = {state: sum(found[0] == state for found in known.values()) for state in ("on_the_way", "occupied")}
    assert {"on_the_way": len(accepted), "occupied": len(started)} == counts
    for _, driver, at, _, _ in steps(RideKind.COMPLETED):
        assert known[str(driver), at][0] in ("idle", "offline")


def test_unserved_requests_have_no_driver_near() -> None:
    """Where a request is unserved, no driver within reach is idle, but for those about to begin a ride or to go offline."""
    requests = {ride: (at, lat, lon) for ride, _, at, lat, lon in steps(RideKind.REQUESTED)}
    unserved = steps(RideKind.UNSERVED)
    assert 100 < len(unserved) < len(requests) / 3
    places = np.array([requests[ride] for ride, *_ in unserved])
    at, said_at = places[:, 0].astype(np.int64), np.array([row[2] for row in unserved])
    assert 150_000_000 <= (said_at - at).min() <= (said_at - at).max() <= 300_000_000
    near = 0
    for states in by_driver().values():
        last = np.searchsorted([state[0] for state in states], at, side="right") - 1
        for number, state in enumerate(states):
            if state[1] == "idle" and (last == number).any():
                away = (places[:, 1:] - state[2:]) * KM_PER_DEGREE * [1.0, np.cos(np.radians(state[2]))]
                here = at[(last == number) & (np.hypot(*away.T) < REACH_KM * 0.99)]
                follows = next((state for state in states[number + 1 :] if state[1] != "idle"), (START_US + DAYS * DAY_US, "offline"))
                assert (follows[0] - here <= (LAST_CALL_US if follows[1] == "offline" else SOON_US)).all()
                near += len(here)
    assert near > 0  # there are such drivers, and each is about to be busy


def test_drivers_come_and_go_with_the_day() -> None:
    """More drivers are on shift in the afternoon than before dawn, and none works all day."""
    day = START_US + DAY_US
    on = {}
    for hour in (4, 16):
        at = day + hour * 3_600_000_000
        last = [max(state for state in states if state[0] <= at) for states in by_driver().values()]
        on[hour] = sum(state[1] != "offline" for state in last)
    assert on[4] * 3 < on[16] < RIDES_PER_DAY // 8


def test_a_surge_meets_the_same_drivers() -> None:
    """Rides that a fault adds are served by the fleet too, and a larger share of its cells' requests is unserved."""
    days, _ = lived(SEED, "surge:factor=10,cells=60,from=+1d16h,hours=3")
    shares = []
    for day in (usual()[0][1], days[1]):
        rows = (day.occurred_at_us >= START_US + DAY_US + 16 * 3_600_000_000) & (
            day.occurred_at_us < START_US + DAY_US + 19 * 3_600_000_000
        )
        counts = np.bincount(day.kind[rows], minlength=len(KINDS))
        shares.append(counts[KINDS.index(RideKind.UNSERVED)] / counts[0])
    assert shares[1] > 1.5 * shares[0]


def test_encoded_states_are_avro() -> None:
    """The bytes are those that fastavro writes, under the frame of the schema, and decode to the same fields."""
    (columns, _) = usual()[1]
    rows = (columns.driver[:300], columns.at_us[:300], columns.state[:300])
    part = DriverColumns(*rows, columns.lat[:300], columns.lon[:300], columns.region)
    values = encode_driver_states(part)
    assert list(released("driver_state.v1")["fields"][3]["type"]["symbols"]) == list(DriverState)
    for row, value in enumerate(values):
        fields = {
            "driver_id": part.keys()[row].decode(),
            "occurred_at": int(part.at_us[row]),
            "region": "tehran",
            "state": str(DRIVER_STATES[part.state[row]]),
            "lat": float(part.lat[row]),
            "lon": float(part.lon[row]),
        }
        out = io.BytesIO()
        fastavro.schemaless_writer(out, plain_parsed("driver_state.v1"), fields)
        assert head("driver_state.v1") + out.getvalue() == value
        assert fields == decode_driver_state(value)


@pytest.mark.parametrize("value", [b"", b"\xc3\x01garbage garbage", head("driver_state.v1") + b"\x10"])
def test_other_bytes_are_no_state(value: bytes) -> None:
    """Bytes of another schema, or cut ones, are refused."""
    with pytest.raises(DamagedError, match="driver state: "):
        decode_driver_state(value)


def test_a_fleet_has_a_largest_size() -> None:
    """More rides a day than a fleet can be simulated for are refused."""
    with pytest.raises(UsageError, match="--supply: expected at most 200000 rides a day, got 200001"):
        Fleet(build_city(TEHRAN, 1), replace(TEHRAN), START_US, 1, 200_001)
