"""The online store in Redis, compared with the newest issues of the ledger by digests of ranges of chunks, and repaired field by field.

Another issue than the newest is one difference, and is replaced as a whole. Of the newest issue, each field that differs is one.
What is held under a name that this ledger has no region for is of another home, and is left alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ledger.views.online.redis import fields_of
from ledger.views.reconcile.chunk_words import cells_in, words_of
from ledger.views.reconcile.differences import Compared, Difference, PlaceName, Reason
from ledger.views.reconcile.issues import ExpectedIssue, LedgerIssues
from ledger.views.reconcile.redis_hash import CHUNKS_PER_RANGE, PLAIN, Look, RedisHashes, Write, digest_of
from schemas.forecasts.chunks import chunks_in
from schemas.regions import Region

TRIES = 5  # looks at a key that a publisher may overtake
NOTHING = "nothing"
NUMBER_SHOWN = 20  # characters


@dataclass(frozen=True, slots=True)
class _Repair:
    """How one key is repaired: by the differences' keys, what to do about them if it is as it was seen."""

    seen: str
    writes: dict[str, Write] = field(default_factory=dict)
    persist: str = ""  # the difference that says that it expires
    replace: str = ""  # the difference that concerns all of it
    issue: ExpectedIssue | None = None  # by which it is replaced; None removes it

    def of(self, chosen: frozenset[str]) -> bool:
        return not chosen.isdisjoint((*self.writes, self.persist, self.replace))


