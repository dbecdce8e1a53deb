"""How records enter a log: behind the schemas that read them, so that a log explains itself.

Every writer of records appends through here. Which schemas are missing follows from the entries below the expected
size and from nothing else: the same append again is the same entries again, in any process, after any crash.
"""

from collections.abc import Iterator, Sequence

from ledger.store.log import Head, Ledger
from schemas.records.records import SchemaRecorded
from schemas.records.schema_records import fingerprints_of, own_fingerprint, schema_entries


class Recorder:
    """Appends records to one log.

    It remembers which schemas the log holds, so keep one where appends are frequent; several may write the same log.
    """

    def __init__(self, ledger: Ledger, log: str) -> None:
        self._ledger, self._log = ledger, log
        self._held: dict[bytes, int] = {}  # fingerprint -> index of the entry that records it
        self._looked_until = 0

    def append(self, expected_size: int, payloads: Sequence[bytes]) -> Head:
        """Append entries, and before them the schemas of theirs that the log does not hold yet; all or nothing.

        Args:
            expected_size: Size of the log before, as in `Ledger.append`, which this raises as.
            payloads: Exact bytes of each record.
        Returns:
            Head of the log behind the last entry.
        """
        self._look(expected_size)
        missing = list(self._missing(expected_size, payloads))
        head = self._ledger.append(self._log, expected_size, [*(schema_entries()[found] for found in missing), *payloads])
        for index, found in enumerate(missing, expected_size):
            self._held[found] = min(index, self._held.get(found, index))
        self._looked_until = max(self._looked_until, head.size)
        return head

    def _look(self, size: int) -> None:
        if size <= self._looked_until:
            return
        for stored in self._ledger.scan(self._log, self._looked_until, size, SchemaRecorded):
            record = stored.record
            self._held[record.fingerprint] = min(stored.index, self._held.get(record.fingerprint, stored.index))

    def _missing(self, size: int, payloads: Sequence[bytes]) -> Iterator[bytes]:
        """Fingerprints to record first, each once; the schema of schemas before any."""
        seen = {found for found, index in self._held.items() if index < size}
        wanted = [found for payload in payloads for found in fingerprints_of(payload)]
        for found in [own_fingerprint(), *wanted] if wanted else []:
            if found not in seen:
                seen.add(found)
                yield found
