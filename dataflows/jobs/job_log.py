"""The `jobs` log, folded; and appends that are decided on it, by one writer at a time."""

from ledger.store.log import Ledger
from ledger.views.folded import Folded
from schemas.records.records import JOBS_LOG
from state.decide.job_runs import KINDS, Jobs, fold_job


def job_log(ledger: Ledger) -> Folded[Jobs]:
    """The jobs of a ledger, as the log has them."""
    return Folded(ledger, JOBS_LOG, Jobs, fold_job, KINDS)
