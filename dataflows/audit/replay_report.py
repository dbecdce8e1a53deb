"""The result of a replay: slot by slot, and in total."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from dataflows.audit.differences import Difference


class Verdict(StrEnum):
    """The result of one slot."""

    IDENTICAL = "identical"
    WITHIN = "within one unit"  # of 1/1000 ride, in every served number
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class SlotReplay:
    """One recomputed slot.

    Attributes:
        index: Index of its `SlotClosed`.
        from_rides: Whether its counts were computed from the rides.
        whole: Whether features and forecasts were recomputed, not only counts.
        ours: Whether only this environment may have written it, so that bytes must be equal.
    """

    slot: int
    index: int
    verdict: Verdict
    from_rides: bool
    whole: bool
    ours: bool
    differences: tuple[Difference, ...] = ()

    @property
    def good(self) -> bool:
        """Whether the slot counts as reproduced."""
        return self.verdict is Verdict.IDENTICAL or (self.verdict is Verdict.WITHIN and not self.ours)


@dataclass(slots=True)
class Replay:
    """The result of a replay.

    Attributes:
        environment: Digest of the environment that replayed.
        recorded_in: Digests of the environments that may have written the slots.
        notes: What was not recomputed, and why.
        folded_slots: Number of slots before the first one that had to be folded.
    """

    region: str
    from_slot: int
    until_slot: int
    environment: bytes
    recorded_in: frozenset[bytes] = frozenset()
    slots: list[SlotReplay] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    folded_slots: int = 0
    fold_s: float = 0.0
    replay_s: float = 0.0

    @property
    def good(self) -> bool:
        """Whether every slot was reproduced, as far as its environment allows."""
        return all(slot.good for slot in self.slots)

    @property
    def verdicts(self) -> Counter[Verdict]:
        """Number of slots by verdict."""
        return Counter(slot.verdict for slot in self.slots)

    @property
    def first_bad(self) -> SlotReplay | None:
        """The first slot that was not reproduced; None if all were."""
        return next((slot for slot in self.slots if not slot.good), None)
