"""What the checkpoint files of an instance say, and whose word they are: signed notes, one file for each log.

A file is believed when it is a checkpoint of this very log and instance, signed with the key that is known here.
When checkpoints are written, and what follows from one that disagrees with the database, is in `ledger.store.guard`.
"""

from collections.abc import Callable
from pathlib import Path

from ledger.formats.checkpoint import Checkpoint, origin_of, parse_checkpoint
from ledger.formats.keys import Signer, Verifier
from ledger.formats.note import open_note, parse_note, sign_note
from ledger.store.files import write_durably
from ledger.store.tables import display_name, file_stem, translated
from schemas.errors import BootRefused, DamagedError

# Who writes signs. Who reads gives a way to find the public key, since its file may come later than the reader.
Key = Signer | Callable[[], Verifier | None]

WAY_OUT = (
    "Nothing was appended. Put back the database, checkpoint file or key that belong together; if what is missing is lost "
    "for good, `ridecast ledger continue` records that and goes on"
)


class CheckpointFiles:
    """The files of one folder.

    Args:
        folder: Where they lie.
        instance: Part of every origin.
        key: What signs them, or what finds the key that checks them.
    """

    def __init__(self, folder: Path, instance: str, key: Key) -> None:
        self.folder = folder
        self.instance = instance
        self._key = key
        self._opened: dict[Path, tuple[bytes, str, Checkpoint]] = {}  # A signature is checked once, not at each look.

    def logs(self) -> set[str]:
        """Names of the logs that have a checkpoint file."""
        # With a dot in its stem it is evidence or a witness's copy.
        return {path.stem.replace("__", "/", 1) for path in self.folder.glob("*.txt") if "." not in path.stem}

    def path(self, log: str) -> Path:
        """Where the checkpoint of a log lies."""
        return self.folder / f"{file_stem(log)}.txt"

    def evidence_path(self, log: str, number: int) -> Path:
        """Where the checkpoint is kept that the continuation of this number set aside."""
        return self.folder / f"{file_stem(log)}.{number}.txt"

    def cosigned_path(self, log: str) -> Path:
        """Where the newest checkpoint of a log lies that witnesses cosigned."""
        return self.folder / f"{file_stem(log)}.cosigned.txt"

    def read(self, log: str, number: int, *, cosigned: bool = False) -> tuple[str, Checkpoint] | None:
        """A log's signed note and what it says, if there is a file.

        Args:
            log: Its name.
            number: Of its origin, as the log itself says.
            cosigned: The witnesses' copy instead.
        Raises:
            BootRefused: it is no checkpoint, not signed by the known key, or belongs to another log or instance.
            StoreUnavailable: it cannot be read.
        """
        path = self.cosigned_path(log) if cosigned else self.path(log)
        with translated(str(path)):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                return None
        origin = origin_of(self.instance, log, number)
        held = self._opened.get(path)
        if held is None or held[:2] != (data, origin):
            held = self._opened[path] = data, origin, self._believed(log, path.name, data, origin)
        return data.decode("utf-8"), held[2]

    def write(self, log: str, number: int, size: int, root: bytes) -> None:
        """Sign a checkpoint and replace the file.

        Raises:
            BootRefused: only the public key is known here.
            OSError: as the disk says.
        """
        checkpoint = Checkpoint(origin_of(self.instance, log, number), size, root)
        write_durably(self.path(log), sign_note(checkpoint.body(), self.signer(log)).encode("utf-8"))

    def signer(self, log: str) -> Signer:
        """The private key; raises BootRefused when this ledger was opened without it."""
        if not isinstance(self._key, Signer):
            known = self._key()
            raise BootRefused(
                f"{display_name(log)}: expected the private key {known.text() if known else 'of this instance'} to sign its checkpoint "
                f"with, got none. {WAY_OUT}, after `ridecast ledger key new`"
            )
        return self._key

    def _believed(self, log: str, name: str, data: bytes, origin: str) -> Checkpoint:
        try:
            text = data.decode("utf-8")
            found = parse_checkpoint(text)
            signers = ", ".join(f"{made.name}+{made.key_id.hex()}" for made in parse_note(text)[1]) if found.signatures else ""
        except (DamagedError, UnicodeDecodeError) as cause:
            raise BootRefused(f"{display_name(log)}: {name} cannot be read as a checkpoint ({cause}). {WAY_OUT}") from cause
        if found.origin != origin:
            raise BootRefused(
                f"{display_name(log)}: {name} belongs to another log: expected origin {origin}, got {found.origin}, "
                f"signed by {signers or 'nobody'}. {WAY_OUT}"
            )
        verifier = self._key.verifier if isinstance(self._key, Signer) else self._key()
        if verifier is None:
            raise BootRefused(
                f"{display_name(log)}: no public key is known here to check {name} with, which {signers or 'nobody'} signed. "
                f"Put keys/checkpoint.pub back into home. {WAY_OUT}"
            )
        wanted = f"{verifier.name}+{verifier.key_id.hex()}"
        if not found.signatures:
            raise BootRefused(f"{display_name(log)}: {name} is not signed: expected a signature of {wanted}. {WAY_OUT}")
        try:
            open_note(text, (verifier,))
        except DamagedError as cause:
            raise BootRefused(
                f"{display_name(log)}: {name}: expected a good signature of {wanted}, found {signers} ({cause}). {WAY_OUT}"
            ) from cause
        return found
