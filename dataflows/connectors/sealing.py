"""Encrypts bytes that may name a person: AES-256-GCM, bound to the partition and offset that they came from.

A rejected event is sealed together with its detail, which may quote it. The key is a separate file: a copy of the home
without `keys/` is unreadable, and deleting the key makes every copy of the bytes unreadable at once.
"""

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.store.key_files import create_secret, read_secret
from schemas.errors import ConfigError, DamagedError, NotFound
from schemas.settings import Settings

MAGIC = b"sealed1\x00"
KEY_SIZE_BYTES = 32
KEY_ID_SIZE_BYTES = 4
NONCE_SIZE_BYTES = 12  # NIST SP 800-38D 8.2.2: random, so one key is good for 2^32 events, ten years at 13 rejects a second
DETAIL_SIZE_BYTES = 4


class Seals:
    """Seals and opens rejected events with the key in a file, which the first seal creates.

    Args:
        path: The key file, 64 hexadecimal digits, readable by its owner only.
    Raises:
        ConfigError: others may read the file, or it has no valid key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key: bytes | None = None
        self._known()

    def seal(self, partition: int, offset: int, detail: str, value: bytes) -> bytes:
        """The encrypted bytes of an event; they open only for this partition and offset.

        Raises:
            StoreUnavailable: a key cannot be created.
        """
        key = self._known()
        if key is None:
            create_secret(self._path, os.urandom(KEY_SIZE_BYTES).hex())
            key = self._known()  # Another process may have been first.
            assert key is not None
        nonce = os.urandom(NONCE_SIZE_BYTES)
        text = detail.encode("utf-8", "replace")
        plain = len(text).to_bytes(DETAIL_SIZE_BYTES, "big") + text + value
        return MAGIC + key_id(key) + nonce + AESGCM(key).encrypt(nonce, plain, _place(partition, offset))

    def open(self, partition: int, offset: int, sealed: bytes) -> tuple[str, bytes]:
        """The original (detail, bytes) of an event.

        Raises:
            NotFound: the key is missing, or is another one.
            DamagedError: the bytes were changed, or belong to another offset.
        """
        key = self._known()
        if key is None:
            raise NotFound(f"rejects: their bytes are encrypted, and the key {self._path} is missing: they cannot be read without it")
        head = len(MAGIC) + KEY_ID_SIZE_BYTES
        mine, theirs = key_id(key), sealed[len(MAGIC) : head]
        if mine != theirs:
            raise NotFound(f"rejects: {partition}/{offset}: expected key {theirs.hex()}, {self._path} has key {mine.hex()}")
        nonce = sealed[head : head + NONCE_SIZE_BYTES]
        try:
            plain = AESGCM(key).decrypt(nonce, sealed[head + NONCE_SIZE_BYTES :], _place(partition, offset))
        except (InvalidTag, ValueError) as cause:
            raise DamagedError(f"rejects: {partition}/{offset}: the encrypted bytes were changed, or belong to another offset") from cause
        until = DETAIL_SIZE_BYTES + int.from_bytes(plain[:DETAIL_SIZE_BYTES], "big")
        return plain[DETAIL_SIZE_BYTES:until].decode("utf-8"), plain[until:]

    def _known(self) -> bytes | None:
        if self._key is None:
            text = read_secret(self._path)
            if text is not None:
                try:
                    self._key = bytes.fromhex(text)
                except ValueError:
                    self._key = b""
                if len(self._key) != KEY_SIZE_BYTES:
                    self._key = None
                    raise ConfigError(f"private key {self._path}: expected {2 * KEY_SIZE_BYTES} hexadecimal digits")
        return self._key


def seals_of(settings: Settings) -> Seals:
    """The seals of this installation; forecasters on several machines share one key file."""
    return Seals(Path(settings.rejects_key) if settings.rejects_key else settings.home / "keys" / "rejects.key")


def is_sealed(value: bytes) -> bool:
    """Whether bytes are sealed; the first release stored them unencrypted, for seven days."""
    return value.startswith(MAGIC)


def key_id(key: bytes) -> bytes:
    """A public id of a key, which does not reveal the key.

    >>> key_id(bytes(32)).hex()
    'bf03229d'
    """
    return hashlib.sha256(b"ridecast rejects key\n" + key).digest()[:KEY_ID_SIZE_BYTES]


def _place(partition: int, offset: int) -> bytes:
    return f"{partition}/{offset}".encode()
