"""The online store in the memory of one process: rebuilt from the ledger at start."""

from threading import Lock

from ledger.views.online.protocol import HeldIssue, StoredCell, StoredIssue, chunks_of, place_of
from schemas.forecasts.chunks import Blob


class MemoryStore:
    """Newest issues in a dictionary.

    >>> MemoryStore().get("nyc", "pickups") is None
    True
    """

    def __init__(self) -> None:
        self._writing = Lock()
        self._issues: dict[tuple[str, str], tuple[StoredIssue, Blob]] = {}

    def put(self, issue: StoredIssue, instead_of: HeldIssue | None = None) -> bool:
        place, blob = place_of(issue), chunks_of(issue)
        with self._writing:
            if issue.place <= self.newest(*place) and (instead_of is None or instead_of != self.held(*place)):
                return False
            # Issue and chunks are replaced in one assignment, so that a reader in another thread never mixes two issues.
            self._issues[place] = issue, blob
            return True

    def get(self, region: str, measure: str) -> StoredIssue | None:
        found = self._issues.get((region, measure))
        return found[0] if found else None

    def cell(self, region: str, measure: str, cell: int) -> StoredCell | None:
        found = self._issues.get((region, measure))
        if found is None:
            return None
        issue, blob = found
        chunk = blob.chunk_of(cell)
        return StoredCell(issue.entry, issue.index, chunk[1]) if chunk else None

    def newest(self, region: str, measure: str) -> tuple[int, int]:
        found = self._issues.get((region, measure))
        return found[0].place if found else (0, -1)

    def held(self, region: str, measure: str) -> HeldIssue | None:
        found = self._issues.get((region, measure))
        return HeldIssue(*found[0].place, found[0].entry) if found else None
