"""Blobs checked on several processors: their chunks are hashed one by one, which one thread does at half the speed of the disk.

The processes start only when there is enough to do, so that a small ledger is verified without them.
"""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType

from ledger.blob_check import Fault, Named, ReadBlobs, check_blobs
from schemas.errors import StoreUnavailable

BATCHES_HERE = 24  # half a second of work: about what a new process takes to be ready

_opened: ReadBlobs | None = None  # of this process, when it is one of the pool


class BlobPool:
    """Checks batches of blobs; see `ledger.blob_check.CheckBlobs`.

    Args:
        open_blobs: Opens the store, in each process anew; can be pickled.
        processes: How many; with one all is done here.
    """

    def __init__(self, open_blobs: Callable[[], ReadBlobs], processes: int, batches_here: int = BATCHES_HERE) -> None:
        self._open, self._processes, self._left_here = open_blobs, processes, batches_here
        self._blobs = open_blobs()
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "BlobPool":
        return self

    def check(self, batch: Sequence[Named]) -> Callable[[], Sequence[Fault]]:
        """Check some blobs; what is wrong with them is said when it is asked for.

        Raises:
            StoreUnavailable: now or then: the store does not answer, or a process was killed.
        """
        if self._processes < 2 or self._left_here > 0:
            self._left_here -= 1
            faults = check_blobs(self._blobs, batch)
            return lambda: faults
        if self._pool is None:
            # Not forked: this process has threads and open databases, of which a copy would be of no use.
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._processes, spawn, initializer=_open_here, initargs=(self._open,))
        answer = self._pool.submit(_check_here, batch)

        def ask() -> Sequence[Fault]:
            try:
                return answer.result()
            except BrokenProcessPool as cause:
                raise StoreUnavailable(f"blobs: a process that checked them was killed: {cause}") from cause

        return ask

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._blobs.close()


def _open_here(open_blobs: Callable[[], ReadBlobs]) -> None:
    global _opened
    _opened = open_blobs()


def _check_here(batch: Sequence[Named]) -> Sequence[Fault]:
    assert _opened is not None  # _open_here came first
    return check_blobs(_opened, batch)
