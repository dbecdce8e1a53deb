"""Whether a witness may cosign: what it is asked, what it answers, and why it refuses.

Pure: the newest checkpoint that it cosigned and the time are passed in. Who keeps that checkpoint, and speaks HTTP, is
`api.witness`; who asks is `dataflows.audit.cosign`. A witness vouches for one thing: that each checkpoint continues the last.
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
    """Why a checkpoint is not cosigned, by the status that C2SP tlog-witness gives each."""

    MALFORMED = 400
    UNTRUSTED = 403
    UNKNOWN_LOG = 404
    CONFLICT = 409  # not the size that was cosigned last, or another root at that size
    INCONSISTENT = 422


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is no cosignature.

    Attributes:
        reason: Which rule.
        why: A sentence for a person.
        size: Size that was cosigned last, where the client needs it to go on.
        suspicious: The log signed what contradicts its past: worth keeping as evidence.
    """

    reason: Refused
    why: str
    size: int | None = None
    suspicious: bool = False


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint that continues the last, with the cosignature.

    Attributes:
        checkpoint: What the witness must remember before it answers.
        note: The submitted note with the cosignature, to remember it by.
        line: The answer: the cosignature's line.
    """

    checkpoint: Checkpoint
    note: str
    line: str


@dataclass(frozen=True, slots=True)
class Submission:
    """A checkpoint that wants a cosignature.

    Attributes:
        old_size: Of the checkpoint that the witness cosigned last, as the client knows it.
        path: Consistency proof from there, hashes of 32 bytes.
        note: The signed checkpoint, word for word.
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
    """The submission that a request's body holds; the note is not looked at.

    Raises:
        DamagedError: not of the form that the specification gives.

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
    """The keys that may sign for an origin: those whose name it is, or begins with.

    A key is named after its instance, `ridecast/local`, and signs for all logs of it, and for what continues them.

    >>> key = Verifier("ridecast/local", bytes(32))
    >>> [bool(trusted_for(name, [key])) for name in ("ridecast/local/control", "ridecast/local@2/control", "ridecast/locality/control")]
    [True, True, False]
    """
    return [key for key in verifiers if origin == key.name or origin.startswith((f"{key.name}/", f"{key.name}@"))]


def check_submission(submission: Submission, verifiers: Sequence[Verifier]) -> Checkpoint | Refusal:
    """The submitted checkpoint, if one of our logs signed it: before anything is remembered, or looked up.

    Args:
        submission: As it came.
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
        return Refusal(Refused.UNKNOWN_LOG, f"no key of {found.origin} is known here")
    try:
        open_note(submission.note, trusted)
    except DamagedError as damage:
        return Refusal(Refused.UNTRUSTED, str(damage))
    if len(found.root) != HASH_SIZE_BYTES or submission.old_size > found.size:
        return Refusal(Refused.MALFORMED, f"expected an old size up to {found.size} and a root of 32 bytes, got {submission.old_size}")
    return found


def consider(submission: Submission, found: Checkpoint, last: Checkpoint | None, witness: Signer, time_s: int) -> Cosigned | Refusal:
    """Cosign a checkpoint that continues the last, or say why not.

    Args:
        submission: As it came.
        found: Its checkpoint, vetted.
        last: The newest checkpoint of this origin that was cosigned; nobody else may cosign until the answer is kept.
        witness: The witness's own key, as a cosigner.
        time_s: Now, seconds since 1970.
    Source:
        C2SP tlog-witness, "add-checkpoint".
    """
    known, root = (last.size, last.root) if last is not None else (0, EMPTY_ROOT)
    if submission.old_size != known:
        why = f"{found.origin}: the last cosigned size is {known}, the proof begins at {submission.old_size}"
        return Refusal(Refused.CONFLICT, why, known)
    if found.size == known and found.root != root:
        why = f"{found.origin}: a fork: at size {known} root {root.hex()} was cosigned, now it is {found.root.hex()}"
        return Refusal(Refused.CONFLICT, why, known, suspicious=True)
    try:
        _require_continuation(submission, known, root, found)
    except DamagedError as damage:
        return Refusal(Refused.INCONSISTENT, f"{found.origin}: {damage}", suspicious=True)
    note = cosign_note(submission.note, witness, time_s)
    mine = [made for made in parse_note(note)[1] if (made.name, made.key_id) == (witness.name, witness.verifier.key_id)]
    return Cosigned(found, note, mine[-1].line())


def _require_continuation(submission: Submission, known: int, root: bytes, found: Checkpoint) -> None:
    if known == 0:
        if submission.path:
            raise DamagedError(f"consistency proof from 0: expected an empty path, got {len(submission.path)} hashes")
        return  # Any log may begin; from here on it is held to what it said.
    verify_consistency(known, found.size, root, found.root, submission.path)


def with_cosignature(note: str, answer: str, witness: Verifier) -> str:
    """The note with the cosignature that a witness answered, which is checked; one of this key that was there is replaced.

    Args:
        note: The signed checkpoint that was submitted.
        answer: Lines of the witness; those of other keys are ignored.
        witness: Its key, as a cosigner.
    Raises:
        DamagedError: no line of it is a good signature of this key.
    """
    text, signatures = parse_note(note)
    place = witness.name, witness.key_id
    kept = [made for made in signatures if (made.name, made.key_id) != place]
    opened = open_note(text + "\n" + answer, [witness])
    mine: list[Signature] = [made for made in opened.signatures if (made.name, made.key_id) == place]
    return text + "\n" + "".join(made.line() for made in (*kept, *mine))
