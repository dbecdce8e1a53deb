"""How records are appended to a log: each schema is stored before its first record, so that a log is self-describing.

Every writer of records uses this module. The entries below the expected size alone determine which schemas are missing, so
repeating an append gives the same entries in any process and after any crash.
"""

from collections.abc import Iterator, Sequence

from ledger.store.log import Head, Ledger
from schemas.records.records import SchemaRecorded
from schemas.records.schema_records import fingerprints_of, own_fingerprint, schema_entries


class Recorder:
    """Appends records to one log.

    It caches which schemas the log has, so reuse one for frequent appends; several may write the same log.
    """

    def __init__(self, ledger: Ledger, log: str) -> None:
        self._ledger, self._log = ledger, log
        self._recorded: dict[bytes, int] = {}  # fingerprint -> index of the entry that records it
        self._looked_until = 0

    def append(self, expected_size: int, payloads: Sequence[bytes]) -> Head:
        """Append entries, preceded by those of their schemas that the log lacks; all or nothing.

        Raises the same errors as `Ledger.append`.

        Args:
            expected_size: Size of the log before the append, as in `Ledger.append`.
            payloads: Exact bytes of each record.
        Returns:
            Head of the log after the last entry.
        """
        self._look(expected_size)
        missing = list(self._missing(expected_size, payloads))
        head = self._ledger.append(self._log, expected_size, [*(schema_entries()[found] for found in missing), *payloads])
        for index, found in enumerate(missing, expected_size):
            self._recorded[found] = min(index, self._recorded.get(found, index))
        self._looked_until = max(self._looked_until, head.size)
        return head

    def _look(self, size: int) -> None:
        if size <= self._looked_until:
            return
        for stored in self._ledger.scan(self._log, self._looked_until, size, SchemaRecorded):
            record = stored.record
            self._recorded[record.fingerprint] = min(stored.index, self._recorded.get(record.fingerprint, stored.index))

    def _missing(self, size: int, payloads: Sequence[bytes]) -> Iterator[bytes]:
        """Fingerprints to record first, each once, starting with that of the schema record itself."""
        seen = {found for found, index in self._recorded.items() if index < size}
        needed = [found for payload in payloads for found in fingerprints_of(payload)]
        for found in [own_fingerprint(), *needed] if needed else []:
            if found not in seen:
                seen.add(found)
                yield found
