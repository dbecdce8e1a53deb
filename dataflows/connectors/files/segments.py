"""The files of one partition of a ride log: their names, and the offsets in each of their blocks."""

import os
import re
from pathlib import Path

from dataflows.connectors.files.containers import Block, Container, scan_blocks
from schemas.errors import DamagedError, StoreUnavailable, UsageError

SUFFIX = ".avro"


def segment_name(first_offset: int) -> str:
    """File name of the segment that starts at an offset.

    >>> segment_name(812)
    '00000000000000000812.avro'
    """
    return f"{first_offset:020d}{SUFFIX}"


def partitions(directory: Path | str) -> tuple[int, ...]:
    """Numbers of the partitions of a log, ascending.

    Raises:
        UsageError: no such directory, or it has no ride log.
    """
    root = Path(directory)
    if not root.is_dir():
        raise UsageError(f"ride log: expected a directory, got {str(root)!r}, which {'is a file' if root.exists() else 'does not exist'}")
    found = sorted(int(item.name) for item in root.iterdir() if item.is_dir() and re.fullmatch(r"0|[1-9]\d{0,3}", item.name))
    if not found:
        raise UsageError(f"ride log: expected folders 0, 1, ... of Avro files in {str(root)!r}, got none")
    if found != list(range(len(found))):
        raise UsageError(f"ride log: expected folders 0 to {len(found) - 1} in {str(root)!r}, got {found}")
    return tuple(found)


class Segment:
    """One file: the positions and offsets of its complete blocks."""

    def __init__(self, first: int, container: Container) -> None:
        self.first = self.end = first
        self.container = container
        self.firsts: list[int] = []
        self.blocks: list[Block] = []
        self.scanned_bytes = container.header_bytes

    def grow(self, *, final: bool) -> None:
        """Add newly written blocks; a partial last block is allowed unless the file is final."""
        for block in scan_blocks(self.container, self.scanned_bytes):
            self.firsts.append(self.end)
            self.blocks.append(block)
            self.end += block.entries
            self.scanned_bytes = block.stop
        size_bytes = self.container.path.stat().st_size
        if final and self.scanned_bytes != size_bytes:
            raise DamagedError(
                f"{self.container.path}: expected a complete block at byte {self.scanned_bytes}, got a file of {size_bytes} bytes"
            )


def segment_firsts(folder: Path) -> list[int]:
    try:
        names = os.listdir(folder)
    except OSError as cause:
        raise StoreUnavailable(f"ride log: cannot list {folder}: {cause.strerror}") from cause
    return sorted(int(name.removesuffix(SUFFIX)) for name in names if re.fullmatch(rf"\d{{20}}{re.escape(SUFFIX)}", name))
