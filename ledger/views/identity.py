"""Which ledger something was derived from, so that a store, a topic or a folder of another ledger is noticed.

Origins alone do not tell two ledgers apart: two new homes of one instance have the same. Keys do not either: a copied
home has the same key. What tells them apart is content. So whatever is derived from a log and stored outside the ledger
names the log's origin, a size and the root of the log's tree at that size: an unsigned checkpoint. It was derived from
this ledger exactly if this ledger's log had that root at that size. A single issue carries its entry instead, and
the same question is whether the log has that entry at that index.

| derived | names | when it does not match |
|---|---|---|
| issues in the online store | entry and index | replaced, and logged (`ledger.views.online.refresh`) |
| a publisher's cursor in a topic or in files | root and size of the region's log | refused (`dataflows.stream.publish`) |
| snapshots | root and size of the region's log | not used; the log is folded instead (`dataflows.stream.snapshots`) |
| registered models and runs in MLflow | identity of the region's log, as tags | refused (`dataflows.connectors.tracking`) |
"""

from dataclasses import dataclass

from ledger.formats.checkpoint import origin_of
from ledger.formats.merkle import leaf_hash
from ledger.store.log import Ledger
from schemas.errors import NotFound


@dataclass(frozen=True, slots=True)
class LedgerIdentity:
    """The content of one log up to a size.

    Attributes:
        origin: Of the log.
        size: Number of its entries that count.
        root: RFC 6962 root over them.
    """

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """One line.

        >>> LedgerIdentity("ridecast/local/region/nyc", 2, bytes(2)).text()
        'ridecast/local/region/nyc 2 0000'
        """
        return f"{self.origin} {self.size} {self.root.hex()}"


def identity_from_text(text: str) -> LedgerIdentity | None:
    """The identity that `LedgerIdentity.text` wrote; None for anything else.

    >>> identity_from_text("ridecast/local/region/nyc 2 0000").size, identity_from_text("other")
    (2, None)
    """
    try:
        origin, size, root = text.split(" ")
        return LedgerIdentity(origin, int(size), bytes.fromhex(root))
    except ValueError:
        return None


def identity_of(ledger: Ledger, log: str, size: int) -> LedgerIdentity:
    """The identity of a log up to a size that it has."""
    return LedgerIdentity(origin_of(ledger.guard.files.instance, log, ledger.number(log)), size, ledger.root_at(log, size))


def has_root(ledger: Ledger, log: str, size: int, root: bytes) -> bool:
    """Whether a log had this root at this size; False if it is shorter."""
    return size <= ledger.head(log).size and ledger.root_at(log, size) == root


def has_entry(ledger: Ledger, log: str, index: int, entry: bytes) -> bool:
    """Whether a log has exactly this entry at this index; the stored hash is compared, the entry is not read."""
    try:
        return 0 <= index < ledger.head(log).size and ledger.node(log, 0, index) == leaf_hash(entry)
    except NotFound:
        return False
