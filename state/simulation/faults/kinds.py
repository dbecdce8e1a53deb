"""What a fault is: a row of the table with its parameters, the scene that it happens in, and what it acts on.

A fault acts at one of three stages, in this order: on the demand that a day is planned with, on the reports of its
rides, or on the messages that carry them to the log. Whatever it leaves alone keeps its bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

import numpy as np

from schemas.errors import ContractError
from schemas.events.ride_columns import EventColumns
from schemas.events.rides import Bools, Float64s, Int64s, UInt64s
from schemas.regions import Region
from state.simulation.city import City, Day

T = TypeVar("T")
PRODUCERS = 16  # a ride is reported by the producer that the first digit of its id names
FOREVER_US = (1 << 62) - 1  # a fault without an end
_ID_BYTES = 32  # of an id that count for its chance; ids of a simulation are shorter


class Stage(StrEnum):
    """What a fault acts on, and so which time of an event its label speaks of."""

    DEMAND = "requested_at"  # the time at which the event's ride was requested
    REPORTS = "occurred_at"  # the time at which the event occurred
    MESSAGES = "logged_at"  # the time at which it would have been logged


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a kind of fault.

    Attributes:
        default: None if it need not be given; the text then says what happens without it.
        low, high: Bounds of a number, both allowed.
        whole: Only whole numbers.
        choices: The words that are allowed, for a parameter that is not a number.
        cell: It is a geohash of the region's precision.
    """

    name: str
    says: str
    default: float | str | None
    low: float = 0.0
    high: float = 0.0
    unit: str = ""
    whole: bool = False
    choices: tuple[str, ...] = ()
    cell: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """What a fault may know.

    Attributes:
        start_us, end_us: The simulation's first moment and its end, UTC.
        seed: Of the simulation.
        partitions: Of the log.
    """

    region: Region
    city: City
    seed: int
    start_us: int
    end_us: int
    rides_per_day: float
    partitions: int


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault with all its values.

    Attributes:
        values: By name of the parameter; None where none is given and none is needed.
        from_us, until_us: When it happens, UTC, [from, until).
        text: Its text in one form: equal faults have equal texts.
        salt: Makes its chances independent of those of other faults.
    """

    kind: "FaultKind"
    values: Mapping[str, float | str | None]
    from_us: int
    until_us: int
    text: str
    salt: int

    def number(self, name: str) -> float:
        """The value of a parameter that is a number."""
        value = self.values[name]
        if not isinstance(value, float):
            raise ContractError(f"fault {self.kind.name}: {name}: expected a number, got {value!r}")
        return value

    def maybe(self, name: str) -> int | None:
        """The value of a parameter that is a whole number, None if it is not given."""
        return None if self.values[name] is None else int(self.number(name))

    def word(self, name: str) -> str | None:
        """The value of a parameter that is a text."""
        value = self.values[name]
        return value if isinstance(value, str) else None

    def during(self, times_us: Int64s) -> Bools:
        """Which of some times are in [from, until)."""
        return np.asarray((times_us >= self.from_us) & (times_us < self.until_us), np.bool_)

    def elapsed_days(self, times_us: Int64s) -> Float64s:
        """Days since it began: float64[n]."""
        return np.asarray((times_us - self.from_us) / 86_400_000_000, np.float64)


@dataclass(frozen=True, slots=True)
class Concern:
    """What a label says of the place of a fault; None for all of the region.

    Attributes:
        cells: Codes of the cells whose demand changes, or in which events appear.
        partitions: In which events are missing, late or added.
        producers: Whose events are touched.
        until_us: The end of its effects, if that is not the fault's own.
    """

    cells: UInt64s | None = None
    partitions: tuple[int, ...] | None = None
    producers: tuple[int, ...] | None = None
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class Touched:
    """How many events a fault added, removed and changed."""

    added: int = 0
    removed: int = 0
    changed: int = 0

    def __add__(self, other: "Touched") -> "Touched":
        return Touched(self.added + other.added, self.removed + other.removed, self.changed + other.changed)


@dataclass(frozen=True, slots=True)
class Reports:
    """Events of one day as their producers report them.

    Attributes:
        columns: n events, ascending by `sent_at_us`.
        sent_at_us: int64[n], when each really occurred; `columns.occurred_at_us` is what its producer says.
        from_us, until_us: The day.
    """

    columns: EventColumns
    sent_at_us: Int64s
    from_us: int
    until_us: int


@dataclass(frozen=True, slots=True)
class Messages:
    """Encoded events on their way to the log, n rows in no order.

    Attributes:
        logged_at_us: int64[n], whole milliseconds.
        turns: int64[n], the order of equal times.
        ids: n event ids.
        keys, values: n byte strings.
        partitions: int64[n], where each is written.
        broken: bool[n], values that a fault has broken.
    """

    logged_at_us: Int64s
    turns: Int64s
    ids: list[str]
    keys: list[bytes]
    values: list[bytes]
    partitions: Int64s
    broken: Bools

    def __len__(self) -> int:
        return len(self.values)

    def where(self, rows: Bools) -> "Messages":
        """Some of the messages."""
        return Messages(
            self.logged_at_us[rows],
            self.turns[rows],
            chosen(self.ids, rows),
            chosen(self.keys, rows),
            chosen(self.values, rows),
            self.partitions[rows],
            self.broken[rows],
        )

    def followed_by(self, more: "Messages") -> "Messages":
        """Both."""
        return Messages(
            np.concatenate([self.logged_at_us, more.logged_at_us]),
            np.concatenate([self.turns, more.turns]),
            self.ids + more.ids,
            self.keys + more.keys,
            self.values + more.values,
            np.concatenate([self.partitions, more.partitions]),
            np.concatenate([self.broken, more.broken]),
        )

    def later(self, logged_at_us: Int64s) -> "Messages":
        """The same with other times."""
        return replace(self, logged_at_us=np.asarray(logged_at_us, np.int64))


DemandRule = Callable[[Scene, Fault, Day], Float64s]  # what is expected now, float64[slots, n]
ReportRule = Callable[[Scene, Fault, Reports], tuple[Reports, Touched]]
MessageRule = Callable[[Scene, Fault, Messages], tuple[Messages, Touched]]
Concerns = Callable[[Scene, Fault], Concern]


def everywhere(scene: Scene, fault: Fault) -> Concern:
    """All of the region."""
    return Concern()


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A row of the table.

    Attributes:
        name: As `--fault` takes it.
        says: What happens, in one sentence.
        labels: What its label names beside the time.
        hours: Its length where none is given; None for good.
        demand, reports, messages: What it does; exactly one of the three is given.
        concerns: What its label says of the place.
    """

    name: str
    says: str
    labels: str
    hours: float | None
    parameters: tuple[Parameter, ...] = ()
    demand: DemandRule | None = None
    reports: ReportRule | None = None
    messages: MessageRule | None = None
    concerns: Concerns = everywhere

    @property
    def stage(self) -> Stage:
        """What it acts on."""
        return Stage.DEMAND if self.demand else Stage.REPORTS if self.reports else Stage.MESSAGES


