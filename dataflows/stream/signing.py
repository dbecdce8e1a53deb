"""The key pair of an installation: the private key signs its checkpoints, the public key verifies them.

The private key is at the path of the setting `signing_key`, by default HOME/keys/checkpoint.key. The public key is
always HOME/keys/checkpoint.pub, so that processes which only read never open the private key. The first process that
writes into a new home creates the pair. A home with checkpoints but without a key gets no new one automatically: it
would invalidate everything that the old key signed, so an operator must decide (`ridecast ledger key new`).
"""

import os
from pathlib import Path

from ledger.formats.keys import KEY_SIZE_BYTES, Signer, Verifier
from ledger.store.checkpoint_files import Key
from ledger.store.key_files import PUBLIC_KEY, create_signer, read_signer, read_verifier, write_verifier
from schemas.configuration.settings import Settings
from schemas.errors import ConfigError, UsageError


def key_path(settings: Settings) -> Path:
    """Path of the private key."""
    return Path(settings.signing_key) if settings.signing_key else settings.home / "keys" / "checkpoint.key"


def public_path(settings: Settings) -> Path:
    """Path of the public key."""
    return settings.home / PUBLIC_KEY


def key_name(settings: Settings) -> str:
    """Name of the key of an instance: the prefix of the origins that it signs."""
    return f"ridecast/{settings.instance}"


def signing_key(settings: Settings) -> Signer:
    """The private key; created if this home has neither a key nor a checkpoint.

    Raises:
        ConfigError: the file is readable by others, holds another instance's key or none, does not match the public
            key, or is missing although there are checkpoints.
        StoreUnavailable: a key cannot be created.
    """
    path = key_path(settings)
    in_use = _is_in_use(settings)  # Checked first: a process that creates the pair right now writes the private key first.
    signer = read_signer(path)
    if signer is None:
        if settings.signing_key:
            raise ConfigError(
                f"signing_key: expected a private key at {path}, found no file", remedy="`ridecast ledger key new` creates one"
            )
        if in_use:
            raise ConfigError(
                f"private key {path}: found no file, but this home has checkpoints. Restore it; if it is lost for good, "
                "create a new one with `ridecast ledger key new`, then run `ridecast ledger continue`"
            )
        create_signer(path, new_signer(settings))
        signer = read_signer(path)  # Another process may have been first.
        assert signer is not None
    if signer.name != key_name(settings):
        raise ConfigError(
            f"private key {path}: expected the key {key_name(settings)}, got {signer.name}; set RIDECAST_INSTANCE or "
            "RIDECAST_SIGNING_KEY so that they match"
        )
    public, known = public_path(settings), read_verifier(public_path(settings))
    if known is None:
        write_verifier(public, signer.verifier)
    elif known != signer.verifier:
        raise ConfigError(
            f"private key {path}: expected the key whose public half is {known.text()} ({public}), got another. Restore the right "
            f"one; if it is lost, move both files away, create a new one with `ridecast ledger key new`, then run "
            f"`ridecast ledger continue`"
        )
    return signer


def verifier_of(settings: Settings) -> Verifier:
    """The public key; the private key is not opened.

    Raises:
        ConfigError: this home has none.
    """
    found = read_verifier(public_path(settings))
    if found is None:
        raise ConfigError(f"public key {public_path(settings)}: found no file", remedy="copy it from where the checkpoints are signed")
    return found


def reading_key(settings: Settings) -> Key:
    """The public key for a process that appends nothing, read on first use."""
    return lambda: read_verifier(public_path(settings))


def writing_key(settings: Settings) -> Key:
    """The private key; if it is missing, the public key, so that the ledger opens but refuses to append."""
    in_use = settings.signing_key or _is_in_use(settings)
    if in_use and read_signer(key_path(settings)) is None:
        return reading_key(settings)
    return signing_key(settings)


def new_key(settings: Settings) -> Signer:
    """Create a private key if there is none; a public key without its private half is renamed after its id.

    Raises:
        UsageError: there is a private key already.
        StoreUnavailable: a file cannot be written.
    """
    path, public = key_path(settings), public_path(settings)
    if path.exists():
        raise UsageError(f"private key {path}: it exists already and is not overwritten", remedy="to replace it, move it away first")
    if (old := read_verifier(public)) is not None:
        write_verifier(public.with_suffix(f".{old.key_id.hex()}.pub"), old)
        public.unlink()
    if not create_signer(path, new_signer(settings)):
        raise UsageError(f"private key {path}: another process has just created one")
    return signing_key(settings)


def new_signer(settings: Settings) -> Signer:
    """A new random key."""
    return Signer(key_name(settings), os.urandom(KEY_SIZE_BYTES))


def _is_in_use(settings: Settings) -> bool:
    return public_path(settings).exists() or any((settings.home / "checkpoints").glob("*.txt"))
