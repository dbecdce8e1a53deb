"""Where `ridecast simulate --supply` writes the states of drivers: event files of their own, keyed by driver."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dataflows.connectors.delivery import RideSink
from dataflows.connectors.files.ridelog import PARTITIONS
from ridecast import ride_output
from schemas.errors import UsageError
from schemas.events.drivers import DriverColumns, encode_driver_states
from schemas.events.partitioner import partition_of

US_PER_MS = 1_000


class SupplySink:
    """Appends states of drivers to a directory of event files; without one, drops them."""

    def __init__(self, sink: RideSink | None) -> None:
        self._sink = sink
        self.written = 0

    def append(self, columns: DriverColumns) -> None:
        """Add states, none earlier than those before; each is logged when it begins."""
        if self._sink is None or not len(columns):
            return
        keys, values = columns.keys(), encode_driver_states(columns)
        places, times = partition_of(keys, PARTITIONS), -(-columns.at_us // US_PER_MS) * US_PER_MS
        for partition in range(PARTITIONS):
            rows = np.flatnonzero(places == partition)
            some = rows.tolist()
            self._sink.append(partition, times[rows], [keys[row] for row in some], [values[row] for row in some])
        self.written += len(columns)


@contextmanager
def opened(supply: Path | None, origin: dict[str, object]) -> Iterator[SupplySink]:
    """The sink of a directory, which appears when the block ends without error; one that drops all, for no directory."""
    if supply is None:
        yield SupplySink(None)
        return
    with ride_output.directory(supply, _origin(origin), "--supply") as place:
        yield SupplySink(place.sink)


def check(out: Path | None, supply: Path | None, origin: dict[str, object]) -> None:
    """Check that both directories can be written, or that both are there.

    Raises:
        UsageError: one is within the other, one holds something else, or only one is there already.
    """
    if supply is None:
        return
    there = ride_output.is_done(supply, _origin(origin), "--supply")
    if out is None:
        if there:
            raise UsageError(f"--supply: expected a new or empty directory, got {str(supply)!r}", remedy="remove it, or give another one")
        return
    inner, outer = supply.resolve(), out.resolve()
    if inner == outer or inner in outer.parents or outer in inner.parents:
        raise UsageError(f"--supply: expected a directory outside of --out, got {str(supply)!r}", remedy=f"give one beside {str(out)!r}")
    if there != ride_output.is_done(out, origin):
        old, new = (supply, out) if there else (out, supply)
        raise UsageError(
            f"--supply: expected rides and states of drivers of one simulation, got {str(old)!r} without {str(new)!r}",
            remedy=f"remove {str(old)!r}, or give two new directories",
        )


def _origin(origin: dict[str, object]) -> dict[str, object]:
    return {**origin, "holds": "states of drivers"}
