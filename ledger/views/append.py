"""Append to a log that several processes write."""

from ledger.store.log import Ledger
from ledger.store.recording import Recorder
from schemas.errors import DivergenceError, ExpectedSizeError
from schemas.records.record_codec import encode
from schemas.records.records import Record


def append_shared(ledger: Ledger, log: str, record: Record) -> None:
    """Append to a log that several processes write; retry when another process appended first."""
    payload, recorder = encode(record), Recorder(ledger, log)
    while True:
        try:
            recorder.append(ledger.head(log).size, [payload])
            return
        except (ExpectedSizeError, DivergenceError):
            continue
