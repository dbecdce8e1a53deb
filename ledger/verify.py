"""Whether a log still is what it was: every hash, root and index derived again from the stored bytes.

Reads the database as it lies there and trusts none of its columns. What no outside copy vouches for, the entries
behind the checkpoint file, is only checked against itself; a kept checkpoint of somebody else comes later.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Row

from ledger import statements
from ledger.blobs import Blobs
from ledger.checkpoint import Checkpoint
from ledger.log import Ledger
from ledger.merkle import Frontier, leaf_hash, root
from ledger.tables import reading
from schemas.chunks import unpack_blob
from schemas.errors import BootRefused, DamagedError, NotFound, RidecastError
from schemas.record_codec import decode, place_in
from schemas.records import ForecastIssued, ModelPromoted, ModelTrained, Record, RegionBootstrapped, SlotClosed, SnapshotTaken

PAGE_ENTRIES = 1_000
MOST_DATABASE_PROBLEMS = 20  # of SQLite's own check; one cause often has many

Progress = Callable[[int, int], None]  # (entries done, entries in all)
RawRow = Row[int, str, int | None, str, bytes, bytes]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: at an index of the log, or with the log as a whole (None)."""

    index: int | None
    what: str

    def __str__(self) -> str:
        return self.what if self.index is None else f"entry {self.index}: {self.what}"


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked, and what was wrong; clean when there are no problems.

    Attributes:
        log: Name of the log.
        entries: How many entries were hashed again.
        root: Root over them, in hexadecimal.
        checkpoint_size: Size up to which the checkpoint file vouches; None without one.
        blobs: How many blobs were hashed again.
        problems: In the order of the log.
    """

    log: str
    entries: int
    root: str
    checkpoint_size: int | None
    blobs: int
    problems: tuple[Problem, ...]


def verify_log(ledger: Ledger, log: str, blobs: Blobs | None = None, on_progress: Progress | None = None) -> Report:
    """Derive a log again from its stored bytes.

    Args:
        ledger: Where the log is; it may grow meanwhile, which is not looked at.
        log: Name of the log.
        blobs: Where the blobs are that its entries name; not checked without it.
        on_progress: Called with (done, total) entries, about once per thousand.
    Raises:
        NotFound: there is no such log.
        StoreUnavailable: the database does not answer, so nothing can be said.
    """
    check = _Check(ledger, log, blobs)
    try:
        check.run(on_progress or (lambda done, total: None))
    except DamagedError as damage:
        check.say(None, str(damage))
    return check.report()


class _Check:
    """The state of one verification: constant but for the problems and the digests of models."""

    def __init__(self, ledger: Ledger, log: str, blobs: Blobs | None) -> None:
        self.ledger, self.log, self.blobs = ledger, log, blobs
        self.frontier = Frontier()
        self.problems: list[Problem] = []
        self.checkpoint: Checkpoint | None = None
        self.root_at_checkpoint: bytes | None = None
        self.entries = self.blobs_checked = 0
        self.models: set[bytes] = set()  # Every issue names the same few; each is read once.

    def say(self, index: int | None, what: str) -> None:
        """Report a problem."""
        self.problems.append(Problem(index, what))

    def report(self) -> Report:
        """What came out."""
        known = self.checkpoint.size if self.checkpoint else None
        return Report(self.log, self.entries, self.frontier.root().hex(), known, self.blobs_checked, tuple(self.problems))

    def run(self, on_progress: Progress) -> None:
        """Check everything, in the order in which one thing rests on another."""
        engine, log_id = self.ledger.opened(self.log)
        try:
            # Before the size: the file may grow while we look, and must not seem to be ahead.
            self.checkpoint = self.ledger.guard.read(self.log)
        except BootRefused as refusal:
            self.say(None, f"checkpoint: {refusal}")
        with reading(engine, self.log) as connection:
            if engine.dialect.name == "sqlite":
                for (fault,) in connection.exec_driver_sql(f"PRAGMA integrity_check({MOST_DATABASE_PROBLEMS})"):
                    if fault != "ok":
                        self.say(None, f"database: {fault}")
            size, stored, count, largest = connection.execute(statements.extent(), {"name": self.log, "log_id": log_id}).one()
        if (count, largest) != (size, size - 1):
            self.say(None, f"size: expected {size} entries up to index {size - 1}, got {count} up to index {largest}")
        for row in self._rows(size):
            self._entry(row)
            if row[0] % PAGE_ENTRIES == 0:
                on_progress(row[0], size)
        self._skip_to(size)
        self._note_checkpoint()
        if stored != self.frontier.to_bytes():
            self.say(None, f"root: the entries hash to {self.frontier.root().hex()}, the stored frontier of size {size} says otherwise")
        self._checkpoint(size)
        on_progress(size, size)

    def _rows(self, size: int) -> Iterator[RawRow]:
        engine, log_id = self.ledger.opened(self.log)
        start = 0
        while start < size:
            bounds = {"log_id": log_id, "start": start, "stop": size, "limit": PAGE_ENTRIES}
            with reading(engine, self.log) as connection:
                page: Sequence[RawRow] = connection.execute(statements.entries(of_kind=False), bounds).all()
            if not page:
                return
            yield from page
            start = page[-1][0] + 1

    def _entry(self, row: RawRow) -> None:
        index, kind, slot, subject, leaf, payload = row
        self._skip_to(index)
        self._note_checkpoint()
        found = leaf_hash(payload)
        if found != leaf:
            self.say(index, f"the bytes hash to {found.hex()}, the stored leaf hash is {leaf.hex()}")
        self._grow(found)
        self.entries += 1
        try:
            if place_in(payload) != (kind, slot, subject):
                self.say(index, f"indexed as {(kind, slot, subject)}, its bytes say {place_in(payload)}")
            record = decode(payload)
        except DamagedError as damage:
            self.say(index, str(damage))
            return
        self._blobs_of(index, record)

    def _skip_to(self, index: int) -> None:
        """Entries that are missing before an index; the tree goes on with a hash that nothing has."""
        if self.frontier.size < index:
            missing = (self.frontier.size, index - 1)
            self.say(missing[0], "missing" if missing[0] == missing[1] else f"missing, and all up to {missing[1]}")
        while self.frontier.size < index:
            self._note_checkpoint()
            self._grow(bytes(32))

    def _grow(self, leaf: bytes) -> None:
        kept: list[tuple[int, int, bytes]] = []
        self.frontier.append(leaf, kept)
        if kept:
            engine, log_id = self.ledger.opened(self.log)
            with reading(engine, self.log) as connection:
                for level, at, node in kept:
                    bounds = {"log_id": log_id, "level": level, "start": at, "stop": at + 1}
                    if connection.execute(statements.nodes(), bounds).scalar_one_or_none() != node:
                        self.say(None, f"entries {at << level} to {(at + 1 << level) - 1} do not hash to the stored node at level {level}")

    def _note_checkpoint(self) -> None:
        if self.checkpoint is not None and self.checkpoint.size == self.frontier.size:
            self.root_at_checkpoint = self.frontier.root()

    def _checkpoint(self, size: int) -> None:
        if self.checkpoint is None:
            if not any(problem.what.startswith("checkpoint: ") for problem in self.problems):
                name = self.ledger.guard.path(self.log).name
                self.say(None, f"checkpoint: {name} is missing: nothing outside the database vouches for this log")
        elif self.checkpoint.size > size:
            self.say(None, f"checkpoint: it vouches for {self.checkpoint.size} entries, the database holds {size}: it went back or was cut")
        elif self.checkpoint.root != self.root_at_checkpoint:
            got = self.root_at_checkpoint.hex() if self.root_at_checkpoint else "none"
            self.say(None, f"checkpoint: at size {self.checkpoint.size} expected root {self.checkpoint.root.hex()}, got {got}")

    def _blobs_of(self, index: int, record: Record) -> None:
        if self.blobs is None:
            return
        for what, digest in blobs_named(record):
            if digest in self.models:
                continue
            try:
                data = self.blobs.get(digest)
                self.blobs_checked += 1
                if isinstance(record, ForecastIssued) and what == "chunks":
                    found = root([leaf_hash(chunk) for chunk in unpack_blob(data).chunks])
                    if found != record.root:
                        self.say(index, f"its chunks hash to the root {found.hex()}, it promises {record.root.hex()}")
            except NotFound:
                if not isinstance(record, SnapshotTaken):  # A snapshot is a cache, and may be swept.
                    self.say(index, f"its {what}, blob {digest.hex()}, is missing")
            except RidecastError as damage:
                self.say(index, f"its {what}: {damage}")
            if what == "model":
                self.models.add(digest)


def blobs_named(record: Record) -> tuple[tuple[str, bytes], ...]:
    """(what it is, digest) of each blob that a record names.

    >>> blobs_named(ModelPromoted("nyc", "pickups", b"digest", "champion", "better"))
    (('model', b'digest'),)
    """
    match record:
        case RegionBootstrapped() | SlotClosed():
            named: list[tuple[str, bytes]] = [("counts", record.counts_blob)]
        case ForecastIssued():
            named = [("chunks", record.blob), *(("model", digest) for digest in record.models)]
        case ModelTrained() | ModelPromoted():
            named = [("model", record.model)]
        case SnapshotTaken():
            named = [("snapshot", record.blob)]
        case _:
            named = []
    return tuple((what, digest) for what, digest in named if digest)
