"""Notices while a run reads a ride log that the log has changed: partitions were added, or it was deleted or created again.

What a run knows about its source is asked once, at its start, so that all of its parts agree (`PinnedRides`). A thread
with a client of its own asks again every few seconds; it never holds up reading, and a source that does not answer is
left to the readers, which report it.
"""

import threading
from collections.abc import Callable

from dataflows.connectors.source_identity import Relation, SourceIdentity
from dataflows.connectors.sources import PartitionReader, RideSource
from ledger.views.follow import Stop
from schemas.errors import NotFound, RidecastError, SourceMoved, UsageError

ASK_EVERY_S = 2.0
ASK_AGAIN_S = 0.3  # a change is believed when it is found twice: a restarted broker may not know all of its topics yet
LONGEST_WAIT_S = 5.0


class PinnedRides:
    """A source whose partitions and identity are those of one moment."""

    def __init__(self, source: RideSource) -> None:
        self._source = source
        self._partitions = source.partitions()  # asked first: of a broker that is away this gives the clearer error
        self._identity = source.identity()

    def partitions(self) -> tuple[int, ...]:
        return self._partitions

    def bounds(self, partition: int) -> tuple[int, int]:
        return self._source.bounds(partition)

    def open(self, partition: int, offset: int) -> PartitionReader:
        return self._source.open(partition, offset)

    def identity(self) -> SourceIdentity:
        return self._identity

    def confirm(self) -> None:
        """Ask the source now whether it is still the same log.

        A client goes on reading at its offset when a topic is created again under its name, without a word: what was read
        counts only if the log is still the same afterwards.

        Raises:
            SourceMoved: it is another one, or gone.
            StoreUnavailable: the source does not answer.
        """
        if (found := _replaced(self._identity, self._source)) is not None:
            raise SourceMoved(f"{found}; starting again to go on with it")

    def close(self) -> None:
        self._source.close()


def confirming(source: RideSource) -> Callable[[], None]:
    """The `confirm` of a pinned source; for another one, a function that asks nothing."""
    return source.confirm if isinstance(source, PinnedRides) else lambda: None


def _replaced(before: SourceIdentity, now: RideSource) -> str | None:
    try:
        identity = now.identity()
    except NotFound as cause:
        return f"the ride log {before.line()} is gone ({cause})"
    if before.relation(identity) is not Relation.SAME:
        return f"the ride log {before.line()} was replaced by {identity.line()}"
    return None


def difference(pinned: RideSource, now: RideSource, *, partitions: bool = True) -> str | None:
    """What has changed since the start of a run, in one sentence; None if nothing has.

    Args:
        pinned: The source as it was.
        now: The same source, asked now.
        partitions: Whether added partitions count; a bounded run keeps those of its start.
    Raises:
        StoreUnavailable: the source does not answer.
    """
    before = pinned.identity()
    if (replaced := _replaced(before, now)) is not None:
        return replaced
    try:
        found = now.partitions()
    except (NotFound, UsageError) as cause:
        return f"the ride log {before.line()} is gone ({cause})"
    added = sorted(set(found) - set(pinned.partitions()))
    if partitions and added:
        return f"the ride log {before.line()} has new partitions {added}"
    return None


class SourceWatch:
    """A thread that reports the first change of a source, once.

    Args:
        pinned: The source as the run knows it.
        open_source: Opens a client of the watch's own.
        moved: Called from the thread with the change.
        bounded: Whether the run keeps the partitions of its start.
    """

    def __init__(
        self,
        pinned: RideSource,
        open_source: Callable[[], RideSource],
        moved: Callable[[SourceMoved], None],
        *,
        bounded: bool,
        every_s: float = ASK_EVERY_S,
        again_s: float = ASK_AGAIN_S,
    ) -> None:
        self._pinned, self._open, self._moved, self._bounded = pinned, open_source, moved, bounded
        self._every_s, self._again_s = every_s, again_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="source-watch", daemon=True)

    def start(self) -> None:
        """Watch until the process ends."""
        self._thread.start()

    def __enter__(self) -> "SourceWatch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(1.0)  # a request to a broker that does not answer may take longer: the thread ends with the process

    def _watch(self) -> None:
        source = self._open()
        try:
            while not self._ended.wait(self._every_s):
                if self._look(source) is None or self._ended.wait(self._again_s):
                    continue
                if (found := self._look(source)) is not None:
                    if not self._ended.is_set():
                        self._moved(SourceMoved(f"{found}; starting again to go on with it"))
                    return
        finally:
            source.close()

    def _look(self, source: RideSource) -> str | None:
        try:
            return difference(self._pinned, source, partitions=not self._bounded)
        except RidecastError:
            return None  # not reachable, or not readable: the readers find out, and report it


def wait_for_source(source: RideSource, stop: Stop, told: Callable[[str], None]) -> bool:
    """Wait for a source that was there before and is gone, for example a topic that is being created again.

    Args:
        told: Called once with what is missing.
    Returns:
        Whether it is there; False after a request to stop.
    Raises:
        StoreUnavailable: the broker does not answer.
    """
    wait_s, said = 0.2, False
    while not stop.is_set():
        try:
            source.partitions()
            source.identity()
            return True
        except (NotFound, UsageError) as cause:
            if not said:
                told(f"{cause}; waiting for it")
                said = True
        stop.wait(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)
    return False
