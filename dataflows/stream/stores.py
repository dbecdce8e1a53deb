"""The composition root of the dataflows: opens stores, sources and sinks from the settings."""

import os
import platform
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from dataflows.connectors.sources import open_rides
from dataflows.stream.environment import environment_digest
from dataflows.stream.signing import reading_key, writing_key
from ledger.formats.keys import Verifier
from ledger.store.blobs import Blobs
from ledger.store.limits import writing_limits
from ledger.store.log import Ledger
from ledger.store.opening import open_ledger
from schemas.configuration.settings import Settings
from schemas.errors import StoreUnavailable

HOLD_PATIENCE_S = 30.0  # a process that was told to stop ends within 20 s, and a machine that vanished is noticed within 25 s


@dataclass(slots=True)
class Stores:
    """Open stores of one process."""

    settings: Settings
    ledger: Ledger
    blobs: Blobs
    environment: bytes
    runs: list[str] = field(default_factory=list)  # ids of the runs that `start_region` recorded, for `record_stops`
    _held: dict[str, ExitStack] = field(default_factory=dict)  # per log that this process is the only one to forecast into

    def hold(self, log: str) -> None:
        """Be the only process that forecasts into a log, until the stores are closed.

        Raises:
            BootRefused: another process does; the text says which.
        """
        if log not in self._held:
            who = f"{platform.node()} process {os.getpid()}"
            with ExitStack() as held:
                held.enter_context(self.ledger.held(log, who, HOLD_PATIENCE_S))
                self._held[log] = held.pop_all()

    def close(self) -> None:
        """Write pending data and close the stores."""
        with ExitStack() as last:
            last.callback(self.blobs.close)
            last.callback(self.ledger.close)
            while self._held:
                last.push(self._held.popitem()[1])


def open_stores(settings: Settings, *, reading: bool = False, verifier: Verifier | None = None) -> Stores:
    """Open the ledger and the blobs that the settings name.

    Args:
        settings: Settings of the home.
        reading: Open for reading only: the private key is neither opened nor created.
        verifier: Checks the checkpoints instead of the home's public key; for reading only.
    Raises:
        ConfigError: the private key cannot be used, see `dataflows.stream.signing`.
        StoreUnavailable: the home or the database does not open.
    """
    if not reading:  # A reader creates no folder, even if the home is misspelled.
        try:
            settings.home.mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            raise StoreUnavailable(f"home {settings.home}: expected a directory: {cause.strerror}") from cause
    key = writing_key(settings) if not reading else reading_key(settings) if verifier is None else lambda: verifier
    ledger, blobs = open_ledger(
        settings.home,
        settings.database,
        settings.archive,
        instance=settings.instance,
        clock=time.monotonic,
        signer=key,
        limits=writing_limits(settings),
    )
    return Stores(settings, ledger, blobs, environment_digest())


__all__ = ["Stores", "open_stores", "open_rides"]
