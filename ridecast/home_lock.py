"""The lock of a home: one supervisor with its children at a time, however the previous one ended.

Two forecasters on one ledger would refuse each other's appends, and two publishers would conflict over files.
Commands that read a home, train, or maintain the ledger do not take the lock: they work beside a run.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ledger.store.files import Held, held_alone, held_by, open_to_others
from ridecast.children import STOP_WITHIN_S
from schemas.errors import StoreUnavailable

log = logging.getLogger(__name__)

LOCK_FILE = "run.lock"
LOOK_AGAIN_S = 0.1


class HomeInUse(StoreUnavailable):
    """Another run uses the home."""


@contextmanager
def lock_home(home: Path, command: str, patience_s: float = STOP_WITHIN_S) -> Iterator[int]:
    """Lock a home; it is released when this process and all that inherit the descriptor have ended.

    Args:
        home: Created if it is missing.
        command: Shown to other processes that want the lock, such as `ridecast run`.
        patience_s: How long to wait for the children of a dead supervisor to exit.
    Yields:
        The descriptor that children are to inherit.
    Raises:
        HomeInUse: another run uses it.
        StoreUnavailable: the disk refuses.
    """
    give_up_at = time.monotonic() + patience_s
    checked = False
    with ExitStack() as stack:
        while True:
            try:
                home.mkdir(parents=True, exist_ok=True)
                if not checked and (warning := open_to_others(home)):
                    log.warning("%s", warning)
                checked = True
                handle = stack.enter_context(held_alone(home / LOCK_FILE, f"{os.getpid()} {command}"))
                break
            except Held as held:
                pid, _, other = str(held).partition(" ")
                if _lives(pid) or time.monotonic() > give_up_at:
                    raise HomeInUse(
                        f"home {home} is in use by another `{other}` (pid {pid})", remedy="stop it, or use another --home"
                    ) from None
            except OSError as cause:
                raise StoreUnavailable(f"home {home}: {cause.strerror}") from cause
            time.sleep(LOOK_AGAIN_S)
        yield handle


def holder_of(home: Path) -> int | None:
    """Process id of the run or demo that uses a home, for messages; None if none is found on this machine."""
    try:
        held = held_by(home / LOCK_FILE)
    except OSError:
        return None
    if held is None:  # The file still names the last holder, whose process id may be another process's by now.
        return None
    pid = held.partition(" ")[0]
    return int(pid) if _lives(pid) else None


def _lives(pid: str) -> bool:
    """Whether a process exists."""
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass
    return True
