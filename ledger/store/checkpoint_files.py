"""The checkpoint files of an instance: signed notes, one file for each log.

A file is trusted if it is a checkpoint of this log and instance, signed with the known key. When checkpoints are written,
and what happens if one contradicts the database, is in `ledger.store.guard`.
"""

from collections.abc import Callable
from pathlib import Path

from ledger.formats.checkpoint import Checkpoint, origin_of, parse_checkpoint
from ledger.formats.keys import Signer, Verifier
from ledger.formats.note import open_note, parse_note, sign_note
from ledger.store.files import write_durably
from ledger.store.tables import display_name, file_stem, translated
from schemas.errors import BootRefused, DamagedError

# Writers pass the private key. Readers pass a function that finds the public key, whose file may be created later.
Key = Signer | Callable[[], Verifier | None]

WAY_OUT = (
    "Nothing was appended. Restore the database, checkpoint file or key so that all three match; if one of them is lost "
    "for good, run `ridecast ledger continue` to record the loss and continue the log"
)


class CheckpointFiles:
    """The checkpoint files in one folder.

    Args:
        folder: The folder.
        instance: Part of every origin.
        key: The private key, or a function that finds the public key.
    """

    def __init__(self, folder: Path, instance: str, key: Key) -> None:
        self.folder = folder
        self.instance = instance
        self._key = key
        self._opened: dict[Path, tuple[bytes, str, Checkpoint]] = {}  # caches signature checks

    def logs(self) -> set[str]:
        """Names of the logs that have a checkpoint file."""
        # A dot in the stem marks evidence or a cosigned copy.
        return {path.stem.replace("__", "/", 1) for path in self.folder.glob("*.txt") if "." not in path.stem}

    def path(self, log: str) -> Path:
        """Path of a log's checkpoint."""
        return self.folder / f"{file_stem(log)}.txt"

    def evidence_path(self, log: str, number: int) -> Path:
        """Path of the old checkpoint that the continuation with this number replaced."""
        return self.folder / f"{file_stem(log)}.{number}.txt"

    def cosigned_path(self, log: str) -> Path:
        """Path of a log's newest cosigned checkpoint."""
        return self.folder / f"{file_stem(log)}.cosigned.txt"

    def read(self, log: str, number: int, *, cosigned: bool = False) -> tuple[str, Checkpoint] | None:
        """A log's signed note and its checkpoint; None if there is no file.

        Args:
            log: Name of the log.
            number: Number of its origin, as recorded in the log.
            cosigned: Read the cosigned copy instead.
        Raises:
            BootRefused: it is not a checkpoint, is not signed by the known key, or belongs to another log or instance.
            StoreUnavailable: it cannot be read.
        """
        path = self.cosigned_path(log) if cosigned else self.path(log)
        with translated(str(path)):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                return None
        origin = origin_of(self.instance, log, number)
        cached = self._opened.get(path)
        if cached is None or cached[:2] != (data, origin):
            cached = self._opened[path] = data, origin, self._verified(log, path.name, data, origin)
        return data.decode("utf-8"), cached[2]

    def write(self, log: str, number: int, size: int, root: bytes) -> None:
        """Sign a checkpoint and replace the file.

        Raises:
            BootRefused: this ledger was opened without the private key.
            OSError: the file cannot be written.
        """
        checkpoint = Checkpoint(origin_of(self.instance, log, number), size, root)
        write_durably(self.path(log), sign_note(checkpoint.body(), self.signer(log)).encode("utf-8"))

    def signer(self, log: str) -> Signer:
        """The private key; raises BootRefused if this ledger was opened without it."""
        if not isinstance(self._key, Signer):
            known = self._key()
            raise BootRefused(
                f"{display_name(log)}: expected the private key {known.text() if known else 'of this instance'} to sign its checkpoint, "
                f"got none. {WAY_OUT}, after `ridecast ledger key new`"
            )
        return self._key

    def _verified(self, log: str, name: str, data: bytes, origin: str) -> Checkpoint:
        try:
            text = data.decode("utf-8")
            found = parse_checkpoint(text)
            signers = ", ".join(f"{made.name}+{made.key_id.hex()}" for made in parse_note(text)[1]) if found.signatures else ""
        except (DamagedError, UnicodeDecodeError) as cause:
            raise BootRefused(f"{display_name(log)}: {name} is not a valid checkpoint ({cause}). {WAY_OUT}") from cause
        if found.origin != origin:
            raise BootRefused(
                f"{display_name(log)}: {name} belongs to another log: expected origin {origin}, got {found.origin}, "
                f"signed by {signers or 'no key'}. {WAY_OUT}"
            )
        verifier = self._key.verifier if isinstance(self._key, Signer) else self._key()
        if verifier is None:
            raise BootRefused(
                f"{display_name(log)}: the public key to verify {name} is missing (signed by {signers or 'no key'}). "
                f"Restore keys/checkpoint.pub in home. {WAY_OUT}"
            )
        expected = f"{verifier.name}+{verifier.key_id.hex()}"
        if not found.signatures:
            raise BootRefused(f"{display_name(log)}: {name} is not signed: expected a signature of {expected}. {WAY_OUT}")
        try:
            open_note(text, (verifier,))
        except DamagedError as cause:
            raise BootRefused(
                f"{display_name(log)}: {name}: expected a good signature of {expected}, got {signers} ({cause}). {WAY_OUT}"
            ) from cause
        return found
