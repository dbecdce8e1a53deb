"""Faults of delivery: events that do not arrive, or arrive late, in another order, or twice."""

from dataclasses import replace

import numpy as np

from schemas.errors import UsageError
from schemas.events.rides import Bools, Float64s, Int64s
from schemas.regions import US_PER_S
from state.simulation.faults.kinds import (
    PRODUCER,
    PRODUCER_COUNT,
    SHARE,
    Concern,
    Fault,
    FaultKind,
    Messages,
    Parameter,
    Scene,
    Touched,
    chances,
    named_producers,
    of_producers,
)

BACKLOG_SPEED = 60  # how much faster than usual a backlog arrives after an outage
US_PER_MS = 1_000


def outage(scene: Scene, fault: Fault, messages: Messages) -> tuple[Messages, Touched]:
    """Nothing arrives of a partition, of some producers or of all: it is lost, or comes afterwards."""
    rows = fault.during(messages.logged_at_us) & of_producers(messages.ids, fault)
    partition = fault.maybe("partition")
    if partition is not None:
        rows &= messages.partitions == partition
    count = int(np.count_nonzero(rows))
    if fault.word("after") == "lost":
        return messages.where(~rows), Touched(removed=count)
    backlog = fault.until_us + (messages.logged_at_us - fault.from_us) // BACKLOG_SPEED
    return messages.later(np.where(rows, _whole_ms(backlog), messages.logged_at_us)), Touched(changed=count)


def _place_of_outage(scene: Scene, fault: Fault) -> Concern:
    partition, producers = fault.maybe("partition"), named_producers(fault)
    if partition is not None and producers is not None:
        raise UsageError(f"--fault {fault.text}: expected a partition or a producer, got both", remedy="give one of them, or two faults")
    if partition is not None and partition >= scene.partitions:
        raise UsageError(f"--fault {fault.text}: partition: expected one of 0 to {scene.partitions - 1}, got {partition}")
    if fault.word("after") == "late" and fault.until_us > scene.end_us:
        raise UsageError(f"--fault {fault.text}: expected an end within the simulation", remedy="give a shorter time, or after=lost")
    return Concern(partitions=None if partition is None else (partition,), producers=producers)


def late(scene: Scene, fault: Fault, messages: Messages) -> tuple[Messages, Touched]:
    """Some events come late, by half of the given time to all of it."""
    rows = _some(fault, messages)
    delay_s = fault.number("delay_s") * (0.5 + 0.5 * chances(messages.ids, fault.salt ^ 1))
    return _delayed(messages, rows, delay_s)


def disorder(scene: Scene, fault: Fault, messages: Messages) -> tuple[Messages, Touched]:
    """Events overtake each other: each has a delay of its own."""
    return _delayed(messages, fault.during(messages.logged_at_us), fault.number("spread_s") * chances(messages.ids, fault.salt))


def slow_partition(scene: Scene, fault: Fault, messages: Messages) -> tuple[Messages, Touched]:
    """One partition lags: its events keep their order, and come later; afterwards it catches up at once."""
    delay_us = int(fault.number("delay_s")) * US_PER_S
    mine = messages.partitions == int(fault.number("partition"))
    during, end_us = fault.during(messages.logged_at_us), fault.until_us + delay_us
    behind = mine & (messages.logged_at_us >= fault.until_us) & (messages.logged_at_us < end_us)
    at = np.where(mine & during, messages.logged_at_us + delay_us, np.where(behind, end_us, messages.logged_at_us))
    return messages.later(at), Touched(changed=int(np.count_nonzero(at != messages.logged_at_us)))


def _place_of_slowness(scene: Scene, fault: Fault) -> Concern:
    partition = int(fault.number("partition"))
    if partition >= scene.partitions:
        raise UsageError(f"--fault {fault.text}: partition: expected one of 0 to {scene.partitions - 1}, got {partition}")
    return Concern(partitions=(partition,), until_us=fault.until_us + int(fault.number("delay_s")) * US_PER_S)


def duplicates(scene: Scene, fault: Fault, messages: Messages) -> tuple[Messages, Touched]:
    """Some events come twice, the same bytes, shortly after each other."""
    rows = _some(fault, messages)
    again = messages.where(rows)
    wait_s = fault.number("within_s") * chances(again.ids, fault.salt ^ 1)
    again = replace(again, logged_at_us=again.logged_at_us + _ms(wait_s) + US_PER_MS, turns=again.turns + 1)
    return messages.followed_by(again), Touched(added=len(again))


def _some(fault: Fault, messages: Messages) -> Bools:
    rows = fault.during(messages.logged_at_us) & (chances(messages.ids, fault.salt) < fault.number("share"))
    return rows & of_producers(messages.ids, fault)


def _delayed(messages: Messages, rows: Bools, delay_s: Float64s) -> tuple[Messages, Touched]:
    at = np.where(rows, messages.logged_at_us + _ms(delay_s), messages.logged_at_us)
    return messages.later(at), Touched(changed=int(np.count_nonzero(at != messages.logged_at_us)))


def _ms(seconds: Float64s) -> Int64s:
    return np.round(seconds * 1_000).astype(np.int64) * US_PER_MS


def _whole_ms(times_us: Int64s) -> Int64s:
    return -(-times_us // US_PER_MS) * US_PER_MS


def _by_producer(scene: Scene, fault: Fault) -> Concern:
    return Concern(producers=named_producers(fault))


_PARTITION = Parameter("partition", "number of the partition", 0.0, 0, 999, whole=True)
KINDS_OF_ARRIVALS = (
    FaultKind(
        "outage",
        "Nothing arrives of the region, of one partition, or of some producers.",
        "the partition or the producers, or neither for the region",
        1,
        (
            replace(_PARTITION, default=None, says="the partition that it touches; all, if not given"),
            PRODUCER,
            PRODUCER_COUNT,
            Parameter("after", "what becomes of the events: they are lost, or arrive when it ends", "lost", choices=("lost", "late")),
        ),
        messages=outage,
        concerns=_place_of_outage,
    ),
    FaultKind(
        "duplicates",
        "Some events arrive twice, with the same bytes.",
        "the producers",
        6,
        (SHARE, Parameter("within_s", "longest time between the two", 30.0, 0.001, 86_400, unit="s"), PRODUCER, PRODUCER_COUNT),
        messages=duplicates,
        concerns=_by_producer,
    ),
    FaultKind(
        "late",
        "Some events arrive late, by half of the given time to all of it.",
        "the producers",
        6,
        (SHARE, Parameter("delay_s", "longest delay", 1_800.0, 1, 86_400, unit="s"), PRODUCER, PRODUCER_COUNT),
        messages=late,
        concerns=_by_producer,
    ),
    FaultKind(
        "disorder",
        "Events overtake each other: each has a delay of its own.",
        "the region",
        6,
        (Parameter("spread_s", "longest delay", 120.0, 0.001, 3_600, unit="s"),),
        messages=disorder,
    ),
    FaultKind(
        "slow-partition",
        "Events of one partition arrive later, in their order; afterwards it catches up at once.",
        "the partition; the time until it has caught up",
        6,
        (_PARTITION, Parameter("delay_s", "its delay", 600.0, 1, 86_400, unit="s", whole=True)),
        messages=slow_partition,
        concerns=_place_of_slowness,
    ),
)
