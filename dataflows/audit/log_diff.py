"""Whether two logs say the same: as far as the shorter one reaches, and if not, where they part and over what.

Trees are compared by their roots at the same size, so that two logs of millions of entries take a few questions; the
roots are made of stored hashes, and that these belong to the entries is what `ledger verify` answers.
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
        kinds: Of the entry in each.
        fields: (field, in the first, in the second) of what their records say differently; empty if they are of two kinds.
    """

    index: int
    kinds: tuple[str, str]
    fields: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class LogDiff:
    """Two states of one log.

    Attributes:
        sizes, roots: Of each.
        parting: Where they differ below the shorter size; None if one continues the other.
        more: Kinds of what only the longer one has, when one continues the other.
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
        sizes: How much of each to look at; all of it where None.
    Raises:
        NotFound: a ledger's log is shorter than that.
        DamagedError: an entry does not hash to what was promised.
    """
    ledgers = (first, second)
    heads = [ledger.head(log).size for ledger in ledgers]
    wanted = [head if size is None else size for head, size in zip(heads, sizes, strict=True)]
    for head, size in zip(heads, wanted, strict=True):
        if size > head:
            raise NotFound(f"{log}: expected a size up to {head}, got {size}")
    roots = tuple(ledger.root_at(log, size) for ledger, size in zip(ledgers, wanted, strict=True))
    shorter = min(wanted)
    index = _first_other(first, second, log, shorter)
    parting = None if index is None else _parting(_entry(first, log, index), _entry(second, log, index))
    longer = ledgers[wanted.index(max(wanted))]
    more: Counter[str] = Counter()
    if parting is None:
        more.update(stored.kind for stored in longer.scan(log, shorter, max(wanted)))
    return LogDiff(log, (wanted[0], wanted[1]), (roots[0], roots[1]), parting, more)


def logs_in_both(ledgers: Sequence[Ledger], names: Sequence[str] = ()) -> tuple[str, ...]:
    """The logs to compare: those named, or every log of `region/*` and `control`, which alone can be identical.

    Raises:
        NotFound: a log is not in each of them.
    """
    held = [set(ledger.logs()) for ledger in ledgers]
    wanted = tuple(names) or tuple(sorted(name for name in set().union(*held) if name == CONTROL_LOG or region_in(name) is not None))
    for number, there in enumerate(held, 1):
        absent = [name for name in wanted if name not in there]
        if absent:
            raise NotFound(f"ledger {number}: expected the log {absent[0]}, found {', '.join(sorted(there)) or 'none'}")
    return wanted


def _first_other(first: Ledger, second: Ledger, log: str, size: int) -> int | None:
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


def _parting(first: Stored[Record], second: Stored[Record]) -> Parting:
    fields: tuple[tuple[str, str, str], ...] = ()
    if first.kind == second.kind:
        fields = tuple(field_differences(decode(first.payload), decode(second.payload)))[:MOST_FIELDS]
    return Parting(first.index, (first.kind, second.kind), fields)
