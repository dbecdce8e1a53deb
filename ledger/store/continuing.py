"""How a log goes on when its checkpoint and its database do not belong together, and somebody accepts that.

The boot rule refuses such a log. The way out is never silent: the log says in its next entry what was set aside and
why, the old checkpoint is kept beside as evidence, and from there on the log has another origin, so that nobody who
holds the old checkpoint takes the new log for its continuation.
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

LARGEST_REASON_BYTES = 2_000  # a paragraph; an entry has room for thirty times as much
NOTHING = Checkpoint("", 0, b"")


@dataclass(frozen=True, slots=True)
class Continuation:
    """What was done: the record, the refusal that it answers, where the evidence is, and the new origin."""

    record: LogContinued
    refusal: str
    evidence: Path
    origin: str


def continue_log(ledger: Ledger, log: str, reason: str) -> Continuation:
    """Go on with a log that the boot rule refuses; what was interrupted half-way is completed.

    Args:
        ledger: Opened with the private key; no other process may write this log meanwhile.
        log: Its name.
        reason: Why the loss is accepted, for whoever reads the log later.
    Raises:
        NotFound: there is neither such a log nor a checkpoint of it.
        UsageError: no reason, or too long a one.
        LedgerError: the log may be appended to, so there is nothing to continue from.
        DamagedError: the database contradicts itself; restore an older copy that does not, and continue that.
        BootRefused: the private key is not there.
        StoreUnavailable: the disk or the database does not answer.
    """
    guard = ledger.guard
    path = guard.path(log)
    if not reason.strip() or len(reason.encode()) > LARGEST_REASON_BYTES:
        raise UsageError(f"--reason: expected a sentence of at most {LARGEST_REASON_BYTES} bytes, got {len(reason.encode())}")
    if not path.exists():
        known = ", ".join(ledger.logs()) or "none"
        raise NotFound(f"{display_name(log)}: expected a checkpoint to continue from, found no {path.name}; there are these logs: {known}")
    guard.files.signer(log)
    with translated(str(path)):
        refused_bytes = path.read_bytes()
    try:
        guard.admit(log)
    except DamagedError:
        raise
    except BootRefused as refused:
        refusal = str(refused)
    else:
        raise LedgerError(f"{display_name(log)}: nothing to continue from: the database and {path.name} belong together")
    with guard.continuing(log):
        with translated(str(path)):
            data = path.read_bytes()
        if data != refused_bytes:
            raise LedgerError(f"{display_name(log)}: {path.name} has changed while we looked: another process has continued the log")
        cited, head = _cited(data), ledger.head(log)
        digest = hashlib.sha256(data).digest()
        record = _unfinished(ledger, log, digest)
        if record is None:
            number = 1 + max(ledger.number(log), number_of(cited.origin, guard.files.instance, log) or 1)
            while _holds_another(guard.files.evidence_path(log, number), data):
                number += 1  # An older copy of the database does not remember every continuation; the folder does.
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


def _cited(data: bytes) -> Checkpoint:
    """What the old file says, whoever wrote it."""
    try:
        return parse_checkpoint(data.decode("utf-8"))
    except (DamagedError, UnicodeDecodeError):
        return NOTHING


def _holds_another(path: Path, data: bytes) -> bool:
    with translated(str(path)):
        return path.exists() and path.read_bytes() != data


def _unfinished(ledger: Ledger, log: str, digest: bytes) -> LogContinued | None:
    """The last continuation, if it cites this very file: then only the new checkpoint is missing."""
    stored = ledger.entry(log, LogContinued)
    if stored is None:
        return None
    record = stored.record
    return record if record.evidence == digest else None
