"""Where keys lie: a private key in a file that only its owner may read, and beside the checkpoints its public half.

Randomness is passed in. Which files a process uses is decided by the shells, from settings.
"""

import os
import stat
from pathlib import Path
from threading import get_ident

from ledger.formats.keys import Algorithm, Signer, Verifier, parse_signer, parse_verifier
from ledger.store.files import make_folder, sync_folder, write_durably
from schemas.errors import ConfigError, StoreUnavailable, UsageError

OWNER_ONLY = 0o600
PUBLIC_KEY = Path("keys") / "checkpoint.pub"  # under home, wherever the private key is


def read_signer(path: Path) -> Signer | None:
    """The private key of a file; None when there is no such file.

    Raises:
        ConfigError: others may read the file, it is not ours to read, or it holds no key that signs checkpoints.
    """
    text = read_secret(path, "otherwise make a new key with `ridecast ledger key new`")
    if text is None:
        return None
    try:
        signer = parse_signer(text)
    except UsageError as cause:
        raise ConfigError(f"private key {path}: {cause}") from None
    if signer.algorithm is not Algorithm.ED25519:
        raise ConfigError(f"private key {path}: expected a key that signs notes, got a cosigner's")
    return signer


def create_signer(path: Path, signer: Signer) -> bool:
    """As `create_secret`, with the text of a key."""
    return create_secret(path, signer.text())


def read_secret(path: Path, otherwise: str = "otherwise move it away, and a new one is made") -> str | None:
    """The text of a file that only its owner may read, without white space around it; None when there is no such file.

    Args:
        path: The file.
        otherwise: What to do when somebody may have read it.
    Raises:
        ConfigError: others may read the file, it is not ours to read, or is no text.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as cause:
        raise ConfigError(f"private key {path}: {cause.strerror}", remedy="give the file to the user that runs Ridecast") from cause
    with os.fdopen(handle, "rb") as file:
        # The mode of what was opened, not of what may have taken its place since.
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise ConfigError(
                f"private key {path}: expected mode 600, got {mode:o}: others may have read it. "
                f"If nobody has, `chmod 600 {path}`; {otherwise}"
            )
        try:
            return file.read().decode("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f"private key {path}: it cannot be read as text") from None


def create_secret(path: Path, text: str) -> bool:
    """Put a private key into a file that is not there yet; whole, durable, and for its owner only from the first moment.

    Returns:
        False when the file is there already: another process was first, and its key counts.
    Raises:
        StoreUnavailable: the disk does not take it.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}-{get_ident()}.tmp")
    try:
        make_folder(path.parent)
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), OWNER_ONLY)  # whatever the umask says
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(beside, path)  # Unlike a rename, a link never takes the place of another's key.
            except FileExistsError:
                return False
        finally:
            beside.unlink()
        sync_folder(path.parent)
    except OSError as cause:
        raise StoreUnavailable(f"private key {path}: cannot be made: {cause.strerror or cause}") from cause
    return True


def read_verifier(path: Path) -> Verifier | None:
    """The public key of a file; None when there is no such file.

    Raises:
        ConfigError: it cannot be read, or holds no verifier key.
    """
    try:
        return parse_verifier(path.read_text("utf-8").strip())
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, UsageError) as cause:
        raise ConfigError(f"public key {path}: {cause}") from cause


def write_verifier(path: Path, verifier: Verifier) -> None:
    """Replace the public key of a file.

    Raises:
        StoreUnavailable: the disk does not take it.
    """
    try:
        make_folder(path.parent)
        write_durably(path, f"{verifier.text()}\n".encode())
    except OSError as cause:
        raise StoreUnavailable(f"public key {path}: cannot be written: {cause.strerror or cause}") from cause
