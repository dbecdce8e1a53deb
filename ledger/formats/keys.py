"""Who signed a text: Ed25519 keys in the format of the C2SP signed-note specification, to sign and to verify.

Pure: seeds and times are passed in; the shells decide where a private key is stored and who may read it.
The format of signed notes is in `ledger.formats.note`.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from enum import IntEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from schemas.errors import ContractError, DamagedError, UsageError

KEY_SIZE_BYTES = 32  # RFC 8032 5.1.5: a seed and a public key have the same size
SIGNATURE_SIZE_BYTES = 64  # RFC 8032 5.1.6
ID_SIZE_BYTES = 4  # C2SP signed-note, "Signatures"
TIME_SIZE_BYTES = 8  # C2SP tlog-cosignature, "Format"
LARGEST_TIME_S = (1 << 63) - 1  # C2SP tlog-cosignature, "Format"
PRIVATE = "PRIVATE+KEY+"  # golang.org/x/mod/sumdb/note
KEY = re.compile(r"([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})")


class Algorithm(IntEnum):
    """What a key signs, by its signature type byte (C2SP signed-note, "Signature types")."""

    ED25519 = 0x01  # the text
    COSIGNATURE = 0x04  # the text and a time, used by witnesses: tlog-cosignature, cosignature/v1


@dataclass(frozen=True, slots=True)
class Verifier:
    """A key that verifies signatures; its text form is public.

    Attributes:
        name: Owner of the key, preferably a URL without its scheme; no spaces, no plus sign.
        public_key: Ed25519, 32 bytes.
        algorithm: What it verifies.
    """

    name: str
    public_key: bytes
    algorithm: Algorithm = Algorithm.ED25519

    def __post_init__(self) -> None:
        _require_key(self.name, self.public_key)

    @property
    def key_id(self) -> bytes:
        """Four bytes that distinguish this key from others of the same name (C2SP signed-note, "Signatures").

        >>> Verifier("EnochRoot", bytes(32)).key_id.hex()
        '61ba0c5e'
        """
        return hashlib.sha256(self.name.encode("utf-8") + b"\n" + bytes([self.algorithm]) + self.public_key).digest()[:ID_SIZE_BYTES]

    def text(self) -> str:
        """The key as `name+id+key` (C2SP signed-note, "Verifier keys").

        >>> Verifier("EnochRoot", bytes(32)).text()
        'EnochRoot+61ba0c5e+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
        """
        return _key_text(self.name, self.key_id, self.algorithm, self.public_key)

    def cosigner(self) -> "Verifier":
        """The same key as a witness key; it has another id.

        >>> Verifier("EnochRoot", bytes(32)).cosigner().key_id.hex()
        '0e432414'
        """
        return Verifier(self.name, self.public_key, Algorithm.COSIGNATURE)

    def check(self, text: str, signature: bytes) -> int | None:
        """Verify that this key signed a text.

        Args:
            text: The signed text, including its last newline.
            signature: Without the key's id; a cosignature begins with its time.
        Returns:
            The time of a cosignature, seconds since 1970; None for a plain signature.
        Raises:
            DamagedError: the signature is malformed or does not match the text.
        Source:
            C2SP signed-note, "Ed25519 signatures"; tlog-cosignature, "Ed25519 signed message".

        >>> signer = Signer("EnochRoot", bytes(32))
        >>> signer.verifier.check("hello\\n", signer.signature("hello\\n"))
        """
        time_s = None
        if self.algorithm is Algorithm.COSIGNATURE:
            time_s, signature = int.from_bytes(signature[:TIME_SIZE_BYTES]), signature[TIME_SIZE_BYTES:]
        if len(signature) != SIGNATURE_SIZE_BYTES or (time_s or 0) > LARGEST_TIME_S:
            raise DamagedError(
                f"note: expected a signature of {SIGNATURE_SIZE_BYTES} bytes for key {self._display_name()}, got {len(signature)}"
            )
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, _message(text, time_s))
        except (InvalidSignature, ValueError) as cause:  # ValueError: the key is not a point on the curve.
            raise DamagedError(f"note: the signature of key {self._display_name()} does not match the text") from cause
        return time_s

    def _display_name(self) -> str:
        return f"{self.name}+{self.key_id.hex()}"


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that signs; its text form is secret, as anyone who has it can sign.

    Attributes:
        name: As in `Verifier`.
        seed: 32 secret bytes from a cryptographic source of randomness (RFC 8032's private key).
        algorithm: What it signs.
    """

    name: str
    seed: bytes = field(repr=False)
    algorithm: Algorithm = Algorithm.ED25519

    def __post_init__(self) -> None:
        _require_key(self.name, self.seed)

    @property
    def verifier(self) -> Verifier:
        """The key that verifies what this key signs.

        >>> Signer("EnochRoot", bytes(32)).verifier.text()
        'EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop'
        """
        return Verifier(self.name, Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw(), self.algorithm)

    def text(self) -> str:
        """The secret key as `PRIVATE+KEY+name+id+key` (golang.org/x/mod/sumdb/note).

        >>> Signer("EnochRoot", bytes(32)).text()
        'PRIVATE+KEY+EnochRoot+af0cfe78+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
        """
        return PRIVATE + _key_text(self.name, self.verifier.key_id, self.algorithm, self.seed)

    def cosigner(self) -> "Signer":
        """The same key as a witness key.

        >>> Signer("EnochRoot", bytes(32)).cosigner().verifier == Signer("EnochRoot", bytes(32)).verifier.cosigner()
        True
        """
        return Signer(self.name, self.seed, Algorithm.COSIGNATURE)

    def signature(self, text: str, time_s: int | None = None) -> bytes:
        """Sign a text; a cosignature begins with its time. See `Verifier.check`.

        Raises:
            ContractError: a time was given for a plain key, or no time in [0, 2^63) for a cosigner.

        >>> len(Signer("EnochRoot", bytes(32)).cosigner().signature("hello\\n", 1_400_000_000))
        72
        """
        if (self.algorithm is Algorithm.COSIGNATURE) != (time_s is not None) or not 0 <= (time_s or 0) <= LARGEST_TIME_S:
            raise ContractError(f"signer {self.name}: expected a time in [0, 2^63) for cosignatures only, got {time_s}")
        timed = b"" if time_s is None else time_s.to_bytes(TIME_SIZE_BYTES)
        return timed + Ed25519PrivateKey.from_private_bytes(self.seed).sign(_message(text, time_s))


