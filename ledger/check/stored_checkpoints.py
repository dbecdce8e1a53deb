"""Checkpoints stored outside the log that they cover: the instance's own, and copies saved elsewhere.

`ledger.check.verify` and `ledger.check.tile_check` recompute a log's root at every size; this file compares those roots
with the checkpoints and describes each mismatch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ledger.formats.checkpoint import Checkpoint, parse_checkpoint
from ledger.formats.keys import Verifier
from ledger.formats.merkle import Frontier
from ledger.formats.note import open_note, parse_note
from schemas.errors import DamagedError, UsageError


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint, its name in messages, and what is wrong with its signature (empty if nothing is)."""

    source: str
    checkpoint: Checkpoint
    fault: str = ""


def open_stored_checkpoint(text: str, source: str, verifiers: Sequence[Verifier]) -> StoredCheckpoint:
    """Parse a saved checkpoint and check its signature; a signature fault is returned, not raised.

    Args:
        text: A signed note.
        source: Its name in messages, such as the file name.
        verifiers: Keys, one of which should have signed it.
    Raises:
        UsageError: the text is not a signed checkpoint, so it cannot be compared with a log.

    >>> from ledger.formats.keys import Signer
    >>> from ledger.formats.note import sign_note
    >>> old, new = Signer("log", bytes(32)), Signer("log", bytes(31) + b"1")
    >>> print(open_stored_checkpoint(sign_note("log\\n1\\nAAAA\\n", old), "kept.txt", [new.verifier]).fault)
    signed by log+07108162, expected log+d215f131: another key signed this log, or its key was replaced
    """
    try:
        checkpoint = parse_checkpoint(parse_note(text)[0])
    except DamagedError as damage:
        raise UsageError(f"{source}: expected a signed checkpoint: {damage}") from damage
    try:
        open_note(text, verifiers)
    except DamagedError as damage:
        signers = {f"{signature.name}+{signature.key_id.hex()}" for signature in parse_note(text)[1]}
        expected = {f"{verifier.name}+{verifier.key_id.hex()}" for verifier in verifiers}
        if signers & expected:
            return StoredCheckpoint(source, checkpoint, str(damage))
        mismatch = f"signed by {', '.join(sorted(signers))}, expected {', '.join(sorted(expected)) or 'a known key'}"
        return StoredCheckpoint(source, checkpoint, f"{mismatch}: another key signed this log, or its key was replaced")
    return StoredCheckpoint(source, checkpoint)


@dataclass(slots=True)
class CheckpointComparison:
    """Compares a growing tree with checkpoints at their sizes.

    Args:
        kept: Checkpoints of one log.
    """

    kept: Sequence[StoredCheckpoint]
    roots: dict[int, bytes] = field(default_factory=dict)

    def next_size(self, size: int) -> int | None:
        """The next size above the given one at which a checkpoint needs the root; None if there is none."""
        return min((one.checkpoint.size for one in self.kept if one.checkpoint.size > size), default=None)

    def look(self, frontier: Frontier) -> None:
        """Record the root if a checkpoint has this size."""
        if any(one.checkpoint.size == frontier.size for one in self.kept):
            self.roots[frontier.size] = frontier.root()

    def extend(self, frontier: Frontier, leaves: Sequence[bytes], nodes: list[tuple[int, int, bytes]]) -> None:
        """Grow the tree, and record its root at the size of each checkpoint."""
        at = 0
        while at < len(leaves):
            stop = self.next_size(frontier.size)
            part = leaves[at : len(leaves) if stop is None else at + stop - frontier.size]
            frontier.extend(part, nodes)
            self.look(frontier)
            at += len(part)

    def faults(self, size: int, held: str) -> Iterable[tuple[str, str]]:
        """(source, fault) of each checkpoint that does not match the log.

        Args:
            size: Number of entries in the log.
            held: Where the entries are stored, such as "the database".
        """
        for one in self.kept:
            known = one.checkpoint
            if one.fault:
                yield one.source, one.fault
            if known.size > size:
                yield one.source, f"it covers {known.size} entries, {held} has {size}: rolled back or truncated"
            elif not self._agrees(one):
                found = self.roots.get(known.size)
                text = f"at size {known.size} expected root {known.root.hex()}, got {found.hex() if found else 'none'}"
                others = [other.source for other in self.kept if self._agrees(other) and other.checkpoint.size >= known.size]
                yield one.source, f"{text}; {others[0]} matches what is stored: the log was forked" if others else text

    def _agrees(self, one: StoredCheckpoint) -> bool:
        return self.roots.get(one.checkpoint.size) == one.checkpoint.root
