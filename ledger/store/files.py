"""Crash-safe file replacement, which leaves the old file or the new one but never a part, and file locks."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_ident
from time import sleep
from typing import IO

POLL_S = 0.02  # polling interval for a lock; locks are held for a few milliseconds


def write_durably(path: Path, data: bytes) -> None:
    """Write a file atomically: write a temporary file, flush it, rename it, and flush the rename.

    Raises:
        OSError: the file cannot be written.
    """
    _write(path, data, flush=True)
    sync_folder(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file atomically, without flushing it: a process that reads it finds all of it, but a power failure may damage it.

    Raises:
        OSError: the file cannot be written.
    """
    _write(path, data, flush=False)


def write_given(path: Path, data: bytes) -> None:
    """Write a file that a person has named: a regular file durably; a device, a pipe or what a link names keeps its place.

    Raises:
        OSError: the file cannot be written.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        path.write_bytes(data)
    else:
        write_durably(path, data)


def _write(path: Path, data: bytes, *, flush: bool) -> None:
    # Two writers of one path must not share the temporary file: one would rename the other's incomplete file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{get_ident()}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest) :]
            if flush:
                os.fsync(handle)
        finally:
            os.close(handle)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Flush a folder's directory entries, so that files created or renamed in it survive a crash."""
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


def open_to_others(folder: Path) -> str:
    """What to tell a person about a folder that other users can read; empty if they cannot, or it does not exist."""
    try:
        mode = folder.stat().st_mode & 0o777
    except OSError:
        return ""
    if not mode & 0o077:
        return ""
    return f"{folder}: other users of this machine can read it (mode {mode:o}); if they should not, run `chmod -R go= {folder}`"


@contextmanager
def locked(path: Path, patience_s: float | None = None) -> Iterator[None]:
    """Hold a lock between processes and threads; it is released at the latest when the process ends.

    Args:
        path: The lock file.
        patience_s: Approximate time to wait for another holder; forever if None.
    Raises:
        TimeoutError: another process held the lock all that time; it may be stopped or hung.
    """
    with path.open("a") as file:
        if patience_s is None:
            fcntl.flock(file, fcntl.LOCK_EX)
        else:
            _lock_within(file, path, patience_s)
        yield


class Held(Exception):
    """Another process holds the file; the text is that process's description of itself."""


@contextmanager
def held_alone(path: Path, who: str) -> Iterator[int]:
    """Hold a file that only one process may hold at a time, and write the holder's description into it.

    Args:
        path: The file; it is not deleted, and means nothing while no process holds it.
        who: Description of the holder, shown to other processes.
    Yields:
        Its descriptor: processes that inherit it hold it too; it is released when the last of them ends.
    Raises:
        Held: another process holds it.
        OSError: the file cannot be opened or written.
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


def held_by(path: Path) -> str | None:
    """The holder's description of a file for `held_alone`; None if no process holds it.

    Raises:
        OSError: the file cannot be opened.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(handle, 200, 0).decode("utf-8", "replace")
    finally:
        os.close(handle)
    return None


def _lock_within(file: IO[str], path: Path, patience_s: float) -> None:
    for _ in range(max(1, round(patience_s / POLL_S))):
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        sleep(POLL_S)
    raise TimeoutError(
        f"another process has held {path.name} for {patience_s:g} s: stop the process if it is suspended or hung, then try again"
    )
