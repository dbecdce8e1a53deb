"""Who runs on a home: one supervisor with its children at a time, however the one before it ended.

Two forecasters on one ledger would keep refusing each other's appends, and two publishers each other's files.
Commands that look into a home, train or keep the ledger take no part in this: they work beside a run.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ledger.store.files import Held, held_alone
from ridecast.supervise import STOP_WITHIN_S
from schemas.errors import StoreUnavailable

LOCK_FILE = "run.lock"
LOOK_AGAIN_S = 0.1


class HomeInUse(StoreUnavailable):
    """Another run has the home."""


@contextmanager
def occupied(home: Path, command: str, patience_s: float = STOP_WITHIN_S) -> Iterator[int]:
    """Have a home for oneself; it is free again when this process and all that inherit the descriptor have ended.

    Args:
        home: Made if it is missing.
        command: What others are told, such as `ridecast run`.
        patience_s: How long to wait for the children of a supervisor that is dead: they end by themselves.
    Yields:
        The descriptor that children are to inherit.
    Raises:
        HomeInUse: another run has it.
        StoreUnavailable: the disk refuses.
    """
    give_up_at = time.monotonic() + patience_s
    with ExitStack() as stack:
        while True:
            try:
                home.mkdir(parents=True, exist_ok=True)
                handle = stack.enter_context(held_alone(home / LOCK_FILE, f"{os.getpid()} {command}"))
                break
            except Held as held:
                pid, _, other = str(held).partition(" ")
                if _lives(pid) or time.monotonic() > give_up_at:
                    raise HomeInUse(
                        f"home {home} is in use by another `{other}` (pid {pid})", remedy="stop that one, or give another --home"
                    ) from None
            except OSError as cause:
                raise StoreUnavailable(f"home {home}: {cause.strerror}") from cause
            time.sleep(LOOK_AGAIN_S)
        yield handle


def _lives(pid: str) -> bool:
    """Whether a process is there."""
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass
    return True
