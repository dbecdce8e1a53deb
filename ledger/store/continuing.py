"""How a log is continued after its checkpoint and its database no longer match and an operator accepts the loss.

The boot rule refuses such a log. Continuing it leaves a record: the next entry states what was lost and why, the old
checkpoint is kept as evidence, and the log gets a new origin, so that holders of the old checkpoint do not mistake the
new log for its continuation.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ledger.formats.checkpoint import Checkpoint, number_of, origin_of, parse_checkpoint
from ledger.store.files import write_durably
from ledger.store.log import Ledger
from ledger.store.recording import Recorder
from ledger.store.tables import display_name, translated
from schemas.errors import BootRefused, DamagedError, LedgerError, NotFound, UsageError
from schemas.records.record_codec import encode
from schemas.records.records import LogContinued

LARGEST_REASON_BYTES = 2_000  # a paragraph; the limit of an entry is thirty times larger
NOTHING = Checkpoint("", 0, b"")


@dataclass(frozen=True, slots=True)
class Continuation:
    """The result: the record, the refusal that it resolves, the path of the evidence, and the new origin."""

    record: LogContinued
    refusal: str
    evidence: Path
    origin: str


def continue_log(ledger: Ledger, log: str, reason: str) -> Continuation:
    """Continue a log that the boot rule refuses; an interrupted run is completed by running it again.

    Args:
        ledger: Opened with the private key; no other process may write this log at the same time.
        log: Name of the log.
        reason: Why the loss is accepted, for later readers of the log.
    Raises:
        NotFound: the log has no checkpoint.
        UsageError: the reason is empty or too long.
        LedgerError: the boot rule accepts the log, so there is nothing to continue from.
        DamagedError: the database contradicts itself; restore an older consistent copy and continue that.
        BootRefused: the private key is missing.
        StoreUnavailable: the disk or the database does not answer.
    """
    guard = ledger.guard
    path = guard.path(log)
    if not reason.strip() or len(reason.encode()) > LARGEST_REASON_BYTES:
        raise UsageError(f"--reason: expected a sentence of at most {LARGEST_REASON_BYTES} bytes, got {len(reason.encode())}")
    if not path.exists() and not (ledger.head(log).size and guard.ownership.is_anothers(log)):
        known = ", ".join(ledger.logs()) or "none"
        raise NotFound(f"{display_name(log)}: expected a checkpoint to continue from, found no {path.name}; existing logs: {known}")
    guard.files.signer(log)
    refused_bytes = _refused(ledger, log, path)
    try:
        guard.admit(log)
    except DamagedError:
        raise
    except BootRefused as refused:
        refusal = str(refused)
    else:
        raise LedgerError(f"{display_name(log)}: nothing to continue from: the database and {path.name} match")
    with guard.continuing(log):
        data = _refused(ledger, log, path)
        if data != refused_bytes:
            raise LedgerError(f"{display_name(log)}: {path.name} was changed by another process, which has continued the log")
        cited, head = _cited(data), ledger.head(log)
        digest = hashlib.sha256(data).digest()
        record = _unfinished(ledger, log, digest)
        if record is None:
            number = 1 + max(ledger.number(log), number_of(cited.origin, guard.files.instance, log) or 1)
            while _holds_another(guard.files.evidence_path(log, number), data):
                number += 1  # An older copy of the database may lack continuations whose evidence files exist.
            record = LogContinued(
                log=log,
                number=number,
                checkpoint_origin=cited.origin,
                checkpoint_size=cited.size,
                checkpoint_root=cited.root,
                evidence=digest,
                database_size=head.size,
                database_root=head.root,
                reason=reason,
            )
        evidence = guard.files.evidence_path(log, record.number)
        with translated(str(evidence)):
            write_durably(evidence, data)
        if record.number != ledger.number(log):
            Recorder(ledger, log).append(head.size, [encode(record)])
    return Continuation(record, refusal, evidence, origin_of(guard.files.instance, log, record.number))


def _refused(ledger: Ledger, log: str, path: Path) -> bytes:
    """The checkpoint file that the boot rule refuses; without one, a sentence that says whose checkpoints are missing."""
    with translated(str(path)):
        if path.exists():
            return path.read_bytes()
    owner = ledger.guard.ownership.recorded(log)
    whose = f"was signed with the key {owner.key}, its checkpoints were in {owner.checkpoints}" if owner else "names no key"
    return f"{log}: this home had no checkpoint; the database {whose}\n".encode()


def _cited(data: bytes) -> Checkpoint:
    """The checkpoint in the old file, signature unchecked; an empty one if it cannot be parsed."""
    try:
        return parse_checkpoint(data.decode("utf-8"))
    except (DamagedError, UnicodeDecodeError):
        return NOTHING


def _holds_another(path: Path, data: bytes) -> bool:
    with translated(str(path)):
        return path.exists() and path.read_bytes() != data


def _unfinished(ledger: Ledger, log: str, digest: bytes) -> LogContinued | None:
    """The last continuation, if it cites this file: then only the new checkpoint is missing."""
    stored = ledger.entry(log, LogContinued)
    if stored is None:
        return None
    record = stored.record
    return record if record.evidence == digest else None
