"""What detectors see of one closed slot: what arrived, what was counted, and what had been forecast for it."""

from dataclasses import dataclass, field

from schemas.events.rides import Float64s, Int64s, UInt64s


@dataclass(frozen=True, slots=True)
class Arrived:
    """Events that arrived for one slot, of a partition or of all of them.

    received = accepted + duplicate + sum(rejected.values()).
    """

    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: "Arrived") -> "Arrived":
        """The events of both.

        >>> (Arrived(3, 2, 0, {"bad_id": 1}) + Arrived(1, 0, 0, {"bad_id": 1})).rejected
        {'bad_id': 2}
        """
        reasons = sorted({*self.rejected, *other.rejected})
        rejected = {reason: self.rejected.get(reason, 0) + other.rejected.get(reason, 0) for reason in reasons}
        return Arrived(self.received + other.received, self.accepted + other.accepted, self.duplicate + other.duplicate, rejected)


@dataclass(frozen=True, slots=True)
class WatchedSlot:
    """One closed slot of one region and measure, from the records of its log alone.

    Attributes:
        slot: Its start, in slots since the epoch.
        index: Of its `SlotClosed` in the log.
        observed: False if its status says that its counts are less than the demand, or unknown.
        partitions: What arrived per partition, ascending; what was between the cuts of the last slot and of this one.
        cells: uint64[n], strictly ascending: cells with a forecast, and others that had a ride.
        counts: int64[n], rides as counted at the cut, before late ones.
        means: float64[n], rides forecast for this slot at the cut before it; 0 without a forecast.
        dispersion: float64[n], variance = mean + dispersion x mean^2.
        forecast: Whether there was a forecast for this slot.
        late: Rides of earlier slots that were counted with this one.
        control: Size and root of the control log that its close cites.
    """

    slot: int
    index: int
    observed: bool
    partitions: dict[int, Arrived]
    cells: UInt64s
    counts: Int64s
    means: Float64s
    dispersion: Float64s
    forecast: bool
    late: int = 0
    control: tuple[int, bytes] = (0, b"")

    @property
    def arrived(self) -> Arrived:
        """What arrived in all partitions."""
        return sum(self.partitions.values(), Arrived())

    @property
    def expected(self) -> float:
        """Rides that were forecast for all cells; 0 without a forecast."""
        return float(self.means.sum())
