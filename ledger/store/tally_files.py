"""The tallies of intake in a home, `HOME/intake/<partition>.json`: written by forecasters, read by everything that reports.

They say how a run is doing and are no record: losing them loses nothing. A reader sees the old or the new file.
"""

import os
from pathlib import Path

from schemas.errors import DamagedError
from schemas.events.tally import IntakeTally, tally_from_json

FOLDER = "intake"


def write_tally(home: Path, tally: IntakeTally) -> None:
    """Replace the file of a partition; not durable, because the next one follows within a second.

    Raises:
        OSError: the file cannot be written.
    """
    folder = home / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{tally.partition}.{os.getpid()}.tmp"
    temporary.write_text(tally.to_json(), "utf-8")
    temporary.replace(folder / f"{tally.partition}.json")


def read_tallies(home: Path) -> list[IntakeTally]:
    """The tallies of the last run by partition; without those that cannot be read."""
    found = []
    try:
        paths = [path for path in (home / FOLDER).iterdir() if path.suffix == ".json" and path.stem.isdecimal()]
    except OSError:
        return []
    for path in paths:
        try:
            found.append(tally_from_json(path.read_text("utf-8"), where=str(path)))
        except (OSError, UnicodeDecodeError, DamagedError):
            continue
    return sorted(found, key=lambda tally: tally.partition)


def clear_tallies(home: Path) -> None:
    """Remove the tallies of an earlier run, which may have read other partitions."""
    for path in (home / FOLDER).glob("*.json"):
        path.unlink(missing_ok=True)
