"""Whether a region's state follows from its records: everything is folded again from the bootstrap, and each digest compared.

Snapshots are not read. Counts and cells are integers and must be equal in any environment; floating-point state is compared
only if this environment wrote it. `dataflows.audit.replay` checks the forecasts.
"""

from dataflows.stream.record import closed_of, history_by_slot
from dataflows.stream.routing import Router
from ledger.check.verify import Problem, Progress
from ledger.formats.merkle import EMPTY_ROOT
from ledger.store.blobs import Blobs
from ledger.store.log import Ledger, holds
from ledger.views.closes import Close, closes
from ledger.views.control import ControlView
from ledger.views.regions import bootstrap_of, defined_by
from ledger.views.writers import environments_at, writers_of
from schemas.errors import ContractError, DamagedError, NotFound, UsageError
from schemas.records.records import CONTROL_LOG, StateDigested, region_log
from state.forecast.region import RegionFold


def fold_again(ledger: Ledger, blobs: Blobs, environment: bytes, region: str, on_progress: Progress) -> list[Problem]:
    """The problems where a region's recorded state does not follow from its records.

    Args:
        ledger, blobs: Open and already verified.
        environment: Digest of this environment.
        region: Name of a bootstrapped region.
        on_progress: Called with (entries folded, entries in total) at each close.
    Raises:
        StoreUnavailable: a store does not answer.
    """
    problems: list[Problem] = []
    at = 0
    try:
        fold = _Fold(ledger, blobs, environment, region)
        size = ledger.head(region_log(region)).size
        for close in closes(ledger, region_log(region)):
            at = close.closed.index
            problems += fold.problems(close)
            on_progress(at, size)
    except (NotFound, DamagedError, ContractError, UsageError) as cause:
        problems.append(Problem(at, f"cannot be folded again from here on: {cause}"))
    return problems


class _Fold:
    """The state of one pass over a region's log."""

    def __init__(self, ledger: Ledger, blobs: Blobs, environment: bytes, region: str) -> None:
        self._blobs, self._environment = blobs, environment
        self._boot = bootstrap_of(ledger, region)
        self._region = defined_by(self._boot)
        self._ledger, self._control = ledger, ControlView(ledger)
        self._router = Router(ledger, blobs, self._boot)
        self._cited = 0, EMPTY_ROOT
        self._writers = writers_of(ledger, region)
        self._fold = RegionFold(self._region, self._boot.start_slot, self._boot.fold_version)
        self._fold.remember(history_by_slot(self._region, self._boot, blobs))

    def problems(self, close: Close) -> list[Problem]:
        """Fold one close, and return the recorded state digests that do not match."""
        record = close.record
        found: list[Problem] = []
        if record.control_size > self._ledger.head(CONTROL_LOG).size or record.control_root != self._root(record.control_size):
            what = f"cites the control log at size {record.control_size} with root {record.control_root.hex()}: no such size and root"
            found.append(Problem(close.closed.index, what))
        control = self._control.at(record.control_size, record.control_root)
        self._fold.follow(control.fold_version(self._boot, record.slot))
        self._fold.know(control.covariates_of(self._region.id))
        self._fold.use(self._router.recorded(control, close))
        folded = self._fold.apply(closed_of(self._region, record, close.before, self._blobs)).digested
        index, recorded = next(
            ((stored.index, stored.record) for stored in close.after if holds(stored, StateDigested)),
            (close.closed.index, None),
        )
        if folded is None or recorded is None:
            if folded is not recorded:
                fault = "expected a digest, got none" if recorded is None else "expected no digest, got one"
                found.append(Problem(index, f"state after slot {record.slot}: {fault}"))
            return found
        if folded.integers != recorded.integers:
            what = f"integer state after slot {record.slot}: expected {folded.integers.hex()} from folding, got {recorded.integers.hex()}"
            found.append(Problem(index, what))
        ours = environments_at(self._writers, index) <= {self._environment}
        if ours and folded.models != recorded.models:
            what = f"model state after slot {record.slot}: expected {folded.models.hex()} from folding, got {recorded.models.hex()}"
            found.append(Problem(index, what))
        return found

    def _root(self, size: int) -> bytes:
        """Root of the control log at a size; cached, since most closes cite the same size."""
        if size != self._cited[0]:
            self._cited = size, self._ledger.root_at(CONTROL_LOG, size)
        return self._cited[1]
