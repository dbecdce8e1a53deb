"""Encrypts bytes that may name a person: AES-256-GCM, bound to the partition and offset that they came from.

A rejected event is sealed together with its detail, which may quote it. The key is a separate file: a copy of the home
without `keys/` is unreadable, and deleting the key makes every copy of the bytes unreadable at once. A key that was
replaced stays beside the new one, as `rejects.<its id>.key`, for as long as something sealed with it is to be read.
"""

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.store.key_files import create_secret, read_secret
from schemas.configuration.settings import Settings
from schemas.errors import ConfigError, DamagedError, NotFound, StoreUnavailable

MAGIC = b"sealed1\x00"
KEY_SIZE_BYTES = 32
KEY_ID_SIZE_BYTES = 4
NONCE_SIZE_BYTES = 12  # NIST SP 800-38D 8.2.2: random, so one key is good for 2^32 events, ten years at 13 rejects a second
DETAIL_SIZE_BYTES = 4


class Seals:
    """Seals rejected events with the key in a file, which the first seal creates, and opens them with it or an older one.

    Args:
        path: The key file, 64 hexadecimal digits, readable by its owner only.
    Raises:
        ConfigError: others may read the file, or it has no valid key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key: bytes | None = None
        self._keys: dict[bytes, bytes] = {}  # id -> a key that opened something
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
        head = len(MAGIC) + KEY_ID_SIZE_BYTES
        key = self._key_named(sealed[len(MAGIC) : head])
        if key is None:
            key = self._known()
            if key is None:
                raise NotFound(f"rejects: their bytes are encrypted, and the key {self._path} is missing: they cannot be read without it")
            mine, theirs = key_id(key).hex(), sealed[len(MAGIC) : head].hex()
            raise NotFound(
                f"rejects: {partition}/{offset}: expected key {theirs}, {self._path} has key {mine}",
                remedy=f"put the key that was replaced beside it, as {self._older(theirs).name}",
            )
        nonce = sealed[head : head + NONCE_SIZE_BYTES]
        try:
            plain = AESGCM(key).decrypt(nonce, sealed[head + NONCE_SIZE_BYTES :], _place(partition, offset))
        except (InvalidTag, ValueError) as cause:
            raise DamagedError(f"rejects: {partition}/{offset}: the encrypted bytes were changed, or belong to another offset") from cause
        until = DETAIL_SIZE_BYTES + int.from_bytes(plain[:DETAIL_SIZE_BYTES], "big")
        return plain[DETAIL_SIZE_BYTES:until].decode("utf-8"), plain[until:]

    def replace_key(self) -> Path | None:
        """Seal with a new key from the next event on; the old one stays beside it, to open what it sealed.

        Returns:
            The file that the old key is in now; None if there was no key yet.
        Raises:
            StoreUnavailable: the key cannot be moved, or the new one not be created.
        """
        key = self._known()
        if key is None:
            return None
        older = self._older(key_id(key).hex())
        create_secret(older, key.hex())
        try:
            self._path.unlink()
        except OSError as cause:
            raise StoreUnavailable(f"private key {self._path}: cannot be moved: {cause.strerror}") from cause
        self._keys.clear()
        self._key = None
        create_secret(self._path, os.urandom(KEY_SIZE_BYTES).hex())
        return older

    def _older(self, name: str) -> Path:
        return self._path.with_name(f"{self._path.stem}.{name}{self._path.suffix}")

    def _known(self) -> bytes | None:
        if self._key is None:
            self._key = _read_key(self._path)
        return self._key

    def _key_named(self, name: bytes) -> bytes | None:
        """The key with that id: the current one, or one that was replaced."""
        if name not in self._keys:
            current = self._known()
            found = current if current is not None and key_id(current) == name else _read_key(self._older(name.hex()))
            if found is None or key_id(found) != name:
                return None
            self._keys[name] = found
        return self._keys[name]


def _read_key(path: Path) -> bytes | None:
    text = read_secret(path)
    if text is None:
        return None
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_SIZE_BYTES:
        raise ConfigError(f"private key {path}: expected {2 * KEY_SIZE_BYTES} hexadecimal digits")
    return key


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