class OnlinePlace:
    """The hashes of some regions in Redis.

    Args:
        issues: Of the ledger.
        hashes: Of the instance.
        regions: Those to compare.
        known: Names of all regions of the ledger.
        on_step: Called with how many of how many keys are compared.
    """

    name = PlaceName.ONLINE

    def __init__(
        self,
        issues: LedgerIssues,
        hashes: RedisHashes,
        regions: Sequence[Region],
        known: Sequence[str],
        on_step: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._issues, self._hashes, self._regions, self._known, self._on_step = issues, hashes, regions, frozenset(known), on_step
        self._repairs: dict[str, _Repair] = {}

    def compare(self) -> Compared:
        self._repairs = {}
        places = [(region, measure) for region in self._regions for measure in region.measures]
        differences: list[Difference] = []
        checked = ranges = listed = 0
        for done, (region, measure) in enumerate(places):
            one = self._compare(region, measure)
            differences += one.differences
            checked, ranges, listed = checked + one.checked, ranges + one.ranges, listed + one.listed
            self._on_step(done + 1, len(places))
        strays, notes = self._strays({f"{region.id}:{measure}" for region, measure in places})
        return Compared((*differences, *strays), checked, ranges, listed, notes)

    def repair(self, found: Sequence[Difference]) -> None:
        chosen = frozenset(one.key for one in found)
        for key, repair in self._repairs.items():
            if repair.replace in chosen:
                fields = fields_of(repair.issue.issue) if repair.issue is not None else {}
                self._hashes.replace(key, repair.seen, [word for pair in fields.items() for word in pair])
            elif repair.of(chosen):
                writes = [write for name, write in repair.writes.items() if name in chosen]
                self._hashes.mend(key, repair.seen, writes, persist=repair.persist in chosen)

    def _compare(self, region: Region, measure: str) -> Compared:
        """One key; it is read again when a newer issue came in between."""
        key = f"{region.id}:{measure}"
        for _ in range(TRIES):
            newest = self._issues.newest(region, measure)
            if newest is None:
                return Compared(self._removed(region.id, key, "nothing before the first issue"), 1, 1)
            one = self._against(region, key, newest)
            if one is not None:
                return one
        return Compared()  # it grew each time: a publisher is writing it

    def _against(self, region: Region, key: str, newest: ExpectedIssue) -> Compared | None:
        """A key against an issue; None if it holds a newer one of this ledger."""
        chunks = chunks_in(newest.issue.blob) if newest.issue.blob else []
        look = self._hashes.look(key, len(chunks))
        if look.kind == "none":
            return self._replaced(region, key, newest, look, Reason.MISSING, NOTHING)
        if look.kind != "hash":
            return self._replaced(region, key, newest, look, Reason.DAMAGED, f"a {look.kind} instead of a hash")
        if look.plain[PLAIN.index("entry")] != digest_of(newest.issue.entry):
            [entry] = self._hashes.values(key, ("entry",))
            reason = self._issues.reason_of(region, newest, look.number, look.at, entry or b"")
            if reason is None:
                return None
            if reason is not Reason.DAMAGED:
                of_origin = f" of origin {_shown(look.number)}" if look.number != b"%d" % newest.issue.number else ""
                return self._replaced(region, key, newest, look, reason, f"entry {_shown(look.at)}{of_origin}")
        return self._fields(region, key, newest, look, chunks)

    def _fields(self, region: Region, key: str, newest: ExpectedIssue, look: Look, chunks: Sequence[bytes]) -> Compared:
        """Each field of the newest issue that differs."""
        fields = fields_of(newest.issue)
        found: list[Difference] = []
        writes: dict[str, Write] = {}

        def differs(part: str, write: Write, reason: Reason, expected: str, got: str, cells: tuple[str, ...] = ()) -> None:
            found.append(Difference(self.name, region.id, f"{key} {part}", reason, expected, got, cells))
            writes[found[-1].key] = write

        for name, digest in zip(PLAIN, look.plain, strict=True):
            if digest != digest_of(fields[name]):
                [got] = self._hashes.values(key, (name,))
                differs(name, Write(name, digest, fields[name]), *_plain_words(name, fields[name], got))
        missing = sum(digest == digest_of(None) for digest in look.plain)
        starts = range(0, len(chunks), CHUNKS_PER_RANGE)
        places = [at for at, digest in zip(starts, look.ranges, strict=True) if digest != digest_of(*chunks[at : at + CHUNKS_PER_RANGE])]
        for at in places:
            names = [str(number) for number in range(at, min(at + CHUNKS_PER_RANGE, len(chunks)))]
            for name, got in zip(names, self._hashes.values(key, names), strict=True):
                missing += got is None
                if got != fields[name]:
                    words = words_of(fields[name], got, newest.record.horizons_min, region.precision)
                    differs(f"chunk {name}", Write(name, digest_of(got), fields[name]), *words)
        if look.fields != len(fields) - missing:
            for name in self._hashes.others(key, frozenset(fields)):
                [got] = self._hashes.values(key, (name,))
                cells = cells_in(got, newest.record.horizons_min, region.precision)
                differs(
                    f"field {_printable(name)}",
                    Write(name, digest_of(got), None),
                    Reason.ADDED,
                    f"{len(chunks)} chunks",
                    _sized(got),
                    cells,
                )
        persist = ""
        if look.ttl_ms >= 0:
            persist = f"{key} ttl"
            found.append(Difference(self.name, region.id, persist, Reason.EXPIRES, "no time to live", "one"))
        self._repairs[key] = _Repair(look.seen, writes, persist)
        return Compared(tuple(found), newest.record.cells, len(starts) + 1, len(places))

    def _replaced(self, region: Region, key: str, newest: ExpectedIssue, look: Look, reason: Reason, got: str) -> Compared:
        self._repairs[key] = _Repair(look.seen, replace=key, issue=newest)
        found = Difference(self.name, region.id, key, reason, f"entry {newest.issue.index}", got)
        return Compared((found,), newest.record.cells, 1, 1)

    def _removed(self, region: str, key: str, expected: str) -> tuple[Difference, ...]:
        """A key that should not be there."""
        look = self._hashes.look(key, 0)
        if look.kind == "none":
            return ()
        shown = _printable(key)
        self._repairs[key] = _Repair(look.seen, replace=shown)
        return (Difference(self.name, region, shown, Reason.ADDED, expected, f"a {look.kind}"),)

    def _strays(self, compared: set[str]) -> tuple[list[Difference], tuple[str, ...]]:
        """Keys that no measure of a region has."""
        differences: list[Difference] = []
        foreign: set[str] = set()
        wanted = {region.id for region in self._regions}
        for key in sorted(set(self._hashes.keys()) - compared):
            region = key.partition(":")[0]
            if region not in self._known:
                foreign.add(key)
            elif region in wanted:
                differences += self._removed(region, key, "no measure of this name")
        if not foreign:
            return differences, ()
        return differences, (
            f"{len(foreign)} keys of regions that this ledger does not have, {_printable(min(foreign))} first: left alone",
        )


def _plain_words(name: str, expected: bytes, got: bytes | None) -> tuple[Reason, str, str]:
    """How a field that is no chunk differs."""
    if name in PLAIN[:2]:
        reason = Reason.MISSING if got is None else Reason.CHANGED if got.isdigit() else Reason.DAMAGED
        return reason, _shown(expected), _shown(got or b"")
    return Reason.MISSING if got is None else Reason.DAMAGED, _sized(expected), _sized(got)


def _shown(number: bytes) -> str:
    """A number as it is stored, which may be anything."""
    return number.decode("ascii", "backslashreplace")[:NUMBER_SHOWN] or NOTHING


def _sized(value: bytes | None) -> str:
    return NOTHING if value is None else f"{len(value)} bytes {digest_of(value)[:12]}"


def _printable(name: str) -> str:
    """A name that others may have chosen, in one line."""
    return name.encode("unicode_escape").decode("ascii")
