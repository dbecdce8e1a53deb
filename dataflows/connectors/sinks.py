"""Sinks of forecasts: a Kafka topic, or a directory of Avro files; each log entry exactly once.

A sink stores its cursor together with the forecasts, so that neither a crash nor a second publisher
can separate them. `dataflows.stream.publish` decides what the messages contain.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol
from zlib import compressobj

import fastavro
import numpy as np

from dataflows.connectors.kafka.forecasts import KafkaForecasts
from dataflows.connectors.rejects import FileRejects, KafkaRejects, RejectSink
from ledger.store.files import write_durably
from schemas.encoding.avro_files import head, released
from schemas.encoding.varints import encode_longs
from schemas.errors import ContractError, StoreUnavailable
from schemas.forecasts.messages import DEMAND_FORECAST

KEEP_ISSUES = 288  # files of a log; each has all cells, so older ones are only history, which the ledger has too


class ForecastMessage(NamedTuple):
    """One message about one cell.

    Attributes:
        key: "region/cell", and "/measure" where the measure is not the region's first.
        value: A `DemandForecast`, single-object encoding; None if the cell retires.
    """

    key: bytes
    value: bytes | None


class Cursors(Protocol):
    """How far logs are published somewhere."""

    @property
    def place(self) -> str:
        """Where it stores them, for messages."""
        ...

    def cursor(self, log: str) -> int:
        """Index of the first entry of a log that is not published yet; 0 if none is.

        It goes back when what was published is no longer there, because a topic was created again or a directory was deleted.

        Raises:
            StoreUnavailable: the sink cannot be read.
        """
        ...

    def root(self, log: str) -> bytes:
        """Root of the log's tree at the cursor; empty if none was given, or if nothing is published yet.

        Raises:
            StoreUnavailable: the sink cannot be read.
        """
        ...


class ForecastSink(Cursors, Protocol):
    """Stores each forecast exactly once."""

    def publish(self, messages: Sequence[tuple[bytes, bytes | None]], log: str, next_index: int, root: bytes = b"") -> bool:
        """Make the messages visible and move the cursor, both or neither; durable when it returns.

        Args:
            messages: Keys and values, see `ForecastMessage`.
            log: Their log.
            next_index: The cursor after this call.
            root: Of the log at that size, so that the cursor tells of which ledger it is.
        Returns:
            False if nothing was written: the cursor is already there, or it went back.
        Raises:
            Fenced: another publisher has taken over; stop.
            StoreUnavailable: the sink did not confirm in time. The cursor shows whether the messages are visible.
        """
        ...

    def close(self) -> None:
        """Close connections and files."""
        ...


class FileForecasts:
    """One Avro container for each published entry, `DIR/<log, / as __>/<20-digit index>.avro`.

    The container has `DemandForecast` records; its header lists retired cells under `ridecast.retired`.
    A file appears complete or not at all, and its name is the cursor.
    """

    def __init__(self, folder: Path, keep_issues: int = KEEP_ISSUES) -> None:
        self._folder = folder
        self._keep_issues = keep_issues

    @property
    def place(self) -> str:
        return str(self._folder)

    def cursor(self, log: str) -> int:
        names = self._names(log)
        return int(names[-1].removesuffix(".avro")) + 1 if names else 0

    def root(self, log: str) -> bytes:
        names = self._names(log)
        if not names:
            return b""
        path = self._at(log) / names[-1]
        try:
            with path.open("rb") as file:
                return bytes.fromhex(fastavro.reader(file).metadata.get("ridecast.root", ""))
        except (OSError, ValueError, EOFError) as cause:
            raise StoreUnavailable(f"forecast files: {path}: {cause}", remedy="delete it: it is published again") from cause

    def publish(self, messages: Sequence[tuple[bytes, bytes | None]], log: str, next_index: int, root: bytes = b"") -> bool:
        names = self._names(log)
        name = f"{next_index - 1:020d}.avro"
        if names and name <= names[-1]:
            return False
        folder = self._at(log)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_durably(folder / name, _container(messages, log, next_index, root))
            for old in [*names, name][: -self._keep_issues]:
                (folder / old).unlink(missing_ok=True)
        except OSError as cause:
            raise StoreUnavailable(f"forecast files: {folder / name}: {cause.strerror or cause}") from cause
        return True

    def close(self) -> None:
        pass

    def _at(self, log: str) -> Path:
        return self._folder / log.replace("/", "__")

    def _names(self, log: str) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self._at(log)) if name.endswith(".avro"))
        except FileNotFoundError:
            return []
        except OSError as cause:
            raise StoreUnavailable(f"forecast files: {self._at(log)}: {cause.strerror or cause}") from cause


def _container(messages: Sequence[tuple[bytes, bytes | None]], log: str, next_index: int, root: bytes) -> bytes:
    """An Avro object container of encoded messages: their bodies are only concatenated.

    Source:
        Avro 1.12 specification, "Object Container Files".
    """
    first = head(DEMAND_FORECAST)
    bodies = []
    for key, value in messages:
        if value is not None:
            if not value.startswith(first):
                raise ContractError(f"forecast of {key!r}: expected {DEMAND_FORECAST}, got {value[:10].hex()}")
            bodies.append(value[len(first) :])
    meta = {
        "avro.schema": json.dumps(released(DEMAND_FORECAST)).encode(),
        "avro.codec": b"deflate",
        "ridecast.log": log.encode(),
        "ridecast.next_index": str(next_index).encode(),
        **({"ridecast.root": root.hex().encode()} if root else {}),
        "ridecast.retired": json.dumps([key.decode() for key, value in messages if value is None]).encode(),
    }
    named = b"".join(_sized(name.encode()) + _sized(value) for name, value in meta.items())
    block = _deflate(b"".join(bodies))
    # The same content gives the same file: the sync marker is a digest, not a random number.
    sync = hashlib.blake2b(named + block, digest_size=16).digest()
    parts = [b"Obj\x01", _long(len(meta)), named, _long(0), sync]
    if bodies:
        parts += [_long(len(bodies)), _sized(block), sync]
    return b"".join(parts)


def _deflate(data: bytes) -> bytes:
    packer = compressobj(level=1, wbits=-15)  # Avro requires RFC 1951 data without a header
    return packer.compress(data) + packer.flush()


def _long(value: int) -> bytes:
    return encode_longs(np.array([value]))[0].tobytes()


def _sized(data: bytes) -> bytes:
    return _long(len(data)) + data


__all__ = [
    "FileForecasts",
    "FileRejects",
    "ForecastMessage",
    "ForecastSink",
    "KafkaForecasts",
    "KafkaRejects",
    "RejectSink",
]