# --- chances and choices that several kinds need ---------------------------------------------------


def chances(ids: Sequence[str], salt: int) -> Float64s:
    """A number in [0, 1) for each id, the same in any batch and order: float64[n].

    >>> chances(["a", "b"], 1).round(3).tolist() == chances(["b", "a"], 1).round(3).tolist()[::-1]
    True
    """
    words = np.array(ids, dtype=f"S{_ID_BYTES}").view(np.uint64).reshape(len(ids), _ID_BYTES // 8)
    mixed = np.full(len(ids), salt, np.uint64)
    for column in range(words.shape[1]):
        mixed = spread(mixed ^ words[:, column])
    return unit(mixed)


def unit(words: UInt64s) -> Float64s:
    """The upper 53 bits of random words as a number in [0, 1)."""
    return np.asarray((words >> np.uint64(11)) * 2.0**-53, np.float64)


def spread(x: UInt64s) -> UInt64s:
    """Splitmix64: words that look random, different for different words.

    Source:
        G. Steele, D. Lea, C. Flood (2014), Fast splittable pseudorandom number generators, OOPSLA.
    """
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ x >> np.uint64(31), np.uint64)


def producers_of(ids: Sequence[str]) -> Int64s:
    """The producer of each event or ride: int64[n].

    >>> producers_of(["530d87dcad563b53-0", "f30d87dcad563b53"]).tolist()
    [5, 15]
    """
    digits = np.array(ids, dtype="S1").view(np.uint8).astype(np.int64)
    return np.where(digits >= ord("a"), digits - ord("a") + 10, digits - ord("0"))


def named_producers(fault: Fault) -> tuple[int, ...] | None:
    """The producers that a fault is about, None for all."""
    first = fault.maybe("producer")
    if first is None:
        return None
    return tuple(sorted((first + step) % PRODUCERS for step in range(int(fault.number("producers")))))


def of_producers(ids: Sequence[str], fault: Fault) -> Bools:
    """Which events are of a producer that the fault is about: bool[n]."""
    named = named_producers(fault)
    return np.ones(len(ids), np.bool_) if named is None else np.isin(producers_of(ids), named)


def chosen(items: Sequence[T], rows: Bools) -> list[T]:
    """Some items of a list."""
    return [items[row] for row in np.flatnonzero(rows).tolist()]


SHARE = Parameter("share", "share of the events that it touches", 0.2, 0.0001, 1.0)
PRODUCER = Parameter("producer", "first producer that it touches; all, if not given", None, 0, PRODUCERS - 1, whole=True)
PRODUCER_COUNT = Parameter("producers", "number of producers that it touches, counted from `producer`", 1.0, 1, PRODUCERS, whole=True)
CELL = Parameter("cell", "geohash of a cell; the cell of the city's first hub, if not given", None, cell=True)
