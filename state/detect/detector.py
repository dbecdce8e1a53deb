"""What a detector is: a fold over the closed slots of one region that says what becomes unusual, and what no longer is.

The detectors here gather evidence as a cumulative sum of log likelihood ratios, "as it is now" against "as it usually is", which
never falls below 0, and fire while it is above their threshold. Neither the sums nor what is usual depend on the threshold, so
a higher one fires at some of the same slots and never at others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from schemas.forecasts.watched import WatchedSlot
from schemas.records.records import region_log
from schemas.regions import Region
from state.detect.signals import Severity, Signal

Arrays = dict[str, npt.NDArray[Any]]
# Log likelihood, nats: no sum grows beyond it, so that what lasted long does not take long to end.
MOST_EVIDENCE = 40.0


@dataclass(frozen=True, slots=True)
class Threshold:
    """Evidence above which a detector fires.

    Attributes:
        value: Of every subject, in nats or in the detector's own unit.
        of_cells: Code of a cell -> its own threshold; only a detector whose subjects are cells looks at it.
    """

    value: float
    of_cells: Mapping[int, float] = field(default_factory=dict)


class Detector(Protocol):
    """One detector of one region."""

    def see(self, watched: WatchedSlot) -> list[Signal]:
        """Take the next closed slot; returns the signals that begin, change or end with it."""

    def use(self, threshold: Threshold) -> None:
        """From the next slot on, fire above this threshold."""

    def arrays(self) -> Arrays:
        """All of its state."""

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the state that `arrays` returned."""


@dataclass(frozen=True, slots=True)
class Said:
    """What all signals of a detector have in common."""

    source: str
    kind: str
    severity: Severity
    unit: str


@dataclass(slots=True)
class Evidence:
    """The sums of the subjects of a detector, each with its start and whether it fires.

    Attributes:
        threshold: Nats, above which a subject fires.
        sums: Subject's number -> [sum, slot since which it is above 0, 1 while it fires]; only sums above 0.
    """

    threshold: float
    sums: dict[int, list[float]] = field(default_factory=dict)

    def add(self, subject: int, nats: float, slot: int) -> bool | None:
        """Add a slot's log likelihood ratio; returns True if the subject begins to fire, False if it ends, else None."""
        total, since, fired = self.sums.get(subject, [0.0, float(slot), 0.0])
        total = min(max(total + nats, 0.0), MOST_EVIDENCE)
        fires = total > self.threshold
        self.sums[subject] = [total, since, float(fires)]
        if total == 0.0:
            del self.sums[subject]
        return None if fires == bool(fired) else fires

    def since(self, subject: int, slot: int) -> int:
        """Slot since which a subject's sum is above 0."""
        return int(self.sums[subject][1]) if subject in self.sums else slot

    def arrays(self) -> Arrays:
        """Its state."""
        return {"subjects": np.array(list(self.sums), np.int64), "sums": np.array(list(self.sums.values()), np.float64).reshape(-1, 3)}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a state."""
        self.sums = dict(zip(arrays["subjects"].tolist(), arrays["sums"].tolist(), strict=True))


def signal_of(
    said: Said,
    region: Region,
    watched: WatchedSlot,
    subject: str,
    *,
    firing: bool,
    since: int,
    value: float,
    threshold: float,
    message: str,
    cells: tuple[str, ...] = (),
) -> Signal:
    """A signal about a slot, with the slot's entry as its evidence."""
    return Signal(
        source=said.source,
        kind=said.kind,
        region=region.id,
        subject=subject,
        slot=watched.slot,
        since_slot=min(since, watched.slot),
        seen_at_us=(watched.slot + 1) * region.slot_us,
        severity=said.severity,
        firing=firing,
        value=value,
        threshold=threshold,
        unit=said.unit,
        message=message,
        cells=cells,
        evidence=(region_log(region.id), watched.index, watched.index),
    )
