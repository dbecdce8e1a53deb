"""The appending end of a spool: each segment enters the ledger exactly once, whatever crashes in between.

For each segment the sizes that the logs have before are made durable first (the plan), then its records are appended
at those sizes, and only then the segment is removed. After a crash the same append at the same sizes returns quietly
if it had happened. A size moves only when another writer's entries lie at that place, so ours do not.
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
from schemas.records.kinds import LogFamily, kind_of_record
from schemas.records.record_codec import decode

LOCK_FILE = "appender.lock"
SEGMENTS_PER_STEP = 100
MOST_CONFLICTS = 10  # of one segment in a row: then another process appends to the log without pause
# What a process without a key may say. A segment with anything else is set aside: nobody signs it.
SPOOLED = frozenset((LogFamily.ACCESS, LogFamily.ALERTS))


class SpoolInUse(StoreUnavailable):
    """Another process appends this spool."""


class SpoolAppender:
    """Appends the segments of one spool; one process at a time.

    Args:
        ledger: Open for appending.
        folder: The spool; it need not exist.
    """

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self._ledger, self._folder = ledger, folder
        self._recorders: dict[str, Recorder] = {}
        self._held = ExitStack()
        self._is_held = False
        self.set_aside: list[str] = []  # names of damaged segments that were found, for whoever reports them

    def step(self) -> int:
        """Append the oldest segments, up to SEGMENTS_PER_STEP; returns how many.

        Raises:
            SpoolInUse: another process appends them.
            LedgerError, StoreUnavailable: the ledger or the disk refuses; the segments stay, and the next step tries again.
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
        """Leave the spool to another process."""
        self._held.close()
        self._is_held = False

    def _hold(self) -> None:
        if not self._is_held:
            try:
                self._held.enter_context(held_alone(self._folder / LOCK_FILE, f"{os.getpid()}"))
            except Held as held:
                raise SpoolInUse(f"spool {self._folder}: expected to append it alone, but process {held} does") from None
            self._is_held = True

    def _append(self, path: Path) -> None:
        try:
            segment = read_segment(path)
            by_log = self._by_log(segment)
        except FileNotFoundError:  # The process that held the spool before has just appended it.
            return
        except (DamagedError, ContractError):  # Damaged, or no record that may come from here.
            path.rename(path.with_suffix(".damaged"))
            sync_folder(self._folder)
            self.set_aside.append(path.name)
            return
        plan = read_plan(self._folder)
        if plan is None or (plan.number, plan.digest) != (segment.number, segment.digest):
            plan = AppendPlan(segment.number, segment.digest, {log: self._ledger.head(log).size for log in by_log})
            write_plan(self._folder, plan)
        for log, payloads in sorted(by_log.items()):
            self._append_to(log, payloads, plan)
        path.unlink()
        sync_folder(self._folder)

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
            DamagedError: one is no record, or of a kind that a process without a key may not say.
        """
        found: defaultdict[str, list[bytes]] = defaultdict(list)
        for payload in segment.payloads:
            kind = kind_of_record(type(decode(payload)))
            if kind.log not in SPOOLED:
                raise DamagedError(f"spool segment {segment.number}: expected records of {', '.join(sorted(SPOOLED))}, got {kind.name}")
            found[kind.log.value].append(payload)
        return found
