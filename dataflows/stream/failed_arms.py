"""Ends an experiment whose challenger raised at a close, so that the champion serves every cell within the same close.

The end is a record in the control log, which the close cites: whoever folds it again, for a resume, a replay or an explanation,
folds no challenger from that slot on, whether or not it would fail again.
"""

import logging
import re

from ledger.store.log import Ledger
from ledger.views.append import append_shared
from ledger.views.control import Control
from schemas.records.records import CONTROL_LOG, EndCause, ExperimentStopped
from state.decide.experiments import Finding
from state.forecast.arms import ArmFailed

log = logging.getLogger(__name__)

AUTHOR = "ridecast"  # it decides by itself
LONGEST_REASON = 300  # characters of an error in a record
# XGBoost begins with the time and the place in its source; Python names objects by their address.
VARYING = re.compile(r"\[\d\d:\d\d:\d\d\] \S+:\d+: |(?: at)? 0x[0-9a-f]+")


def stop_failed(ledger: Ledger, control: Control, slot: int, failed: ArmFailed) -> None:
    """Record the end of an experiment whose challenger failed at a slot.

    Args:
        control: In force when it failed.
    Raises:
        ArmFailed: the same again, if the experiment was not in force: ending it would not help.
    """
    started = failed.started
    place = started.region, started.measure
    if control.experiments.get(place) != started:
        raise failed
    reason = f"the challenger failed at slot {slot}: {one_line(failed.__cause__ or failed)}"
    stopped = ExperimentStopped(
        region=started.region,
        measure=started.measure,
        experiment=started.experiment,
        cause=EndCause.FAILED,
        finding=Finding.UNDECIDED,  # the losses until then are in the region's log
        blocks=0,
        change="",
        lower="",
        upper="",
        author=AUTHOR,
        reason=reason,
    )
    append_shared(ledger, CONTROL_LOG, stopped)
    log.error("region %s, %s: experiment %s is over; the champion serves every cell: %s", *place, started.experiment, reason)


def one_line(error: BaseException) -> str:
    """An error as the reason in a record, without what differs from run to run: times, places in memory, stacks of libraries.

    >>> one_line(ValueError("[00:37:04] /workspace/src/utils.h:20: Check failed: 90 vs. 91\\nStack trace:\\n  [bt] (0) lib.so [0x7fde]"))
    'ValueError: Check failed: 90 vs. 91'
    >>> one_line(TypeError("<Model object at 0x7f3a5c> has no length"))
    'TypeError: <Model object> has no length'
    """
    text = VARYING.sub("", " ".join(str(error).partition("Stack trace:")[0].split()))
    return f"{type(error).__name__}: {text}"[:LONGEST_REASON]
