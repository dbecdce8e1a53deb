"""Blobs checked on several processors: their chunks are hashed one by one, which one thread does at half the speed of the disk.

The processes start only when there is enough to do, so that a small ledger is verified without them.
"""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType

from ledger.check.blob_check import Fault, NamedBlob, check_blobs
from ledger.store.blobs import ReadBlobs
from schemas.errors import StoreUnavailable

BATCHES_HERE = 512  # some 16,000 blobs, several seconds of work: for less, others are not up in time to help
BATCHES_WAITING = 2  # for each process, so that it never stands idle

_opened: ReadBlobs | None = None  # of this process, when it is one of the pool


class BlobPool:
    """Checks batches of blobs; see `ledger.check.blob_check.CheckBlobs`.

    This process checks too: until the others are ready, and whenever they have enough to do.

    Args:
        open_blobs: Opens the store, in each process anew; can be pickled.
        processes: How many, with this one.
        batches_here: After how many batches the others are started.
    """

    def __init__(self, open_blobs: Callable[[], ReadBlobs], processes: int, batches_here: int = BATCHES_HERE) -> None:
        self._open, self._others, self._left_here = open_blobs, processes - 1, batches_here
        self._blobs = open_blobs()
        self._pool: ProcessPoolExecutor | None = None
        self._handed: list[Future[Sequence[Fault]]] = []

    def __enter__(self) -> "BlobPool":
        return self

    def check(self, batch: Sequence[NamedBlob]) -> Callable[[], Sequence[Fault]]:
        """Check some blobs; what is wrong with them is said when it is asked for.

        Raises:
            StoreUnavailable: now or then: the store does not answer, or a process was killed.
        """
        if not self._has_room():
            self._left_here -= 1
            faults = check_blobs(self._blobs, batch)
            return lambda: faults
        assert self._pool is not None  # it has room
        try:
            answer = self._pool.submit(_check_here, batch)
        except BrokenProcessPool as cause:
            raise _killed(cause) from cause
        self._handed.append(answer)

        def ask() -> Sequence[Fault]:
            try:
                return answer.result()
            except BrokenProcessPool as cause:
                raise _killed(cause) from cause

        return ask

    def _has_room(self) -> bool:
        """Whether the other processes are ready, and wait for more."""
        if self._others < 1 or self._left_here > 0:
            return False
        if self._pool is None:
            # Not forked: this process has threads and open databases, of which a copy would be of no use.
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._others, spawn, initializer=_open_here, initargs=(self._open,))
            self._handed = [self._pool.submit(_check_here, ()) for _ in range(self._others)]
        self._handed = [answer for answer in self._handed if not answer.done()]
        return len(self._handed) < BATCHES_WAITING * self._others

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._blobs.close()


def _killed(cause: BrokenProcessPool) -> StoreUnavailable:
    return StoreUnavailable(f"blobs: a process that checked them was killed: {cause}")


def _open_here(open_blobs: Callable[[], ReadBlobs]) -> None:
    global _opened
    _opened = open_blobs()


def _check_here(batch: Sequence[NamedBlob]) -> Sequence[Fault]:
    assert _opened is not None  # _open_here came first
    return check_blobs(_opened, batch)