def parse_verifier(text: str) -> Verifier:
    """Parse a verifier key.

    Raises:
        UsageError: the text is not a verifier key, its id does not match its key, or the algorithm is not supported.
    Source:
        C2SP signed-note, "Verifier keys".

    >>> parse_verifier("EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop").name
    'EnochRoot'
    """
    if PRIVATE in text:
        raise UsageError("verifier key: expected name+id+key, got a private key: keep it secret, pass the public key instead")
    try:
        name, key_id, algorithm, public_key = _parse_key(text)
        verifier = Verifier(name, public_key, algorithm)
    except (ValueError, ContractError) as cause:
        raise UsageError(f"verifier key: expected name+id+key of an Ed25519 key, got {text[:120]!r} ({cause})") from cause
    if verifier.key_id != key_id:
        raise UsageError(f"verifier key: expected id {verifier.key_id.hex()} for this name and key, got {text[:120]!r}")
    return verifier


def parse_signer(text: str) -> Signer:
    """Parse a private key; no error message contains the text.

    Raises:
        UsageError: the text is not a private key, its id does not match its key, or the algorithm is not supported.
    Source:
        golang.org/x/mod/sumdb/note

    >>> parse_signer(Signer("EnochRoot", bytes(32)).text())
    Signer(name='EnochRoot', algorithm=<Algorithm.ED25519: 1>)
    """
    try:
        if not text.startswith(PRIVATE):
            raise ValueError(f"it does not start with {PRIVATE}")
        name, key_id, algorithm, seed = _parse_key(text.removeprefix(PRIVATE))
        signer = Signer(name, seed, algorithm)
        if signer.verifier.key_id != key_id:
            raise ValueError("its id does not match its name and key")
    except (ValueError, ContractError) as cause:
        raise UsageError(f"private key: expected {PRIVATE}name+id+key of an Ed25519 key: {cause}") from None
    return signer


def decode_base64(text: str) -> bytes:
    """Decode canonical base64: only one text is accepted for the same bytes.

    Raises:
        ValueError: not base64 (RFC 4648 4), or with unused bits set, which would allow unnoticed changes.

    >>> decode_base64("AAAB")
    b'\\x00\\x00\\x01'
    """
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as cause:
        raise ValueError(f"not base64: {cause}") from cause
    if base64.b64encode(data) != text.encode("ascii"):
        raise ValueError("not canonical base64")
    return data


def is_name(name: str) -> bool:
    """Whether a text is a valid key name.

    Source:
        C2SP signed-note, "Format": not empty, no Unicode spaces, no plus sign, and no control characters, as in the whole note.

    >>> is_name("example.com/log"), is_name("a log")
    (True, False)
    """
    return bool(name) and encodes(name) and not any(letter == "+" or letter < " " or letter.isspace() for letter in name)


def encodes(text: str) -> bool:
    """Whether a text can be encoded as UTF-8; half of a surrogate pair cannot.

    >>> encodes("\\ud800")
    False
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _message(text: str, time_s: int | None) -> bytes:
    """The bytes that are signed (C2SP tlog-cosignature, "Ed25519 signed message")."""
    return (text if time_s is None else f"cosignature/v1\ntime {time_s}\n{text}").encode("utf-8")


def _require_key(name: str, key: bytes) -> None:
    if not is_name(name):
        raise ContractError(f"key name: expected a name without spaces or plus signs, got {name!r}")
    if len(key) != KEY_SIZE_BYTES:
        raise ContractError(f"key {name}: expected {KEY_SIZE_BYTES} bytes, got {len(key)}")


def _key_text(name: str, key_id: bytes, algorithm: Algorithm, key: bytes) -> str:
    return f"{name}+{key_id.hex()}+{base64.b64encode(bytes([algorithm]) + key).decode('ascii')}"


def _parse_key(text: str) -> tuple[str, bytes, Algorithm, bytes]:
    """(name, id, algorithm, key) of a text form; raises ValueError without showing the key."""
    parts = KEY.fullmatch(text)
    if parts is None:
        raise ValueError("not three parts separated by plus signs")
    data = decode_base64(parts[3])
    if data[0] not in list(Algorithm):
        raise ValueError(f"signature type {data[0]} is not supported")
    return parts[1], bytes.fromhex(parts[2]), Algorithm(data[0]), data[1:]
