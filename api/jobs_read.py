"""The table of jobs in the API: folded on from the entries that were appended since it was last read."""

import threading

from ledger.store.log import Ledger
from ledger.views.folded import Folded
from schemas.records.records import JOBS_LOG
from state.decide.job_runs import KINDS, Jobs, fold_job


class JobsRead:
    """The jobs as they were last read; threads may share it."""

    def __init__(self, ledger: Ledger) -> None:
        self._lock = threading.Lock()
        self._log = Folded(ledger, JOBS_LOG, Jobs, fold_job, KINDS)
        self._now = Jobs()

    @property
    def last_read(self) -> Jobs:
        """The jobs as last read; asks no store."""
        return self._now

    def latest(self) -> Jobs:
        """The jobs as the log has them now. May wait for the ledger."""
        with self._lock:
            self._now = self._log.latest()
            return self._now
