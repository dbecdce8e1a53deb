"""Whether a log is unchanged: every hash, node, root and index is recomputed from the stored bytes.

Trusts no column of the database. Entries after the last checkpoint can only be checked for consistency.
Exported logs are checked by `ledger.check.tile_check`.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.engine import Row

from ledger.check.blob_check import CHUNKS, MODEL, SNAPSHOT, CheckBlobs, Fault, NamedBlob, blobs_of_entry, blobs_of_kind, checks_here
from ledger.check.evidence import evidence_faults
from ledger.check.stored_checkpoints import CheckpointComparison, StoredCheckpoint
from ledger.formats.merkle import TILE_HEIGHT, Frontier, leaf_hash
from ledger.store import statements
from ledger.store.blobs import ReadBlobs
from ledger.store.checkpoint_files import WAY_OUT
from ledger.store.log import Ledger
from ledger.store.tables import reading
from schemas.errors import BootRefused, DamagedError
from schemas.records.record_skim import skim
from schemas.records.records import LogContinued

PAGE_ENTRIES = 1_024
PAGE_NODES = 1_000
BATCH_BLOBS = 32  # 3 MB of chunks; enough work to send to another process
MOST_BATCHES = 256  # in progress at once; allows one slow process while the others continue
# Recomputing the root over an issue's chunks takes four times as long as hashing its blob. The blob's hash finds damaged
# bytes; the root also finds issues that were recorded with a wrong root, and is recomputed for all issues on request only.
ROOTS_WITHIN_ENTRIES = 1_000  # at the start of a log: every issue
ROOTS_ONE_IN = 64  # after that, selected by the first byte of the blob's digest
MOST_DATABASE_PROBLEMS = 20  # reported by SQLite's own check; one cause often gives many
CHECKPOINT = "checkpoint"

Progress = Callable[[int, int], None]  # (entries done, entries in total)
RawRow = Row[int, str, int | None, str, bytes, bytes]


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: at an index of the log, or with the log as a whole (None)."""

    index: int | None
    what: str

    def __str__(self) -> str:
        return self.what if self.index is None else f"entry {self.index}: {self.what}"


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked, and the problems found; clean if there are none.

    Attributes:
        log: Name of the log.
        entries: Number of entries hashed again.
        root: Root over them, in hexadecimal.
        checkpoint_size: Size of the instance's own checkpoint; None without one.
        blobs: Number of named blobs hashed again.
        problems: In log order, then those of the whole log and of blobs.
        expired: Number of blobs deleted because their retention ended, as the ledger records.
        roots: Number of issues for which the root over their chunks was recomputed.
    """

    log: str
    entries: int
    root: str
    checkpoint_size: int | None
    blobs: int
    problems: tuple[Problem, ...]
    expired: int = 0
    roots: int = 0


def verify_log(
    ledger: Ledger,
    log: str,
    blobs: ReadBlobs | None = None,
    on_progress: Progress | None = None,
    *,
    against: Sequence[StoredCheckpoint] = (),
    check_blobs: CheckBlobs | None = None,
    has_expired: Callable[[NamedBlob], bool] = lambda named: False,
    every_root: bool = False,
) -> Report:
    """Recompute a log from its stored bytes.

    Args:
        ledger: Holds the log; entries appended during the check are ignored.
        log: Name of the log.
        blobs: Holds the blobs that the entries name; without it they are not checked.
        on_progress: Called with (done, total) entries, about once per thousand.
        against: Checkpoints of this log saved elsewhere.
        check_blobs: Checks the blobs instead, for example in other processes.
        has_expired: Whether a missing blob may be missing, because its retention ended.
        every_root: Whether to recompute the root over the chunks of every issue, not only of a sample.
    Raises:
        NotFound: there is no such log.
        StoreUnavailable: the database does not answer, so nothing can be checked.
    """
    blob_checks = BlobChecks(check_blobs or (checks_here(blobs) if blobs is not None else None), has_expired, every_root=every_root)
    check = _Check(ledger, log, blob_checks)
    try:
        check.run(on_progress or (lambda done, total: None), against)
    except DamagedError as damage:
        check.add_problem(None, str(damage))
    return check.report()


def own_checkpoint(ledger: Ledger, log: str) -> list[StoredCheckpoint]:
    """The instance's own checkpoints outside the database, the cosigned copy last; empty if there is no file.

    Raises:
        BootRefused: the file cannot be trusted.
    """
    checkpoint, cosigned = ledger.guard.read(log), ledger.guard.cosigned(log)
    found = [] if checkpoint is None else [StoredCheckpoint(CHECKPOINT, checkpoint)]
    return found if cosigned is None else [*found, StoredCheckpoint(ledger.guard.cosigned_path(log).name, cosigned)]


class BlobChecks:
    """Checks the blobs of a log in batches, several of them in parallel."""

    def __init__(
        self, check: CheckBlobs | None, has_expired: Callable[[NamedBlob], bool] = lambda named: False, *, every_root: bool = False
    ) -> None:
        self._check, self._has_expired, self._every_root = check, has_expired, every_root
        self._batch: list[NamedBlob] = []
        self._answers: deque[Callable[[], Sequence[Fault]]] = deque()
        self._models: set[bytes] = set()  # All issues name the same few models; each is read once.
        self.count = self.expired = self.roots = 0
        self.problems: list[Problem] = []

    def add(self, named: Sequence[NamedBlob]) -> None:
        """Add the blobs of an entry."""
        if self._check is None:
            return
        for one in named:
            if one.digest not in self._models:
                derived = self._every_root or one.index < ROOTS_WITHIN_ENTRIES or one.digest[0] % ROOTS_ONE_IN == 0
                self.roots += derived and one.what == CHUNKS
                self._batch.append(one if derived else replace(one, root=b""))
                if one.what == MODEL:
                    self._models.add(one.digest)
        if len(self._batch) >= BATCH_BLOBS:
            self._hand_over()

    def finish(self) -> None:
        """Check the remaining blobs, and wait for all batches in progress."""
        self._hand_over()
        while self._answers:
            self._take()

    def _hand_over(self) -> None:
        if self._batch and self._check is not None:
            self.count += len(self._batch)
            self._answers.append(self._check(self._batch))
            self._batch = []
        if len(self._answers) > MOST_BATCHES:
            self._take()

    def _take(self) -> None:
        for fault in self._answers.popleft()():
            self.count -= fault.missing
            if fault.missing and self._has_expired(fault.named):
                self.expired += 1
            elif not fault.missing or fault.named.what != SNAPSHOT:  # A snapshot is a cache, and may be swept.
                self.problems.append(Problem(fault.named.index, fault.what))


class _Check:
    """The state of one verification: constant size, except for the problems and the digests of models."""

    def __init__(self, ledger: Ledger, log: str, blobs: BlobChecks) -> None:
        self.ledger, self.log, self.blobs = ledger, log, blobs
        self.frontier = Frontier()
        self.comparison = CheckpointComparison(())
        self.nodes: _StoredNodes | None = None
        self.problems: list[Problem] = []
        self.checkpoint_size: int | None = None
        self.entries = 0

    def add_problem(self, index: int | None, what: str) -> None:
        """Add a problem to the report."""
        self.problems.append(Problem(index, what))

    def report(self) -> Report:
        """The result so far."""
        problems = (*self.problems, *self.blobs.problems)
        root = self.frontier.root().hex()
        return Report(self.log, self.entries, root, self.checkpoint_size, self.blobs.count, problems, self.blobs.expired, self.blobs.roots)

    def run(self, on_progress: Progress, against: Sequence[StoredCheckpoint]) -> None:
        """Check everything, in order of dependency."""
        engine, log_id = self.ledger.opened(self.log)
        # Read before the size: the log may grow in between, and the checkpoint must not seem to be ahead of it.
        self.comparison = CheckpointComparison([*self._own_checkpoint(), *against])
        self.comparison.look(self.frontier)
        with reading(engine, self.log) as connection:
            if engine.dialect.name == "sqlite":
                for (fault,) in connection.exec_driver_sql(f"PRAGMA integrity_check({MOST_DATABASE_PROBLEMS})"):
                    if fault != "ok":
                        self.add_problem(None, f"database: {fault}")
            size, stored, count, largest = connection.execute(statements.extent(), {"name": self.log, "log_id": log_id}).one()
            for level, index in connection.execute(statements.stray_nodes(), {"name": self.log, "log_id": log_id}):
                self.add_problem(None, f"nodes: unexpected node at level {level}, index {index}, outside the tree")
        if not (isinstance(size, int) and isinstance(largest, int) and isinstance(stored, bytes)):
            raise DamagedError(f"size: expected a number and a frontier, got {size!r}, {stored!r} and the largest index {largest!r}")
        if (count, largest) != (size, size - 1):
            self.add_problem(None, f"size: expected {size} entries up to index {size - 1}, got {count} up to index {largest}")
        self.nodes = _StoredNodes(self.ledger, self.log)
        self.nodes.at(TILE_HEIGHT, 0)  # An unreadable table is damage even if it is empty.
        there = min(size, largest + 1)  # A damaged size may be any number.
        for start in range(0, there, PAGE_ENTRIES):
            stop = min(start + PAGE_ENTRIES, there)
            for rows in self._rows(start, stop):
                self._entries(rows)
            on_progress(start, size)
        if there < size:
            self.add_problem(there, _missing(there, size - 1))
        else:
            self._skip_to(size)
        if stored != self.frontier.to_bytes():
            self.add_problem(
                None, f"root: the entries hash to {self.frontier.root().hex()}, which the stored frontier of size {size} does not match"
            )
        self.problems += [Problem(None, f"{source}: {what}") for source, what in self.comparison.faults(size, "the database")]
        self.blobs.finish()
        on_progress(size, size)

    def _own_checkpoint(self) -> list[StoredCheckpoint]:
        try:
            found = own_checkpoint(self.ledger, self.log)
        except BootRefused as refusal:
            self.add_problem(None, f"{CHECKPOINT}: {str(refusal).partition(f'. {WAY_OUT}')[0]}")
            return []
        if not found:
            name = self.ledger.guard.path(self.log).name
            self.add_problem(None, f"{CHECKPOINT}: {name} is missing: no checkpoint outside the database confirms this log")
        else:
            self.checkpoint_size = found[0].checkpoint.size
        return found

    def _rows(self, start: int, stop: int) -> Iterator[Sequence[RawRow]]:
        """The stored rows in [start, stop), page by page; unreadable rows are reported and skipped."""
        engine, log_id = self.ledger.opened(self.log)
        bounds = {"log_id": log_id, "start": start, "stop": stop, "limit": stop - start}
        try:
            with reading(engine, self.log) as connection:
                rows: Sequence[RawRow] = connection.execute(statements.entries(of_kind=False), bounds).all()
        except DamagedError as damage:
            if stop - start == 1:
                self.add_problem(start, str(damage))
                return
            middle = (start + stop) // 2
            yield from self._rows(start, middle)
            yield from self._rows(middle, stop)
            return
        yield rows

    def _entries(self, rows: Sequence[RawRow]) -> None:
        leaves: list[bytes] = []
        for index, kind, slot, subject, leaf, payload in rows:
            if not isinstance(index, int) or index < self.frontier.size + len(leaves):
                self.add_problem(None, f"entries: index {index!r} stored after {self.frontier.size + len(leaves) - 1}")
                continue
            if index != self.frontier.size + len(leaves):
                self._grow(leaves)
                leaves = []
                self._skip_to(index)
            if not isinstance(payload, bytes):
                self.add_problem(index, f"expected bytes, got {type(payload).__name__}")
                leaves.append(bytes(32))
                continue
            try:
                payload = payload or self.ledger.bytes_of(self.log, index, leaf, payload)
            except DamagedError as damage:
                self.add_problem(index, str(damage))
                leaves.append(bytes(32))
                continue
            found = leaf_hash(payload)
            leaves.append(found)
            self.entries += 1
            if found != leaf:
                self.add_problem(
                    index, f"the bytes hash to {found.hex()}, the stored leaf hash is {leaf.hex() if isinstance(leaf, bytes) else leaf!r}"
                )
                continue
            try:
                seen = skim(payload)
            except DamagedError as damage:
                self.add_problem(index, str(damage))
                continue
            if (seen.kind, seen.slot, seen.subject) != (kind, slot, subject):
                self.add_problem(index, f"indexed as {(kind, slot, subject)}, its bytes contain {(seen.kind, seen.slot, seen.subject)}")
            if seen.kind == LogContinued.__name__:
                for what in evidence_faults(self.ledger, self.log, index, payload):
                    self.add_problem(index, what)
            if blobs_of_kind(seen.kind):
                self.blobs.add(blobs_of_entry(index, seen))
        self._grow(leaves)

    def _skip_to(self, index: int) -> None:
        """Report the entries missing before an index, and fill the tree with a hash that no entry has."""
        if self.frontier.size < index:
            self.add_problem(self.frontier.size, _missing(self.frontier.size, index - 1))
        while self.frontier.size < index:
            self._grow([bytes(32)] * min(PAGE_ENTRIES, index - self.frontier.size))

    def _grow(self, leaves: Sequence[bytes]) -> None:
        completed: list[tuple[int, int, bytes]] = []
        self.comparison.extend(self.frontier, leaves, completed)
        assert self.nodes is not None
        for level, at, node in completed:
            if self.nodes.at(level, at) != node:
                self.add_problem(None, f"entries {at << level} to {(at + 1 << level) - 1} do not hash to the stored node at level {level}")


def _missing(first: int, last: int) -> str:
    return "missing" if first == last else f"missing, and all up to {last}"


class _StoredNodes:
    """The nodes stored in the database, read one page at a time per level."""

    def __init__(self, ledger: Ledger, log: str) -> None:
        self._ledger, self._log = ledger, log
        self._pages: dict[int, tuple[int, dict[int, bytes]]] = {}

    def at(self, level: int, index: int) -> bytes | None:
        """The hash of a node; None if it is not stored."""
        start, page = self._pages.get(level, (-PAGE_NODES, {}))
        if not start <= index < start + PAGE_NODES:
            engine, log_id = self._ledger.opened(self._log)
            bounds = {"log_id": log_id, "level": level, "start": index, "stop": index + PAGE_NODES}
            with reading(engine, self._log) as connection:
                page = {row[0]: row[1] for row in connection.execute(statements.numbered_nodes(), bounds)}
            self._pages[level] = index, page
        return page.get(index)
