"""Appends a spool to the ledger: each segment enters the ledger exactly once, even after crashes.

For each segment the current sizes of the logs are made durable first (the plan), then its records are appended at
those sizes, and only then is the segment removed. After a crash the same append at the same sizes is repeated; it
changes nothing if it was done before. A size in the plan changes only if other entries are found at that index, which
proves that the segment was not appended there.
"""

import os
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from ledger.store.files import Held, held_alone, sync_folder
from ledger.store.log import Ledger
from ledger.store.recording import Recorder
from ledger.store.spool import AppendPlan, Segment, read_plan, read_segment, segment_paths, write_plan
from schemas.errors import ContractError, DamagedError, DivergenceError, ExpectedSizeError, StoreUnavailable
from schemas.records.kinds import kind_of_record
from schemas.records.record_codec import decode
from schemas.records.records import RUNS_LOG

LOCK_FILE = "appender.lock"
SEGMENTS_PER_STEP = 100
MOST_CONFLICTS = 10  # of one segment in a row; more mean that another process appends to the log without pause
# Kinds that a process without a key may write. A segment with any other record is set aside, so it is never signed.
SPOOLED = frozenset(("AccessesCounted", "Acknowledged"))


class SpoolInUse(StoreUnavailable):
    """Another process is appending this spool."""


class SpoolAppender:
    """Appends the segments of one spool; only one process at a time may do so.

    Args:
        ledger: Open for appending.
        folder: Folder of the spool, which need not exist.
    """

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self._ledger, self._folder = ledger, folder
        self._recorders: dict[str, Recorder] = {}
        self._held = ExitStack()
        self._is_held = False
        self.set_aside: list[str] = []  # names of segments renamed to .damaged, for the caller to report
        self.foreign: list[str] = []  # the same, renamed to .foreign because they are for another ledger

    def step(self) -> int:
        """Append the oldest segments, up to SEGMENTS_PER_STEP; returns how many.

        Raises:
            SpoolInUse: another process is appending them.
            LedgerError, StoreUnavailable: ledger or disk fails; the segments stay, and the next step retries.
        """
        paths = segment_paths(self._folder)[:SEGMENTS_PER_STEP]
        if not paths:
            return 0
        try:
            self._hold()
            for path in paths:
                self._append(path)
        except OSError as cause:
            raise StoreUnavailable(f"spool {self._folder}: {cause.strerror}") from cause
        return len(paths)

    def close(self) -> None:
        """Release the spool for another process."""
        self._held.close()
        self._is_held = False

    def _hold(self) -> None:
        if not self._is_held:
            try:
                self._held.enter_context(held_alone(self._folder / LOCK_FILE, f"{os.getpid()}"))
            except Held as held:
                raise SpoolInUse(f"spool {self._folder}: process {held} is already appending it") from None
            self._is_held = True

    def _append(self, path: Path) -> None:
        try:
            segment = read_segment(path)
            by_log = self._by_log(segment)
        except FileNotFoundError:  # The process that had the lock before has just appended it.
            return
        except (DamagedError, ContractError):  # Damaged, or a kind of record that is not allowed in a spool.
            path.rename(path.with_suffix(".damaged"))
            sync_folder(self._folder)
            self.set_aside.append(path.name)
            return
        if not self._is_for_us(segment):
            path.rename(path.with_suffix(".foreign"))
            sync_folder(self._folder)
            self.foreign.append(path.name)
            return
        plan = read_plan(self._folder)
        if plan is None or (plan.number, plan.digest) != (segment.number, segment.digest):
            plan = AppendPlan(segment.number, segment.digest, {log: self._ledger.head(log).size for log in by_log})
            write_plan(self._folder, plan)
        for log, payloads in sorted(by_log.items()):
            self._append_to(log, payloads, plan)
        path.unlink()
        sync_folder(self._folder)

    def _is_for_us(self, segment: Segment) -> bool:
        """Whether our log of runs has what the segment names; what earlier releases wrote names nothing."""
        ours = segment.ledger
        return ours is None or (self._ledger.head(RUNS_LOG).size >= ours.size and self._ledger.root_at(RUNS_LOG, ours.size) == ours.root)

    def _append_to(self, log: str, payloads: list[bytes], plan: AppendPlan) -> None:
        for left in reversed(range(MOST_CONFLICTS)):
            try:
                self._recorder(log).append(plan.sizes[log], payloads)
                return
            except (ExpectedSizeError, DivergenceError):
                if not left:
                    raise
                plan.sizes[log] = self._ledger.head(log).size
                write_plan(self._folder, plan)

    def _recorder(self, log: str) -> Recorder:
        return self._recorders.setdefault(log, Recorder(self._ledger, log))

    def _by_log(self, segment: Segment) -> dict[str, list[bytes]]:
        """The payloads by the log that their kind belongs to.

        Raises:
            DamagedError: a payload is not a record, or its kind is not allowed in a spool.
        """
        found: defaultdict[str, list[bytes]] = defaultdict(list)
        for payload in segment.payloads:
            kind = kind_of_record(type(decode(payload)))
            if kind.name not in SPOOLED:
                raise DamagedError(f"spool segment {segment.number}: expected records of {', '.join(sorted(SPOOLED))}, got {kind.name}")
            found[kind.log.value].append(payload)
        return found
