"""Who vouches for a text: C2SP signed notes, and the timed cosignatures of witnesses.

Pure: times are passed in. Keys are in `ledger.formats.keys`; what a checkpoint's text means is in `ledger.formats.checkpoint`.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.formats.checkpoint import parse_checkpoint
from ledger.formats.keys import ID_SIZE_BYTES, Signer, Verifier, decode_base64, encodes, is_name
from schemas.errors import ContractError, DamagedError, UsageError

MOST_SIGNATURES = 100  # golang.org/x/mod/sumdb/note; C2SP demands at least 16
MARK = "— "  # U+2014 and a space: how a signature line begins
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")  # C2SP signed-note, "Format": every one but the newline


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line.

    Attributes:
        name: Of the key.
        key_id: Of the key, 4 bytes.
        data: What the key made of the text.
        time_s: When a witness cosigned, seconds since 1970; None when plain, or when its key is unknown.
    """

    name: str
    key_id: bytes
    data: bytes
    time_s: int | None = None

    def line(self) -> str:
        """The line as it stands in a note, with its newline.

        >>> Signature("EnochRoot", bytes(4), b"data").line()
        '— EnochRoot AAAAAGRhdGE=\\n'
        """
        return f"{MARK}{self.name} {base64.b64encode(self.key_id + self.data).decode('ascii')}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text with the signatures that were checked, each key once, and those of keys that nobody knows here."""

    text: str
    signatures: tuple[Signature, ...]
    unknown: tuple[Signature, ...] = ()


def sign_note(text: str, *signers: Signer) -> str:
    """A signed note.

    Args:
        text: Ends with a newline, and has no other control characters.
        signers: At least one; cosigners come later, with `cosign_note`.
    Raises:
        ContractError: a text or signers that no note can have.
    Source:
        C2SP signed-note, "Format".

    >>> print(sign_note("hello\\n", Signer("EnochRoot", bytes(32))), end="")
    hello
    <BLANKLINE>
    — EnochRoot rwz+eL0jqZfeO51p54NUHNgB0gj3FcEdABb+i0x7WQ2KMMK02b7JbausbD8FEGH/ZlGKT8qJcf90erbFNeQlPTAIigk=
    """
    if not text.endswith("\n") or CONTROL.search(text) or not signers:
        raise ContractError(f"note: expected whole lines of text and at least one signer, got {text[-40:]!r} and {len(signers)}")
    return text + "\n" + "".join(Signature(key.name, key.verifier.key_id, key.signature(text)).line() for key in signers)


def cosign_note(note: str, witness: Signer, time_s: int) -> str:
    """The note of a checkpoint with a witness's cosignature; one that this key made before is replaced.

    Whether the checkpoint deserves it, and whether the other signatures are good, is for the caller to check first.

    Raises:
        DamagedError: not a signed note, or its text is no checkpoint.
        ContractError: the key is no cosigner, or the time is out of bounds.
    Source:
        C2SP tlog-cosignature, "Format".

    >>> log, witness = Signer("log", bytes(32)), Signer("witness", bytes(range(32))).cosigner()
    >>> note = cosign_note(sign_note("log\\n0\\nAAAA\\n", log), witness, 1_400_000_000)
    >>> [(key.name, key.time_s) for key in open_note(note, [log.verifier, witness.verifier]).signatures]
    [('log', None), ('witness', 1400000000)]
    """
    text, signatures = parse_note(note)
    parse_checkpoint(text)
    mine = Signature(witness.name, witness.verifier.key_id, witness.signature(text, time_s))
    kept = [old for old in signatures if (old.name, old.key_id) != (mine.name, mine.key_id)]
    return text + "\n" + "".join(signature.line() for signature in (*kept, mine))


def parse_note(note: str) -> tuple[str, tuple[Signature, ...]]:
    """(text, signatures) of a note, nothing of it verified.

    Raises:
        DamagedError: not a signed note.
    Source:
        C2SP signed-note, "Format".

    >>> parse_note("hello\\n\\n— somebody AAAAAGRhdGE=\\n")
    ('hello\\n', (Signature(name='somebody', key_id=b'\\x00\\x00\\x00\\x00', data=b'data', time_s=None),))
    """
    control = CONTROL.search(note)
    if control:
        raise DamagedError(f"note: expected no control characters but newlines, got {control[0]!r}")
    if not encodes(note):
        raise DamagedError("note: expected valid Unicode, got half of a surrogate pair")
    above, separator, below = note.rpartition("\n\n")
    lines = below.split("\n")
    if not separator or len(lines) < 2 or lines.pop() != "":
        raise DamagedError("note: expected a text, an empty line, and whole signature lines")
    if len(lines) > MOST_SIGNATURES:
        raise DamagedError(f"note: expected at most {MOST_SIGNATURES} signatures, got {len(lines)}")
    return above + "\n", tuple(_signature(line) for line in lines)


def open_note(note: str, verifiers: Sequence[Verifier]) -> Note:
    """The text of a note that at least one known key signed.

    A line is a known key's if it has its name and id; then its signature must fit, or the note is refused, whatever
    other lines hold. Lines of other keys are passed over and listed as `unknown`.

    Raises:
        DamagedError: not a signed note, a known key's signature does not fit, or there is none of a known key.
        UsageError: two of the keys have the name and id of a signature, so that it is not clear which one is meant.
    Source:
        C2SP signed-note, "Signatures"; golang.org/x/mod/sumdb/note.

    >>> signer = Signer("EnochRoot", bytes(32))
    >>> open_note(sign_note("hello\\n", signer), [signer.verifier]).text
    'hello\\n'
    """
    text, signatures = parse_note(note)
    good: dict[tuple[str, bytes], Signature] = {}
    unknown: list[Signature] = []
    for signature in signatures:
        place = signature.name, signature.key_id
        known = [verifier for verifier in verifiers if (verifier.name, verifier.key_id) == place]
        if len(known) > 1:
            raise UsageError(f"note: ambiguous key {signature.name}+{signature.key_id.hex()}: expected it once, got it {len(known)} times")
        if known:
            time_s = known[0].check(text, signature.data)
            good.setdefault(place, Signature(signature.name, signature.key_id, signature.data, time_s))
        elif signature not in unknown:
            unknown.append(signature)
    if not good:
        names = ", ".join(f"{signature.name}+{signature.key_id.hex()}" for signature in unknown)
        raise DamagedError(f"note: expected a signature of a known key, got {names}")
    return Note(text, tuple(good.values()), tuple(unknown))


def _signature(line: str) -> Signature:
    name, _, encoded = line.removeprefix(MARK).partition(" ")
    try:
        data = decode_base64(encoded)
    except ValueError:
        data = b""
    if not line.startswith(MARK) or not is_name(name) or len(data) <= ID_SIZE_BYTES:
        raise DamagedError(f"note: expected a signature line of dash, name and base64, got {line[:120]!r}")
    return Signature(name, data[:ID_SIZE_BYTES], data[ID_SIZE_BYTES:])
