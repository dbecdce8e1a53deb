"""Which home signs the ledger of a database: recorded in the database, so that another home with another key is refused.

Without it two homes could append to one database in turn, each with checkpoints that the other one's readers refuse.
"""

from collections.abc import Callable

from ledger.store import statements
from ledger.store.checkpoint_files import CheckpointFiles
from ledger.store.statements import Owner
from ledger.store.tables import Databases, display_name, reading, writing
from schemas.errors import BootRefused

WAY_OUT = (
    "Nothing was appended. One database holds the ledger of one home: set RIDECAST_DATABASE of this home to another database, or "
    "copy keys/ and checkpoints/ of the other home into this one to take its place. If the other home is lost for good, run "
    "`ridecast ledger continue` to record the loss and continue its logs here"
)


class Ownership:
    """The owner of a ledger's databases.

    Args:
        stores: The databases.
        files: The checkpoint files and the key of this home.
        logs: Returns the names of the logs that have entries.
    """

    def __init__(self, stores: Databases, files: CheckpointFiles, logs: Callable[[], tuple[str, ...]]) -> None:
        self._stores, self._files, self._logs = stores, files, logs

    def recorded(self, log: str) -> Owner | None:
        """Who signs the database of a log, or that of another log of this ledger; None if no owner is recorded yet."""
        for name in (log, *self._stores.names()):
            engine = self._stores.engine_of(name, create=False)
            if engine is not None:
                with reading(engine, name) as connection:
                    if (found := statements.owner(connection)) is not None:
                        return found
        return None

    def is_anothers(self, log: str) -> bool:
        """Whether a log is in a database that another home signed, as far as is known, and this home signed none of its logs."""
        owner = self.recorded(log)
        return (owner is None or owner.key != self._mine(log).key) and not self._files.logs()

    def require(self, log: str) -> None:
        """Return if this home signs the database, or nobody does.

        Raises:
            BootRefused: another home does, or this home cannot be the one that did.
        """
        owner, mine = self.recorded(log), self._mine(log)
        if owner is not None and owner.key != mine.key:
            raise BootRefused(
                f"{display_name(log)}: its database is signed with the key {owner.key} (checkpoints in {owner.checkpoints}), this home "
                f"signs with {mine.key}. {WAY_OUT}"
            )
        # Databases of earlier releases record no owner. A home that signed one has checkpoints.
        if owner is None and not self._files.logs() and self._logs():
            raise BootRefused(f"{display_name(log)}: its database has entries, but this home has no checkpoint of any log. {WAY_OUT}")

    def claim(self, log: str) -> None:
        """Become the owner of a log's database, which is created if needed, unless one is recorded.

        Raises:
            BootRefused: another home was faster.
        """
        if self.recorded(log) is None:
            self._write(log, replace=False)
            self.require(log)

    def take_over(self, log: str) -> None:
        """Become the owner of a log's database, whoever was."""
        self._write(log, replace=True)

    def _write(self, log: str, *, replace: bool) -> None:
        engine = self._stores.engine_of(log, create=True)
        assert engine is not None  # create=True
        with writing(engine, log) as connection:
            statements.own(connection, self._mine(log), replace=replace)

    def _mine(self, log: str) -> Owner:
        return Owner(self._files.signer(log).verifier.text(), str(self._files.folder.absolute()))
