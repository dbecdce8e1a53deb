"""The `jobs` log, followed and folded; and appends that are decided on it, by one writer at a time."""

import typing
from collections.abc import Callable, Sequence

from ledger.store.log import Ledger
from ledger.store.recording import Recorder
from ledger.views.follow import NOWHERE, Change, Follower, Place
from schemas.errors import DivergenceError, ExpectedSizeError
from schemas.records.record_codec import encode
from schemas.records.records import JOBS_LOG, Record
from state.decide.job_runs import JobRecord, Jobs, fold_job

KINDS: tuple[type[JobRecord], ...] = typing.get_args(JobRecord)


class JobLog:
    """Follows the `jobs` log of a ledger; not thread-safe."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._recorder = ledger, Recorder(ledger, JOBS_LOG)
        self._follower = Follower(ledger, JOBS_LOG, NOWHERE, KINDS)
        self._now = Jobs()

    def latest(self) -> Jobs:
        """The jobs as the log has them now; folded again from the start if it was rolled back or continued."""
        for batch in self._follower.catch_up():
            if batch.change is Change.NONE:
                for stored in batch.entries:
                    self._now = fold_job(self._now, stored.index, stored.record)
                self._follower.move(batch.next)
            else:
                self._now, self._recorder = Jobs(), Recorder(self._ledger, JOBS_LOG)
                self._follower.move(Place(batch.next.number, 0))
        return self._now

    def append(self, decide: Callable[[Jobs], Sequence[Record]]) -> list[Record]:
        """Append what a decision says, all or nothing; decide again when another process appended first.

        Args:
            decide: What to append after the entries that these jobs were folded from. Whatever it raises is raised.
        Returns:
            What was appended.
        """
        while True:
            jobs = self.latest()
            size = self._follower.place.index
            records = list(decide(jobs))
            if not records:
                return []
            try:
                self._recorder.append(size, [encode(record) for record in records])
                return records
            except (ExpectedSizeError, DivergenceError):
                continue
