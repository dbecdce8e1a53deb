"""Ledgers for tests, on SQLite and on PostgreSQL: to open, close and damage."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import sqlalchemy as sa

from ledger.store.checkpoint_files import Key
from ledger.store.log import Ledger, open_database, open_embedded
from ledger.store.tables import file_stem
from schemas.errors import RidecastError
from schemas.records.record_codec import encode
from schemas.records.records import SlotScored
from tests.ledger.exports import SIGNER

LOG = "region/nyc"


@dataclass
class Place:
    """One instance's ledger: embedded when there is no database address."""

    home: Path
    url: str = ""
    opened: list[Ledger] = field(default_factory=list)

    def open(self, instance: str = "local", clock: Callable[[], float] = monotonic, signer: Key = SIGNER) -> Ledger:
        """A ledger as a new process would open it; closed with the test."""
        if self.url:
            ledger = open_database(self.url, self.home / "checkpoints", instance=instance, clock=clock, signer=signer)
        else:
            ledger = open_embedded(self.home, instance=instance, clock=clock, signer=signer)
        self.opened.append(ledger)
        return ledger

    def checkpoint(self, log: str = LOG) -> Path:
        """The checkpoint file of a log."""
        return self.home / "checkpoints" / f"{file_stem(log)}.txt"

    def tamper(self, statement: str, log: str = LOG, **values: object) -> None:
        """Run one statement behind the ledger's back."""
        engine = sa.create_engine(self.url or f"sqlite:///{self.home / 'ledger' / file_stem(log)}.sqlite")
        with engine.begin() as connection:
            connection.execute(sa.text(statement), values)
        engine.dispose()

    def set_back(self, size: int, log: str = LOG) -> None:
        """Make the database an honest but older copy of itself; it has this one log."""
        older = self.open().frontier_at(log, size)
        self.close()
        self.tamper('DELETE FROM entries WHERE "index" >= :size', log, size=size)
        self.tamper('DELETE FROM nodes WHERE ("index" + 1) * (1 << level) > :size', log, size=size)
        self.tamper("UPDATE logs SET size = :size, frontier = :frontier", log, size=size, frontier=older.to_bytes())

    def close(self) -> None:
        """Close everything."""
        while self.opened:
            self.opened.pop().close()

    def abandon(self) -> None:
        """Close everything, ignoring errors that a test caused on purpose."""
        while self.opened:
            with suppress(RidecastError):
                self.opened.pop().close()


def scored(slot: int, measure: str = "pickups", size_bytes: int = 0) -> bytes:
    """A record of a slot, as bytes; longer on request."""
    return encode(SlotScored(region="nyc", measure=measure, slot=slot, settled=False, rows=())) + bytes(size_bytes)
