"""Whether a witness may cosign a checkpoint: requests, answers and reasons for refusal.

Pure: the last cosigned checkpoint and the time are passed in. The HTTP server and its state are in `api.witness`; the client
is `dataflows.audit.cosign`. A witness confirms one thing: that each checkpoint is consistent with the one before.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from ledger.formats.checkpoint import LARGEST_SIZE, Checkpoint, parse_checkpoint
from ledger.formats.keys import Signer, Verifier, decode_base64
from ledger.formats.merkle import EMPTY_ROOT, HASH_SIZE_BYTES, verify_consistency
from ledger.formats.note import Signature, cosign_note, open_note, parse_note
from schemas.errors import DamagedError

MOST_PROOF_LINES = 63  # C2SP tlog-witness, "add-checkpoint"
SIZE_MEDIA_TYPE = "text/x.tlog.size"


class Refused(IntEnum):
    """Why a checkpoint is not cosigned, as HTTP status codes of C2SP tlog-witness."""

    MALFORMED = 400
    UNTRUSTED = 403
    UNKNOWN_LOG = 404
    CONFLICT = 409  # not the last cosigned size, or another root at that size
    INCONSISTENT = 422


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal to cosign.

    Attributes:
        reason: The rule that was broken.
        why: Explanation for people.
        size: Last cosigned size, if the client needs it to retry.
        suspicious: The log signed a checkpoint that contradicts its history: keep it as evidence.
    """

    reason: Refused
    why: str
    size: int | None = None
    suspicious: bool = False


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint consistent with the last one, with the cosignature.

    Attributes:
        checkpoint: The witness must store it before it answers.
        note: The submitted note with the cosignature, to be stored.
        line: The answer: the signature line of the cosignature.
    """

    checkpoint: Checkpoint
    note: str
    line: str


@dataclass(frozen=True, slots=True)
class Submission:
    """A request to cosign a checkpoint.

    Attributes:
        old_size: Size of the checkpoint that the witness cosigned last, as far as the client knows.
        path: Consistency proof from that size, hashes of 32 bytes.
        note: The signed checkpoint, byte for byte.
    """

    old_size: int
    path: tuple[bytes, ...]
    note: str

    def text(self) -> str:
        """The body of a request (C2SP tlog-witness, "add-checkpoint").

        >>> print(Submission(0, (), "note\\n").text(), end="")
        old 0
        <BLANKLINE>
        note
        """
        lines = (f"old {self.old_size}", *(base64.b64encode(node).decode("ascii") for node in self.path), "")
        return "".join(f"{line}\n" for line in lines) + self.note


def parse_submission(text: str) -> Submission:
    """Parse the body of a request; the note is not parsed.

    Raises:
        DamagedError: the body does not have the specified form.

    >>> parse_submission("old 0\\n\\nnote\\n")
    Submission(old_size=0, path=(), note='note\\n')
    """
    above, separator, note = text.partition("\n\n")
    first, *encoded = above.split("\n")
    number = first.removeprefix("old ")
    if not separator or number == first or not (number.isascii() and number.isdecimal()) or len(number) > len(str(LARGEST_SIZE)):
        raise DamagedError(f"submission: expected 'old', a size, proof lines, an empty line and a checkpoint, got {text[:80]!r}")
    if str(int(number)) != number or len(encoded) > MOST_PROOF_LINES:
        raise DamagedError(f"submission: expected a canonical size and at most {MOST_PROOF_LINES} hashes, got {number}, {len(encoded)}")
    try:
        path = tuple(map(decode_base64, encoded))
    except ValueError as cause:
        raise DamagedError(f"submission: expected hashes in base64: {cause}") from cause
    if any(len(node) != HASH_SIZE_BYTES for node in path):
        raise DamagedError(f"submission: expected hashes of {HASH_SIZE_BYTES} bytes, got {[*map(len, path)]}")
    return Submission(int(number), path, note)


def trusted_for(origin: str, verifiers: Sequence[Verifier]) -> list[Verifier]:
    """The keys that may sign for an origin: those whose name equals the origin or is a prefix of it.

    A key is named after its instance, `ridecast/local`, and signs for all logs of the instance and their continuations.

    >>> key = Verifier("ridecast/local", bytes(32))
    >>> [bool(trusted_for(name, [key])) for name in ("ridecast/local/control", "ridecast/local@2/control", "ridecast/locality/control")]
    [True, True, False]
    """
    return [key for key in verifiers if origin == key.name or origin.startswith((f"{key.name}/", f"{key.name}@"))]


def check_submission(submission: Submission, verifiers: Sequence[Verifier]) -> Checkpoint | Refusal:
    """The submitted checkpoint if a known log signed it; called before any state is read or written.

    Args:
        submission: As received.
        verifiers: Keys of the logs that this witness watches.
    Source:
        C2SP tlog-witness, "add-checkpoint", in its order of checks.
    """
    try:
        found = parse_checkpoint(parse_note(submission.note)[0])
    except DamagedError as damage:
        return Refusal(Refused.MALFORMED, str(damage))
    trusted = trusted_for(found.origin, verifiers)
    if not trusted:
        return Refusal(Refused.UNKNOWN_LOG, f"no key is known for {found.origin}")
    try:
        open_note(submission.note, trusted)
    except DamagedError as damage:
        return Refusal(Refused.UNTRUSTED, str(damage))
    if len(found.root) != HASH_SIZE_BYTES or submission.old_size > found.size:
        return Refusal(Refused.MALFORMED, f"expected an old size up to {found.size} and a root of 32 bytes, got {submission.old_size}")
    return found


def consider(submission: Submission, found: Checkpoint, last: Checkpoint | None, witness: Signer, time_s: int) -> Cosigned | Refusal:
    """Cosign a checkpoint that is consistent with the last one, or return the reason for refusal.

    Args:
        submission: As received.
        found: Its checkpoint, as `check_submission` returned it.
        last: The newest cosigned checkpoint of this origin; the caller holds a lock until the result is stored.
        witness: The witness's own key, as a cosigner.
        time_s: Current time, seconds since 1970.
    Source:
        C2SP tlog-witness, "add-checkpoint".
    """
    known, root = (last.size, last.root) if last is not None else (0, EMPTY_ROOT)
    if submission.old_size != known:
        why = f"{found.origin}: the last cosigned size is {known}, the proof starts at {submission.old_size}"
        return Refusal(Refused.CONFLICT, why, known)
    if found.size == known and found.root != root:
        why = f"{found.origin}: the log was forked: root {root.hex()} was cosigned at size {known}, got {found.root.hex()}"
        return Refusal(Refused.CONFLICT, why, known, suspicious=True)
    try:
        _require_continuation(submission, known, root, found)
    except DamagedError as damage:
        return Refusal(Refused.INCONSISTENT, f"{found.origin}: {damage}", suspicious=True)
    note = cosign_note(submission.note, witness, time_s)
    own = [made for made in parse_note(note)[1] if (made.name, made.key_id) == (witness.name, witness.verifier.key_id)]
    return Cosigned(found, note, own[-1].line())


def _require_continuation(submission: Submission, known: int, root: bytes, found: Checkpoint) -> None:
    if known == 0:
        if submission.path:
            raise DamagedError(f"consistency proof from 0: expected an empty path, got {len(submission.path)} hashes")
        return  # The first checkpoint of a log is accepted; later ones must be consistent with it.
    verify_consistency(known, found.size, root, found.root, submission.path)


def with_cosignature(note: str, answer: str, witness: Verifier) -> str:
    """Verify a witness's cosignature and add it to the note; an earlier one of the same key is replaced.

    Args:
        note: The signed checkpoint that was submitted.
        answer: Signature lines from the witness; those of other keys are ignored.
        witness: The witness's key, as a cosigner.
    Raises:
        DamagedError: the answer contains no valid signature of this key.
    """
    text, signatures = parse_note(note)
    key = witness.name, witness.key_id
    others = [made for made in signatures if (made.name, made.key_id) != key]
    opened = open_note(text + "\n" + answer, [witness])
    cosignatures: list[Signature] = [made for made in opened.signatures if (made.name, made.key_id) == key]
    return text + "\n" + "".join(made.line() for made in (*others, *cosignatures))
