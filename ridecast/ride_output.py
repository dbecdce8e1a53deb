"""Where `import` and `simulate` write their rides: a new directory, written completely or not at all, or a Kafka topic.

A directory is written under another name and renamed when it is complete, so that nothing reads a partial
import. Its `origin.json` records what it was made from: running again with the same input changes nothing.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dataflows.connectors.delivery import RideSink
from dataflows.connectors.files.ridelog import PARTITIONS, RideLogWriter
from dataflows.connectors.sources import ORIGIN_FILE
from schemas.configuration.addresses import masked
from schemas.errors import StoreUnavailable, UsageError

if TYPE_CHECKING:
    from dataflows.connectors.kafka.cluster import Brokers

REJECTS_FILE = "import_rejects.csv"


class OtherOrigin(UsageError):
    """A directory holds rides made from other input."""


@dataclass(frozen=True, slots=True)
class RideOutput:
    """A directory or topic that is being filled with rides.

    Attributes:
        sink: Receives the rides.
        folder: Where other files are written; the current directory for a topic.
    """

    sink: RideSink
    folder: Path


def is_done(out: Path, origin: dict[str, object], option: str = "--out") -> bool:
    """Whether the directory that an option names already holds rides of that origin.

    Raises:
        UsageError: it holds something else.
    """
    if not out.exists():
        return False
    if not out.is_dir():
        raise UsageError(f"{option}: expected a directory, got the file {str(out)!r}")
    if not any(out.iterdir()):
        return False
    try:
        found = json.loads((out / ORIGIN_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        found = None
    if found != json.loads(json.dumps(origin)):
        message = f"{option}: expected a new or empty directory, got {str(out)!r}, which "
        raise UsageError(f"{message}is not empty") if found is None else OtherOrigin(f"{message}holds rides of another origin")
    return True


@contextmanager
def directory(out: Path, origin: dict[str, object], option: str = "--out") -> Iterator[RideOutput]:
    """Fill a directory that does not exist yet, or is empty; it appears when the block ends without error.

    Raises:
        UsageError: the directory holds something.
        StoreUnavailable: the disk refuses.
    """
    is_done(out, origin, option)
    out = out.resolve()  # `.` has no name to append `.partial` to.
    partial = out.with_name(out.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)  # of an earlier attempt that was interrupted
        with RideLogWriter(partial, PARTITIONS) as log:
            yield RideOutput(log, partial)
        (partial / ORIGIN_FILE).write_text(json.dumps(origin, indent=2, sort_keys=True) + "\n", "utf-8")
        if out.exists():
            out.rmdir()
        os.rename(partial, out)
    except OSError as cause:
        raise StoreUnavailable(f"{option}: cannot write to {str(out)!r}: {cause.strerror}") from cause
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def topic(brokers: "Brokers", name: str, *, append_to: bool) -> Iterator[RideOutput]:
    """Fill a topic; every event is confirmed when the block ends without error."""
    from dataflows.connectors.kafka.producer import KafkaRideSink

    sink = KafkaRideSink(brokers, name, PARTITIONS, append_to=append_to)
    yield RideOutput(sink, Path())
    sink.flush()


def check_choice(out: str | None, kafka: str | None) -> None:
    """Check that exactly one of --out and --kafka is given, and that --kafka is an address.

    Raises:
        UsageError: neither or both are given, or the address is malformed.
    """
    if (out is None) == (kafka is None):
        raise UsageError(f"expected one of --out DIR and --kafka HOST:PORT, got {'neither' if out is None else 'both'}")
    if kafka is not None and not re.fullmatch(r"[^\s/@]+:\d{1,5}", kafka):
        raise UsageError(f"--kafka: expected HOST:PORT, got {(masked(kafka) if '@' in kafka else kafka)!r}")
