"""Counts in a dictionary, local time by the clock on the wall: what the plain references of features and models stand on."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.regions import Region

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MEMORY_DAYS = 29  # of counts that are remembered
UNIVERSE_DAYS = 28


class PlainCounts:
    """Rides by (slot, cell) of the slots that were closed, and which of them were observed."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.day = 24 * 60 // region.slot_min
        self.rides: dict[tuple[int, int], int] = {}
        self.everywhere: dict[int, int] = {}  # rides of the whole region by slot
        self.latest: dict[int, int] = {}  # cell -> its last slot with a ride
        self.observed: set[int] = set()
        self.first = self.next = -1

    def close(self, slot: int, counts: dict[int, int], *, observed: bool = True) -> None:
        """Add the next slot: cell -> rides."""
        if self.first < 0:
            self.first = slot
        self.next = slot + 1
        if observed:
            self.observed.add(slot)
        for cell, rides in counts.items():
            self.late(slot, cell, rides)

    def late(self, slot: int, cell: int, rides: int) -> None:
        """Add rides to a closed slot."""
        self.rides[slot, cell] = self.rides.get((slot, cell), 0) + rides
        self.everywhere[slot] = self.everywhere.get(slot, 0) + rides
        self.latest[cell] = max(self.latest.get(cell, slot), slot)

    def known(self, low: int, high: int) -> range:
        """The slots of [low, high) that are closed and not forgotten."""
        return range(max(low, self.first, self.next - MEMORY_DAYS * self.day), min(high, self.next))

    def seen(self, low: int, high: int) -> int:
        """How many slots of [low, high) are known and were observed."""
        return sum(1 for slot in self.known(low, high) if slot in self.observed)

    def all_seen(self, low: int, high: int) -> bool:
        """Whether every slot of [low, high) is known and was observed."""
        return self.seen(low, high) == high - low

    def total(self, cells: Iterable[int], low: int, high: int) -> int:
        """Rides of some cells in the known slots of [low, high)."""
        return sum(self.rides.get((slot, cell), 0) for cell in cells for slot in self.known(low, high))

    def city(self, low: int, high: int) -> int:
        """Rides of the whole region in the known slots of [low, high)."""
        return sum(self.everywhere.get(slot, 0) for slot in self.known(low, high))

    def cells(self) -> list[int]:
        """Every cell that ever had a ride, in order of its code."""
        return sorted(self.latest)

    def universe(self, slot: int) -> list[int]:
        """Cells with a ride in the 28 days that end with a slot, which is the newest."""
        return sorted(cell for cell, latest in self.latest.items() if slot - UNIVERSE_DAYS * self.day < latest <= slot)

    def around(self, cell: int) -> list[int]:
        """The cells with rides that touch a cell at a side or a corner."""
        x, y = column_and_row(cell, self.region.cell_bits)
        places = [(other, *column_and_row(other, self.region.cell_bits)) for other in self.cells()]
        return [other for other, i, j in places if abs(i - x) <= 1 and abs(j - y) <= 1 and other != cell]

    def siblings(self, cell: int) -> list[int]:
        """The cells with rides in the same parent cell, itself included: a parent is a geohash one letter shorter."""
        return [other for other in self.cells() if other // 32 == cell // 32]


def column_and_row(cell: int, bits: int) -> tuple[int, int]:
    """Where a cell lies: the bits of a geohash belong to longitude and latitude in turn, the first to longitude."""
    text = f"{cell:0{bits}b}"
    return int(text[0::2], 2), int(text[1::2], 2)


class PlainClock:
    """A region's clock on the wall."""

    def __init__(self, region: Region) -> None:
        self.slot_min = region.slot_min
        self.zone = ZoneInfo(region.timezone)
        self.holidays = set(region.holidays)

    def wall(self, slot: int) -> datetime:
        """The local time at which a slot starts, without its zone."""
        return (EPOCH + timedelta(minutes=slot * self.slot_min)).astimezone(self.zone).replace(tzinfo=None)

    def slots_at(self, wall: datetime) -> list[int]:
        """The slots that start at a local time: none in the hour that is skipped, two in the hour that comes twice."""
        found = set()
        for fold in (0, 1):
            minutes = (wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) - EPOCH) // timedelta(minutes=1)
            if minutes % self.slot_min == 0 and self.wall(minutes // self.slot_min) == wall:
                found.add(minutes // self.slot_min)
        return sorted(found)

    def days_before(self, slot: int, days: int) -> int:
        """The slot at the same local time so many local days before.

        Where two slots start at that time, it is the one whose clock stands as it does so many times 24 hours before;
        where none does, it is that slot itself.
        """
        naive = slot - days * (24 * 60 // self.slot_min)
        found = self.slots_at(self.wall(slot) - timedelta(days=days))
        if not found:
            return naive
        return min(found, key=lambda other: abs(self._offset(other) - self._offset(naive)))

    def _offset(self, slot: int) -> timedelta:
        return (EPOCH + timedelta(minutes=slot * self.slot_min)).astimezone(self.zone).utcoffset() or timedelta(0)

    def slot_of_day(self, slot: int) -> int:
        """Slots since local midnight, by the clock."""
        wall = self.wall(slot)
        return (60 * wall.hour + wall.minute) // self.slot_min

    def weekday(self, slot: int) -> int:
        """0 = Monday."""
        return self.wall(slot).weekday()

    def holiday(self, slot: int, days_ahead: int = 0) -> bool:
        """Whether the local date, or one so many days later, is a holiday."""
        return (self.wall(slot) + timedelta(days=days_ahead)).date().isoformat() in self.holidays

    def free(self, slot: int) -> bool:
        """Whether it is a Saturday, a Sunday or a holiday."""
        return self.weekday(slot) >= 5 or self.holiday(slot)
