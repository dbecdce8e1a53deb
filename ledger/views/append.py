"""Append to a log that several processes write."""

from collections.abc import Callable, Sequence

from ledger.store.log import Ledger
from ledger.store.recording import Recorder
from schemas.errors import DivergenceError, ExpectedSizeError
from schemas.records.record_codec import encode
from schemas.records.records import Record


def append_shared(ledger: Ledger, log: str, record: Record) -> None:
    """Append to a log that several processes write; retry when another process appended first."""
    append_decided(ledger, log, lambda size: [record])


def append_decided(ledger: Ledger, log: str, decide: Callable[[int], Sequence[Record]]) -> None:
    """Append what a decision says, all or nothing; decide again when another process appended first.

    A record that follows from what the log holds must be decided so: between reading and appending, another process may have
    recorded something that makes it wrong.

    Args:
        decide: What to append to the log while it has this size; nothing if no record is needed. Whatever it raises is raised.
    """
    recorder = Recorder(ledger, log)
    while True:
        size = ledger.head(log).size
        records = decide(size)
        if not records or appended(recorder, size, records):
            return


def appended(recorder: Recorder, size: int, records: Sequence[Record]) -> bool:
    """Append to a log that had this size, all or nothing; False if another process appended first."""
    try:
        recorder.append(size, [encode(record) for record in records])
    except (ExpectedSizeError, DivergenceError):
        return False
    return True
