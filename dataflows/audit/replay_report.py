"""What a replay found: slot by slot, and in sum."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from dataflows.audit.differences import Difference


class Verdict(StrEnum):
    """What became of one slot."""

    IDENTICAL = "identical"
    WITHIN = "within one unit"  # of 1/1000 ride, in every number that was served
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class SlotReplay:
    """One slot, computed again.

    Attributes:
        index: Of its `SlotClosed`.
        from_rides: Whether its counts came from the rides.
        whole: Whether features and forecasts were computed too, not counts alone.
        ours: Whether this very environment is the only one that may have written it, so that bytes must be equal.
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
        """Whether it may count as reproduced."""
        return self.verdict is Verdict.IDENTICAL or (self.verdict is Verdict.WITHIN and not self.ours)


@dataclass(slots=True)
class Replay:
    """What a replay found.

    Attributes:
        environment: Digest of the environment that replayed.
        recorded_in: Digests of those that may have written.
        notes: What was not recomputed, and why.
        folded_slots: Slots before the first one, which were folded to get there.
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
        """Whether every slot is reproduced, as far as its environment allows."""
        return all(slot.good for slot in self.slots)

    @property
    def verdicts(self) -> Counter[Verdict]:
        """How many slots came out how."""
        return Counter(slot.verdict for slot in self.slots)

    @property
    def first_bad(self) -> SlotReplay | None:
        """The first slot that is not reproduced."""
        return next((slot for slot in self.slots if not slot.good), None)
