"""Key files: a private key in a file that only its owner may read, and a public key file for verifiers.

Randomness is passed in. The shells choose the files from settings.
"""

import os
import stat
from pathlib import Path
from threading import get_ident

from ledger.formats.keys import Algorithm, Signer, Verifier, parse_signer, parse_verifier
from ledger.store.files import make_folder, sync_folder, write_durably
from schemas.errors import ConfigError, StoreUnavailable, UsageError

OWNER_ONLY = 0o600
PUBLIC_KEY = Path("keys") / "checkpoint.pub"  # in home, independent of the private key's path


def read_signer(path: Path) -> Signer | None:
    """Read a private key; None if there is no such file.

    Raises:
        ConfigError: other users may read the file, this process may not, or it has no key that signs checkpoints.
    """
    text = read_secret(path, "otherwise make a new key with `ridecast ledger key new`")
    if text is None:
        return None
    try:
        signer = parse_signer(text)
    except UsageError as cause:
        raise ConfigError(f"private key {path}: {cause}") from None
    if signer.algorithm is not Algorithm.ED25519:
        raise ConfigError(f"private key {path}: expected a key that signs notes, got a cosigner key")
    return signer


def create_signer(path: Path, signer: Signer) -> bool:
    """Like `create_secret`, with the text of a key."""
    return create_secret(path, signer.text())


def read_secret(path: Path, otherwise: str = "otherwise move it away to have a new one made") -> str | None:
    """The text of a file that only its owner may read, without surrounding white space; None if there is no such file.

    Args:
        path: The file.
        otherwise: What to do if another user may have read it.
    Raises:
        ConfigError: other users may read the file, this process may not, or it is not text.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as cause:
        raise ConfigError(f"private key {path}: {cause.strerror}", remedy="give the file to the user that runs Ridecast") from cause
    with os.fdopen(handle, "rb") as file:
        # Check the mode of the open file: the path may have been replaced since.
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise ConfigError(
                f"private key {path}: expected mode 600, got {mode:o}: other users may have read it. "
                f"If none has, run `chmod 600 {path}`; {otherwise}"
            )
        try:
            return file.read().decode("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f"private key {path}: cannot be read as text") from None


def create_secret(path: Path, text: str) -> bool:
    """Create a private key file atomically and durably, readable by its owner only from the start.

    Returns:
        False if the file already exists: another process was first, and its key is used.
    Raises:
        StoreUnavailable: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{get_ident()}.tmp")
    try:
        make_folder(path.parent)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), OWNER_ONLY)  # independent of the umask
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, path)  # Unlike a rename, a link never replaces an existing key.
            except FileExistsError:
                return False
        finally:
            temporary.unlink()
        sync_folder(path.parent)
    except OSError as cause:
        raise StoreUnavailable(f"private key {path}: cannot be created: {cause.strerror or cause}") from cause
    return True


def read_verifier(path: Path) -> Verifier | None:
    """Read a public key; None if there is no such file.

    Raises:
        ConfigError: the file cannot be read, or has no verifier key.
    """
    try:
        return parse_verifier(path.read_text("utf-8").strip())
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, UsageError) as cause:
        raise ConfigError(f"public key {path}: {cause}") from cause


def write_verifier(path: Path, verifier: Verifier) -> None:
    """Write a public key file, replacing any existing one.

    Raises:
        StoreUnavailable: the file cannot be written.
    """
    try:
        make_folder(path.parent)
        write_durably(path, f"{verifier.text()}\n".encode())
    except OSError as cause:
        raise StoreUnavailable(f"public key {path}: cannot be written: {cause.strerror or cause}") from cause
