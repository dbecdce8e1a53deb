"""The whole pipeline in one process, without Bytewax: for tests, bootstrap and backtest, and if Bytewax must be replaced.

Calls the same pumps and region runs as `dataflows.stream.forecast` in a plain loop. Partitions advance
evenly: none is read more than `align_slots` ahead of the slowest.
"""

from collections.abc import Callable, Sequence

from dataflows.stream.pump import PartitionPump
from dataflows.stream.region_run import RegionRun, SlotReport
from dataflows.stream.stopping import StopEvent
from ledger.views.follow import Stop


def run_local(
    pumps: Sequence[PartitionPump],
    runs: Sequence[RegionRun],
    *,
    on_slot: Callable[[SlotReport], None] | None = None,
    stop: Stop | None = None,
) -> None:
    """Pump until every partition has ended, or until `stop` is set.

    Args:
        pumps: One per partition of the source.
        runs: One per region.
        on_slot: Called after each recorded slot.
        stop: Checked between batches; without it the run goes to the end.
    """
    stop = stop or StopEvent()
    by_region: dict[str, RegionRun] = {run.region.id: run for run in runs}
    while not stop.is_set():
        left = [pump for pump in pumps if not pump.ended]
        if not left:
            break
        # The partition whose events are oldest goes first, so that open slots stay few.
        pump = min(left, key=lambda p: (p.idle, p.largest_us, p.partition))
        for partial in pump.step():
            for report in by_region[partial.region].absorb(partial):
                if on_slot is not None:
                    on_slot(report)
    for run in runs:
        run.save()
