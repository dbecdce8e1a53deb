"""Whether what a continued log set aside is still there: the old checkpoint as evidence, and the history that it gave up.

How a log is continued is in `ledger.store.continuing`.
"""

import hashlib

from ledger.store.log import Ledger
from ledger.store.tables import translated
from schemas.errors import DamagedError, NotFound
from schemas.records.record_codec import decode
from schemas.records.records import LogContinued


def evidence_faults(ledger: Ledger, log: str, index: int, payload: bytes) -> list[str]:
    """What is wrong with a `LogContinued` and the file that it cites; nothing when all is as it says.

    Args:
        ledger: Whose checkpoint folder holds the evidence.
        log: Name of the log.
        index, payload: Of the entry.
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
            faults.append(f"its evidence, {path.name}, is missing: the checkpoint that was set aside")
        else:
            if found != record.evidence:
                faults.append(f"its evidence, {path.name}, hashes to {found.hex()}, the entry says {record.evidence.hex()}")
    if record.log != log:
        faults.append(f"it continues {record.log}, in {log}")
    if record.database_size > index:
        faults.append(f"it says that it was written behind {record.database_size} entries")
        return faults
    try:
        root = ledger.root_at(log, record.database_size)
    except (NotFound, DamagedError) as cause:
        return [*faults, f"the root that it cites cannot be derived: {cause}"]
    if root != record.database_root:
        faults.append(f"at size {record.database_size} it cites root {record.database_root.hex()}, stored is {root.hex()}")
    return faults
