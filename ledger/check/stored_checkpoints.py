"""Checkpoints that lie outside of the log that they vouch for: the instance's own, and those that somebody else kept.

Whether a stored log has the roots that they name is found by `ledger.check.verify` and `ledger.check.tile_check`, which see every
size on their way; this file says what it means when it has not.
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
    """A checkpoint with what it is called in messages, and what is wrong with its signature (empty when nothing is)."""

    source: str
    checkpoint: Checkpoint
    fault: str = ""


def open_stored_checkpoint(text: str, source: str, verifiers: Sequence[Verifier]) -> StoredCheckpoint:
    """A checkpoint that somebody kept; one that no known key signed is kept with that fault.

    Args:
        text: A signed note.
        source: What it is called in messages, like the file's name.
        verifiers: Keys, one of which should have signed it.
    Raises:
        UsageError: the text is no signed checkpoint, so that nothing can be held against it.

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
        made = {f"{signature.name}+{signature.key_id.hex()}" for signature in parse_note(text)[1]}
        wanted = {f"{verifier.name}+{verifier.key_id.hex()}" for verifier in verifiers}
        if made & wanted:
            return StoredCheckpoint(source, checkpoint, str(damage))
        named = f"signed by {', '.join(sorted(made))}, expected {', '.join(sorted(wanted)) or 'a known key'}"
        return StoredCheckpoint(source, checkpoint, f"{named}: another key signed this log, or its key was replaced")
    return StoredCheckpoint(source, checkpoint)


@dataclass(slots=True)
class CheckpointComparison:
    """Holds a growing tree against checkpoints at their sizes.

    Args:
        kept: Checkpoints of one log.
    """

    kept: Sequence[StoredCheckpoint]
    roots: dict[int, bytes] = field(default_factory=dict)

    def next_size(self, size: int) -> int | None:
        """The smallest size above one at which the root must be looked at."""
        return min((one.checkpoint.size for one in self.kept if one.checkpoint.size > size), default=None)

    def look(self, frontier: Frontier) -> None:
        """Remember the root, if a checkpoint is of this size."""
        if any(one.checkpoint.size == frontier.size for one in self.kept):
            self.roots[frontier.size] = frontier.root()

    def extend(self, frontier: Frontier, leaves: Sequence[bytes], nodes: list[tuple[int, int, bytes]]) -> None:
        """Grow the tree, with a look at every size that a checkpoint has."""
        at = 0
        while at < len(leaves):
            stop = self.next_size(frontier.size)
            part = leaves[at : len(leaves) if stop is None else at + stop - frontier.size]
            frontier.extend(part, nodes)
            self.look(frontier)
            at += len(part)

    def faults(self, size: int, held: str) -> Iterable[tuple[str, str]]:
        """(source, what contradicts the log).

        Args:
            size: How many entries the log has.
            held: What holds them, like "the database".
        """
        for one in self.kept:
            known = one.checkpoint
            if one.fault:
                yield one.source, one.fault
            if known.size > size:
                yield one.source, f"it vouches for {known.size} entries, {held} holds {size}: it went back or was cut"
            elif not self._agrees(one):
                found = self.roots.get(known.size)
                text = f"at size {known.size} expected root {known.root.hex()}, got {found.hex() if found else 'none'}"
                others = [other.source for other in self.kept if self._agrees(other) and other.checkpoint.size >= known.size]
                yield one.source, f"{text}; {others[0]} vouches for what is stored: a fork" if others else text

    def _agrees(self, one: StoredCheckpoint) -> bool:
        return self.roots.get(one.checkpoint.size) == one.checkpoint.root
