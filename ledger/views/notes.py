"""The signed checkpoint that covers an entry, for who proves what was appended just now."""

from collections.abc import Callable

from ledger.formats.checkpoint import parse_checkpoint
from ledger.formats.note import parse_note
from ledger.store.log import Ledger

PATIENCE_S = 1.5  # a checkpoint comes within a second of its entries
PAUSE_S = 0.05
TRIES = round(PATIENCE_S / PAUSE_S)


def covering_note(
    ledger: Ledger, log: str, index: int, wait: Callable[[float], object], *, tries: int = TRIES, for_first: bool = True
) -> str | None:
    """The newest signed checkpoint of a log, once it covers an entry; None if none does after some tries.

    Args:
        index: Of the entry; -1 asks for any checkpoint.
        wait: Waits so many seconds.
        tries: How often to wait and look again.
        for_first: Whether to wait also for the first checkpoint of a log that has none.
    """
    for left in range(tries, -1, -1):
        note = ledger.guard.note(log)
        if note is not None and parse_checkpoint(parse_note(note)[0]).size > index:
            return note
        if left == 0 or (note is None and not for_first):
            break
        wait(PAUSE_S)
    return None
