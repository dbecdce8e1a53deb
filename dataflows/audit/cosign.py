"""Asks witnesses to cosign a log's checkpoint, and stores their cosignatures next to it.

The client of C2SP tlog-witness: submits the signed checkpoint with a consistency proof from the last one that the witness cosigned.
"""

import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.formats.checkpoint import parse_checkpoint
from ledger.formats.keys import Verifier
from ledger.formats.merkle import consistency_path
from ledger.formats.note import parse_note
from ledger.formats.witness import Refused, Submission, with_cosignature
from ledger.store.files import write_durably
from ledger.store.log import Ledger
from ledger.store.tables import translated
from schemas.errors import DamagedError, NotFound, StoreUnavailable

TIMEOUT_S = 10.0
LARGEST_ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class WitnessPlace:
    """A witness: its URL, and the key that verifies its answers."""

    url: str
    verifier: Verifier


def cosign(ledger: Ledger, log: str, witnesses: Sequence[WitnessPlace]) -> str:
    """Have each witness cosign the log's newest checkpoint; store and return it as `<log>.cosigned.txt` next to the checkpoint.

    Raises:
        NotFound: the log has no checkpoint.
        DamagedError: a witness refuses: it cosigned another history of this log, or does not know the log's key.
        StoreUnavailable: a witness does not answer, or the file cannot be written.
    """
    note = ledger.guard.note(log)
    if note is None:
        raise NotFound(f"{log}: no checkpoint to cosign yet")
    size = parse_checkpoint(parse_note(note)[0]).size  # Size of this note: the file may be replaced while witnesses are asked.
    for witness in witnesses:
        note = with_cosignature(note, _ask(ledger, log, size, note, witness), witness.verifier)
    path = ledger.guard.files.cosigned_path(log)
    with translated(str(path)):
        write_durably(path, note.encode("utf-8"))
    return note


def _ask(ledger: Ledger, log: str, size: int, note: str, witness: WitnessPlace) -> str:
    """The witness's answer; a first request with old size 0 learns the size from which the proof must start."""
    status, text = _post(witness.url, Submission(0, (), note))
    if status == Refused.CONFLICT:
        last = _size(text, witness)
        if last > size:
            raise DamagedError(
                f"{log}: witness {witness.verifier.name} has cosigned size {last}, the checkpoint here has size {size}: "
                "this log was rolled back; run `ridecast ledger verify`, then see `ridecast ledger continue --help`"
            )
        path = consistency_path(last, size, lambda level, index: ledger.node(log, level, index))
        status, text = _post(witness.url, Submission(last, tuple(path), note))
    if status == 200:
        return text
    raise DamagedError(f"{log}: witness {witness.verifier.name} refuses with status {status}: {' '.join(text.split())[:300]}")


def _post(url: str, submission: Submission) -> tuple[int, str]:
    request = urllib.request.Request(url.rstrip("/") + "/add-checkpoint", submission.text().encode("utf-8"), method="POST")
    try:
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return answer.status, answer.read(LARGEST_ANSWER_BYTES).decode("utf-8")
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read(LARGEST_ANSWER_BYTES).decode("utf-8", "replace")
    except (OSError, UnicodeDecodeError) as cause:
        reason = getattr(cause, "reason", cause)
        raise StoreUnavailable(f"witness {url}: expected an answer within {TIMEOUT_S:g} s, got {reason}") from cause


def _size(text: str, witness: WitnessPlace) -> int:
    number = text.removesuffix("\n")
    if not (number.isascii() and number.isdecimal() and len(number) < 20):
        raise DamagedError(f"witness {witness.verifier.name}: expected the last cosigned size, got {text[:80]!r}")
    return int(number)
