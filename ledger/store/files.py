"""How a file is replaced so that a crash leaves the old one or the new one, never a part."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_ident
from time import sleep
from typing import IO

LOOK_AGAIN_S = 0.02  # while another holds a lock; what is done under one takes a few milliseconds


def write_durably(path: Path, data: bytes) -> None:
    """Write a file whole: beside, flushed, renamed, and the rename flushed.

    Raises:
        OSError: as the disk says.
    """
    # Two writers of one path must not share the temporary file, or one would rename the other's half.
    beside = path.with_name(f".{path.name}.{os.getpid()}-{get_ident()}.tmp")
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's own entries, so that what was created or renamed in it stays."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, durably."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


@contextmanager
def locked(path: Path, patience_s: float | None = None) -> Iterator[None]:
    """Hold a lock that other processes and threads respect; it ends with the process at the latest.

    Args:
        path: Of the file that is the lock.
        patience_s: How long to wait for another holder, about; for ever without it.
    Raises:
        TimeoutError: somebody held it all that time: a process that was stopped, perhaps.
    """
    with path.open("a") as file:
        if patience_s is None:
            fcntl.flock(file, fcntl.LOCK_EX)
        else:
            _lock_within(file, path, patience_s)
        yield


class Held(Exception):
    """Another process holds what can be held once; the text is what that one said."""


@contextmanager
def held_alone(path: Path, who: str) -> Iterator[int]:
    """Hold a file that one process at a time may hold, and say in it who does.

    Args:
        path: Of the file; it stays, and means nothing when nobody holds it.
        who: What others are told.
    Yields:
        Its descriptor: processes that inherit it hold it too, and the last of them that ends lets go.
    Raises:
        Held: somebody else holds it.
        OSError: as the disk says.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Held(os.pread(handle, 200, 0).decode("utf-8", "replace")) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, who.encode(), 0)
        yield handle
    finally:
        os.close(handle)


def _lock_within(file: IO[str], path: Path, patience_s: float) -> None:
    for _ in range(max(1, round(patience_s / LOOK_AGAIN_S))):
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        sleep(LOOK_AGAIN_S)
    raise TimeoutError(f"another process has held {path.name} for {patience_s:g} s: is one stopped or hung? End it, and try again")
