"""Faults of clocks: producers report times that are ahead or behind; when the log receives an event stays as it was."""

from dataclasses import replace

import numpy as np

from schemas.events.rides import Bools
from schemas.regions import US_PER_MIN, US_PER_S
from state.simulation.faults.kinds import PRODUCER, PRODUCER_COUNT, Fault, FaultKind, Parameter, Reports, Scene, Touched, of_producers
from state.simulation.faults.places import by_producer


def clock_skew(scene: Scene, fault: Fault, reports: Reports) -> tuple[Reports, Touched]:
    """A producer's clock is ahead or behind."""
    return _moved(reports, fault, fault.during(reports.sent_at_us) & of_producers(reports.columns.ride_id, fault))


def clock_jumps(scene: Scene, fault: Fault, reports: Reports) -> tuple[Reports, Touched]:
    """A producer's clock jumps, and is put right after some time, again and again."""
    turn = (reports.sent_at_us - fault.from_us) // int(fault.number("every_min") * US_PER_MIN)
    rows = fault.during(reports.sent_at_us) & (turn % 2 == 0)
    return _moved(reports, fault, rows & of_producers(reports.columns.ride_id, fault))


def _moved(reports: Reports, fault: Fault, rows: Bools) -> tuple[Reports, Touched]:
    at = reports.columns.occurred_at_us.copy()
    at[rows] += int(fault.number("by_s")) * US_PER_S
    return replace(reports, columns=replace(reports.columns, occurred_at_us=at)), Touched(changed=int(np.count_nonzero(rows)))


_AHEAD = Parameter("by_s", "how far the clock is ahead; negative for behind, not 0", 1_200.0, -86_400, 86_400, unit="s", whole=True)
_WHOSE = (replace(PRODUCER, default=3.0, says="first producer that it touches"), PRODUCER_COUNT)
KINDS_OF_CLOCKS = (
    FaultKind(
        "clock-skew",
        "A producer's clock is ahead or behind.",
        "the producers",
        24,
        (_AHEAD, *_WHOSE),
        reports=clock_skew,
        concerns=by_producer,
    ),
    FaultKind(
        "clock-jumps",
        "A producer's clock jumps, and is put right after some time, again and again.",
        "the producers",
        24,
        (_AHEAD, Parameter("every_min", "time between jumps", 30.0, 1, 1_440, unit="min"), *_WHOSE),
        reports=clock_jumps,
        concerns=by_producer,
    ),
)
