"""Who signed a text: C2SP signed notes, and the timestamped cosignatures of witnesses.

Pure: times are passed in. Keys are in `ledger.formats.keys`; the text of a checkpoint is in `ledger.formats.checkpoint`.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.formats.checkpoint import parse_checkpoint
from ledger.formats.keys import ID_SIZE_BYTES, Signer, Verifier, decode_base64, encodes, is_name
from schemas.errors import ContractError, DamagedError, UsageError

MOST_SIGNATURES = 100  # golang.org/x/mod/sumdb/note; C2SP requires at least 16
MARK = "— "  # U+2014 and a space: start of a signature line
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")  # C2SP signed-note, "Format": all control characters except newline


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line.

    Attributes:
        name: Name of the key.
        key_id: Id of the key, 4 bytes.
        data: The signature bytes.
        time_s: When a witness cosigned, seconds since 1970; None for a plain signature or an unknown key.
    """

    name: str
    key_id: bytes
    data: bytes
    time_s: int | None = None

    def line(self) -> str:
        """The signature line of a note, including its newline.

        >>> Signature("EnochRoot", bytes(4), b"data").line()
        '— EnochRoot AAAAAGRhdGE=\\n'
        """
        return f"{MARK}{self.name} {base64.b64encode(self.key_id + self.data).decode('ascii')}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text with its verified signatures, one per key, and the signatures of unknown keys."""

    text: str
    signatures: tuple[Signature, ...]
    unknown: tuple[Signature, ...] = ()


def sign_note(text: str, *signers: Signer) -> str:
    """Sign a text as a note.

    Args:
        text: Ends with a newline and has no control characters other than newlines.
        signers: At least one; cosignatures are added with `cosign_note`.
    Raises:
        ContractError: the text is invalid, or there is no signer.
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
    """Add a witness's cosignature to the note of a checkpoint; an earlier one of the same key is replaced.

    The caller must first check the checkpoint and the other signatures.

    Raises:
        DamagedError: not a signed note, or its text is not a checkpoint.
        ContractError: the key is not a cosigner, or the time is out of bounds.
    Source:
        C2SP tlog-cosignature, "Format".

    >>> log, witness = Signer("log", bytes(32)), Signer("witness", bytes(range(32))).cosigner()
    >>> note = cosign_note(sign_note("log\\n0\\nAAAA\\n", log), witness, 1_400_000_000)
    >>> [(key.name, key.time_s) for key in open_note(note, [log.verifier, witness.verifier]).signatures]
    [('log', None), ('witness', 1400000000)]
    """
    text, signatures = parse_note(note)
    parse_checkpoint(text)
    added = Signature(witness.name, witness.verifier.key_id, witness.signature(text, time_s))
    others = [old for old in signatures if (old.name, old.key_id) != (added.name, added.key_id)]
    return text + "\n" + "".join(signature.line() for signature in (*others, added))


def parse_note(note: str) -> tuple[str, tuple[Signature, ...]]:
    """(text, signatures) of a note; nothing is verified.

    Raises:
        DamagedError: not a signed note.
    Source:
        C2SP signed-note, "Format".

    >>> parse_note("hello\\n\\n— somebody AAAAAGRhdGE=\\n")
    ('hello\\n', (Signature(name='somebody', key_id=b'\\x00\\x00\\x00\\x00', data=b'data', time_s=None),))
    """
    control = CONTROL.search(note)
    if control:
        raise DamagedError(f"note: expected no control characters other than newlines, got {control[0]!r}")
    if not encodes(note):
        raise DamagedError("note: expected valid Unicode, got half of a surrogate pair")
    above, separator, below = note.rpartition("\n\n")
    lines = below.split("\n")
    if not separator or len(lines) < 2 or lines.pop() != "":
        raise DamagedError("note: expected a text, an empty line, and complete signature lines")
    if len(lines) > MOST_SIGNATURES:
        raise DamagedError(f"note: expected at most {MOST_SIGNATURES} signatures, got {len(lines)}")
    return above + "\n", tuple(_signature(line) for line in lines)


def open_note(note: str, verifiers: Sequence[Verifier]) -> Note:
    """Verify a note: at least one known key must have signed it.

    A line is a known key's if it has its name and id; then its signature must fit, or the note is refused, whatever
    other lines hold. Lines of other keys are passed over and listed as `unknown`.

    Raises:
        DamagedError: not a signed note, a known key's signature does not match, or no known key signed it.
        UsageError: two of the keys have the name and id of a signature, so the key is ambiguous.
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
