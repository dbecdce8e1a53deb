"""Whether the evidence of a continued log is intact: the old checkpoint, and the root of the database at that point.

How a log is continued is in `ledger.store.continuing`.
"""

import hashlib

from ledger.store.log import Ledger
from ledger.store.tables import translated
from schemas.errors import DamagedError, NotFound
from schemas.records.record_codec import decode
from schemas.records.records import LogContinued


def evidence_faults(ledger: Ledger, log: str, index: int, payload: bytes) -> list[str]:
    """What is wrong with a `LogContinued` entry and the file that it cites; empty if nothing is.

    Args:
        ledger: The ledger whose checkpoint folder holds the evidence.
        log: Name of the log.
        index, payload: Index and bytes of the entry.
    Raises:
        DamagedError: the entry does not decode.
        StoreUnavailable: the disk or the database does not answer.
    """
    record = decode(payload, LogContinued)
    path = ledger.guard.files.evidence_path(log, record.number)
    faults = []
    with translated(str(path)):
        try:
            found = hashlib.sha256(path.read_bytes()).digest()
        except FileNotFoundError:
            faults.append(f"its evidence, {path.name}, is missing: the checkpoint that this entry replaced")
        else:
            if found != record.evidence:
                faults.append(f"its evidence, {path.name}, hashes to {found.hex()}, the entry records {record.evidence.hex()}")
    if record.log != log:
        faults.append(f"it continues log {record.log}, but is stored in {log}")
    if record.database_size > index:
        faults.append(f"it records {record.database_size} entries before it, expected at most {index}")
        return faults
    try:
        root = ledger.root_at(log, record.database_size)
    except (NotFound, DamagedError) as cause:
        return [*faults, f"the root that it cites cannot be recomputed: {cause}"]
    if root != record.database_root:
        faults.append(f"at size {record.database_size} it cites root {record.database_root.hex()}, the stored entries have {root.hex()}")
    return faults
