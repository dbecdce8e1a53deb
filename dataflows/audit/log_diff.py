"""Whether two logs are identical up to the shorter size, and otherwise the first entry and fields that differ.

Trees are compared by their roots at the same size, so that two logs of millions of entries take a few queries. The roots
are computed from stored hashes; `ledger verify` checks that these match the entries.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dataflows.audit.differences import field_differences
from ledger.store.log import Ledger, Stored
from schemas.errors import NotFound
from schemas.records.record_codec import decode
from schemas.records.records import CONTROL_LOG, Record, region_in

MOST_FIELDS = 10


@dataclass(frozen=True, slots=True)
class Parting:
    """The first entry at which two logs differ.

    Attributes:
        kinds: Kind of the entry in each log.
        fields: (field, value in the first, value in the second) of each field that differs; empty if the kinds differ.
    """

    index: int
    kinds: tuple[str, str]
    fields: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class LogDiff:
    """The comparison of two states of one log.

    Attributes:
        sizes, roots: Size and root of each.
        parting: First difference below the shorter size; None if one is a prefix of the other.
        more: Number of additional entries in the longer log by kind, if the other is a prefix of it.
    """

    log: str
    sizes: tuple[int, int]
    roots: tuple[bytes, bytes]
    parting: Parting | None
    more: Counter[str]

    @property
    def same(self) -> bool:
        """Whether they are identical up to the shorter size."""
        return self.parting is None


def diff_logs(first: Ledger, second: Ledger, log: str, sizes: tuple[int | None, int | None] = (None, None)) -> LogDiff:
    """Compare a log of two ledgers.

    Args:
        sizes: Size up to which to compare each; all of it if None.
    Raises:
        NotFound: a log is shorter than the given size.
        DamagedError: an entry does not match its stored hash.
    """
    ledgers = (first, second)
    heads = [ledger.head(log).size for ledger in ledgers]
    compared = [head if size is None else size for head, size in zip(heads, sizes, strict=True)]
    for head, size in zip(heads, compared, strict=True):
        if size > head:
            raise NotFound(f"{log}: expected a size up to {head}, got {size}")
    roots = tuple(ledger.root_at(log, size) for ledger, size in zip(ledgers, compared, strict=True))
    shorter = min(compared)
    index = _first_difference(first, second, log, shorter)
    parting = None if index is None else _parting_at(_entry(first, log, index), _entry(second, log, index))
    longer = ledgers[compared.index(max(compared))]
    more: Counter[str] = Counter()
    if parting is None:
        more.update(stored.kind for stored in longer.scan(log, shorter, max(compared)))
    return LogDiff(log, (compared[0], compared[1]), (roots[0], roots[1]), parting, more)


def logs_in_both(ledgers: Sequence[Ledger], names: Sequence[str] = ()) -> tuple[str, ...]:
    """The logs to compare: those named, or all of `region/*` and `control`, the only ones that can be identical.

    Raises:
        NotFound: a log is missing from one of the ledgers.
    """
    existing = [set(ledger.logs()) for ledger in ledgers]
    chosen = tuple(names) or tuple(sorted(name for name in set().union(*existing) if name == CONTROL_LOG or region_in(name) is not None))
    for number, there in enumerate(existing, 1):
        absent = [name for name in chosen if name not in there]
        if absent:
            raise NotFound(f"ledger {number}: expected the log {absent[0]}, found {', '.join(sorted(there)) or 'none'}")
    return chosen


def _first_difference(first: Ledger, second: Ledger, log: str, size: int) -> int | None:
    """Lowest index below a size at which the entries' hashes differ."""
    if first.root_at(log, size) == second.root_at(log, size):
        return None
    same, other = 0, size  # equal below `same`, different below `other`
    while other - same > 1:
        middle = (same + other) // 2
        if first.root_at(log, middle) == second.root_at(log, middle):
            same = middle
        else:
            other = middle
    return same


def _entry(ledger: Ledger, log: str, index: int) -> Stored[Record]:
    [stored] = ledger.read(log, index, index + 1)
    return stored


def _parting_at(first: Stored[Record], second: Stored[Record]) -> Parting:
    fields: tuple[tuple[str, str, str], ...] = ()
    if first.kind == second.kind:
        fields = tuple(field_differences(decode(first.payload), decode(second.payload)))[:MOST_FIELDS]
    return Parting(first.index, (first.kind, second.kind), fields)
