"""Checks blobs in several processes, because one thread hashes their chunks at half the speed of the disk.

The processes start only when there is enough work, so that a small ledger is verified without them.
"""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType

from ledger.check.blob_check import Fault, NamedBlob, check_blobs
from ledger.store.blobs import ReadBlobs
from schemas.errors import StoreUnavailable

BATCHES_HERE = 512  # some 16,000 blobs, several seconds of work: with less, other processes would not start in time to help
BATCHES_WAITING = 2  # per process, so that it is never idle

_opened: ReadBlobs | None = None  # the store of this process, if it belongs to a pool


class BlobPool:
    """Checks batches of blobs; see `ledger.check.blob_check.CheckBlobs`.

    This process checks blobs too: until the others are ready, and whenever their queues are full.

    Args:
        open_blobs: Opens the store, once in each process; can be pickled.
        processes: Number of processes, including this one.
        batches_here: Number of batches after which the others are started.
    """

    def __init__(self, open_blobs: Callable[[], ReadBlobs], processes: int, batches_here: int = BATCHES_HERE) -> None:
        self._open, self._others, self._left_here = open_blobs, processes - 1, batches_here
        self._blobs = open_blobs()
        self._pool: ProcessPoolExecutor | None = None
        self._submitted: list[Future[Sequence[Fault]]] = []

    def __enter__(self) -> "BlobPool":
        return self

    def check(self, batch: Sequence[NamedBlob]) -> Callable[[], Sequence[Fault]]:
        """Start to check blobs; the returned function waits for their faults.

        Raises:
            StoreUnavailable: here or from that function: the store does not answer, or a process was killed.
        """
        if not self._has_room():
            self._left_here -= 1
            faults = check_blobs(self._blobs, batch)
            return lambda: faults
        assert self._pool is not None  # `_has_room` created it
        try:
            answer = self._pool.submit(_check_here, batch)
        except BrokenProcessPool as cause:
            raise _killed(cause) from cause
        self._submitted.append(answer)

        def wait() -> Sequence[Fault]:
            try:
                return answer.result()
            except BrokenProcessPool as cause:
                raise _killed(cause) from cause

        return wait

    def _has_room(self) -> bool:
        """Whether the other processes are ready and have room in their queues."""
        if self._others < 1 or self._left_here > 0:
            return False
        if self._pool is None:
            # Not forked: this process has threads and open databases, which must not be copied.
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._others, spawn, initializer=_open_here, initargs=(self._open,))
            self._submitted = [self._pool.submit(_check_here, ()) for _ in range(self._others)]
        self._submitted = [answer for answer in self._submitted if not answer.done()]
        return len(self._submitted) < BATCHES_WAITING * self._others

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._blobs.close()


def _killed(cause: BrokenProcessPool) -> StoreUnavailable:
    return StoreUnavailable(f"blobs: a process that checked blobs was killed: {cause}")


def _open_here(open_blobs: Callable[[], ReadBlobs]) -> None:
    global _opened
    _opened = open_blobs()


def _check_here(batch: Sequence[NamedBlob]) -> Sequence[Fault]:
    assert _opened is not None  # set by _open_here
    return check_blobs(_opened, batch)
