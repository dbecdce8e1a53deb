"""With which key this installation signs its checkpoints, and with which one others check them.

The private key lies where the setting `signing_key` says, by default in HOME/keys/checkpoint.key; its public half
always in HOME/keys/checkpoint.pub, so that who only reads never opens the private one. The first process that
writes into a new home makes the pair. A home that has checkpoints but no key gets none by itself: a new key would
disown everything that the old one signed, so that is for a person to decide (`ridecast ledger key new`).
"""

import os
from pathlib import Path

from ledger.formats.keys import KEY_SIZE_BYTES, Signer, Verifier
from ledger.store.checkpoint_files import Key
from ledger.store.key_files import PUBLIC_KEY, create_signer, read_signer, read_verifier, write_verifier
from schemas.errors import ConfigError, UsageError
from schemas.settings import Settings


def key_path(settings: Settings) -> Path:
    """Where the private key lies."""
    return Path(settings.signing_key) if settings.signing_key else settings.home / "keys" / "checkpoint.key"


def public_path(settings: Settings) -> Path:
    """Where the public key lies."""
    return settings.home / PUBLIC_KEY


def key_name(settings: Settings) -> str:
    """What the key of an instance is called: the beginning of the origins that it signs."""
    return f"ridecast/{settings.instance}"


def signing_key(settings: Settings) -> Signer:
    """The private key; made when this home has neither a key nor a checkpoint.

    Raises:
        ConfigError: the file may be read by others, holds another instance's key or none, does not fit the public key,
            or is gone although there are checkpoints.
        StoreUnavailable: a key cannot be made.
    """
    path = key_path(settings)
    in_use = _is_in_use(settings)  # Asked first: a process that makes the pair right now puts the private key down first.
    signer = read_signer(path)
    if signer is None:
        if settings.signing_key:
            raise ConfigError(f"signing_key: expected a private key at {path}, found no file", remedy="`ridecast ledger key new` makes one")
        if in_use:
            raise ConfigError(
                f"private key {path}: it is gone, but this home has checkpoints. Put it back; if it is lost for good, "
                "make a new one with `ridecast ledger key new`, then go on with `ridecast ledger continue`"
            )
        create_signer(path, new_signer(settings))
        signer = read_signer(path)  # Another process may have been first.
        assert signer is not None
    if signer.name != key_name(settings):
        raise ConfigError(
            f"private key {path}: expected the key {key_name(settings)}, got {signer.name}: set RIDECAST_INSTANCE or "
            "RIDECAST_SIGNING_KEY so that they belong together"
        )
    public, known = public_path(settings), read_verifier(public_path(settings))
    if known is None:
        write_verifier(public, signer.verifier)
    elif known != signer.verifier:
        raise ConfigError(
            f"private key {path}: expected the key whose public half is {known.text()} ({public}), got another. Put the right one "
            f"back; if it is lost, move both files away, make a new one with `ridecast ledger key new`, then `ridecast ledger continue`"
        )
    return signer


def verifier_of(settings: Settings) -> Verifier:
    """The public key, without a look at the private one.

    Raises:
        ConfigError: there is none here.
    """
    found = read_verifier(public_path(settings))
    if found is None:
        raise ConfigError(f"public key {public_path(settings)}: found no file", remedy="copy it from where the checkpoints are signed")
    return found


def reading_key(settings: Settings) -> Key:
    """The public key for a process that appends nothing, looked for when it is first needed."""
    return lambda: read_verifier(public_path(settings))


def writing_key(settings: Settings) -> Key:
    """The private key; or, where it is gone, the public one, so that the ledger opens and refuses only to append."""
    in_use = settings.signing_key or _is_in_use(settings)
    if in_use and read_signer(key_path(settings)) is None:
        return reading_key(settings)
    return signing_key(settings)


def new_key(settings: Settings) -> Signer:
    """Make a key where none is; a public key whose private half is gone is kept beside under its id.

    Raises:
        UsageError: there is a private key already.
        StoreUnavailable: a file cannot be written.
    """
    path, public = key_path(settings), public_path(settings)
    if path.exists():
        raise UsageError(f"private key {path}: there is one already, and it is not overwritten", remedy="move it away first if you mean it")
    if (old := read_verifier(public)) is not None:
        write_verifier(public.with_suffix(f".{old.key_id.hex()}.pub"), old)
        public.unlink()
    if not create_signer(path, new_signer(settings)):
        raise UsageError(f"private key {path}: another process has just made one")
    return signing_key(settings)


def new_signer(settings: Settings) -> Signer:
    """A key that nobody has had before."""
    return Signer(key_name(settings), os.urandom(KEY_SIZE_BYTES))


def _is_in_use(settings: Settings) -> bool:
    return public_path(settings).exists() or any((settings.home / "checkpoints").glob("*.txt"))
