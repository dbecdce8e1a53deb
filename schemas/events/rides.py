"""Received ride events: raw bytes, columns, and the reasons why an event is not counted."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]
UInt8s = npt.NDArray[np.uint8]
Int16s = npt.NDArray[np.int16]
Float64s = npt.NDArray[np.float64]
Float32s = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

OTHER_REGION, NO_REGION = -1, -2  # in `RideBatch.region`: the id of a region that is not counted; not an id
NO_TIME = -1  # the message has no time of its own; times before 1970 are never valid here


class Reason(StrEnum):
    """Why a received event was rejected; the value is the rule's id in records and metrics."""

    UNDECODABLE = "undecodable"  # not an event of any known schema
    UNKNOWN_REGION = "unknown_region"  # not the id of any region; by the rules of older logs, of any region that is not counted
    OUTSIDE_REGION = "outside_region"  # coordinates outside the region's polygon, or not numbers
    TIME_OUT_OF_BOUNDS = "time_out_of_bounds"  # occurred_at outside 2000 to 2100
    AHEAD_OF_LOG = "ahead_of_log"  # occurred_at more than skew_s after logged_at
    BAD_ID = "bad_id"  # empty or longer than 64 bytes
    BAD_FARE = "bad_fare"  # negative or not a number


class Uncounted(StrEnum):
    """Why an accepted event is not counted in any slot of a region."""

    OTHER_KIND = "other_kind"  # no measure of the region counts this kind of event
    NO_END = "no_end"  # it counts where a trip ends, and the event says no place inside the region
    OTHER_REGION = "other_region"  # a region that this run does not count, or another one that it does
    BEFORE_START = "before_start"  # the bootstrap already contains its slot
    TOO_FAR_AHEAD = "too_far_ahead"  # its slot is further ahead of the first open slot than the bound `hold_s`


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Events of one partition as stored in the log.

    Attributes:
        partition: Number of the partition.
        offsets: int64[n], ascending; need not be contiguous.
        logged_at_us: int64[n], the log's time of each event, or NO_TIME (then the event's own field is used).
        values: n byte strings.
        by_broker: bool[n], events whose log time is the broker's clock and not the producer's; None for none.
    """

    partition: int
    offsets: Int64s
    logged_at_us: Int64s
    values: list[bytes]
    by_broker: Bools | None = None

    def __len__(self) -> int:
        return len(self.values)

    def part(self, rows: slice) -> "RawBatch":
        """Some of the events."""
        by_broker = None if self.by_broker is None else self.by_broker[rows]
        return RawBatch(self.partition, self.offsets[rows], self.logged_at_us[rows], self.values[rows], by_broker)


@dataclass(frozen=True, slots=True)
class RideBatch:
    """Decoded events of one partition, with the columns needed for counting; n rows, ascending offsets.

    Attributes:
        partition: Number of the partition.
        offset: int64[n].
        event_hash: uint64[n], a hash of event_id, for deduplication.
        kind: uint8[n], index into `schemas.events.measures.KINDS`.
        occurred_at_us: int64[n], UTC.
        logged_at_us: int64[n], UTC.
        region: int16[n], index into the regions given to the decoder, OTHER_REGION or NO_REGION.
        lat, lon: float64[n], degrees, as received (may be NaN or invalid).
        bad_id, bad_fare: bool[n], broken rules on columns that are not kept.
        by_broker: bool[n], events whose log time is the broker's clock and not the producer's; None for none.
        end_lat, end_lon: float64[n], degrees, where the trip ended, as received; NaN where the event does not say; None for nowhere.
    """

    partition: int
    offset: Int64s
    event_hash: UInt64s
    kind: UInt8s
    occurred_at_us: Int64s
    logged_at_us: Int64s
    region: Int16s
    lat: Float64s
    lon: Float64s
    bad_id: Bools
    bad_fare: Bools
    by_broker: Bools | None = None
    end_lat: Float64s | None = None
    end_lon: Float64s | None = None

    def __len__(self) -> int:
        return len(self.offset)


def no_rides(partition: int) -> RideBatch:
    """An empty batch.

    >>> len(no_rides(0))
    0
    """
    longs, flags, floats = np.empty(0, np.int64), np.empty(0, np.bool_), np.empty(0, np.float64)
    kinds, regions = np.empty(0, np.uint8), np.empty(0, np.int16)
    return RideBatch(partition, longs, np.empty(0, np.uint64), kinds, longs, longs, regions, floats, floats, flags, flags)


@dataclass(frozen=True, slots=True)
class Rejected:
    """One rejected event: its position, the reason and the original bytes.

    Attributes:
        source: Which ride log its partition and offset are of, as JSON: a topic that is created again has the same offsets
            again. Empty if it is not known, as in events that earlier releases stored.
    """

    partition: int
    offset: int
    logged_at_us: int
    reason: Reason
    value: bytes
    detail: str = ""
    source: str = ""
