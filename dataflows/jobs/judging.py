"""Puts together what the gates judge: the paired losses of a shadow, its artefact, the time of a close, and fairness."""

from collections.abc import Callable

from dataflows.jobs.shadowing import Running
from dataflows.stream.stores import Stores
from schemas.records.records import GateResult
from schemas.regions import Region
from state.decide.promotion import Trial
from state.detect.fairness_gate import NAME


def trial_of(stores: Stores, region: Region, running: Running, until_slot: int, clock: Callable[[], float] | None) -> Trial:
    """A shadow as the gates see it.

    Args:
        until_slot: First slot that is not over yet.
        clock: Monotonic seconds, to measure what a close takes; None leaves it out.
    Raises:
        NotFound, DamagedError: an artefact is missing or damaged.
    """
    blobs, close_ms = stores.blobs, None
    artefact = blobs.get(running.model)
    if clock is not None and running.against:
        champion = running.shadow.issue_ms(blobs.get(running.against), clock)
        close_ms = (champion, running.shadow.issue_ms(artefact, clock))
    return Trial(losses={region.id: running.shadow.losses}, until_slot=until_slot, size_bytes=len(artefact), close_ms=close_ms)


def fairness_of(running: Running, areas_fault: str) -> tuple[GateResult, ...]:
    """What the gate of fairness says of a challenger; nothing for a region without areas.

    Args:
        areas_fault: Why the region's areas cannot be used; empty if they can, or if there are none.
    """
    if running.shadow.fairness is not None:
        return (running.shadow.fairness.verdict(),)
    said = f"not judged: {areas_fault}"
    return (GateResult(gate=NAME, passed=False, value="", bound="", sentence=said),) if areas_fault else ()
