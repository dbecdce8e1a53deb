"""How a region moves to a newer version of the fold: by a record that says from which slot on.

The record lies in `control`, as a promotion does: nobody but the forecaster writes a region's log, and each close
cites how much of `control` it saw. A close folds by the last version that is recorded for its slot or an earlier one
in what it cites, so that a refold, a replay and a verification all see the same.
"""

from dataflows.stream.stores import Stores
from ledger.views.append import append_shared
from ledger.views.control import ControlView
from ledger.views.regions import bootstrap_of, defined_by
from schemas.errors import UsageError
from schemas.records.records import CONTROL_LOG, FoldChanged, SlotClosed, region_log
from state.forecast.region import FOLD_VERSION

AHEAD_MIN = 60  # A forecaster that runs sees the record at its next close; until then a slot or two may close.
END_OF_TIME = 1 << 62


def upgrade_fold(stores: Stores, region: str) -> FoldChanged | None:
    """Record that a region follows the newest fold, from an hour behind its last closed slot on.

    Returns:
        What was recorded, or None when the region follows it already, or is about to.
    Raises:
        NotFound: the region is not bootstrapped here.
        UsageError: the ledger is ahead of this code.
        BootRefused: a log went back behind its checkpoint, or contradicts it.
    """
    stores.ledger.admit_all()
    boot = bootstrap_of(stores.ledger, region)
    known = ControlView(stores.ledger).latest().fold_version(boot, END_OF_TIME)
    if known == FOLD_VERSION:
        return None
    if known > FOLD_VERSION:
        raise UsageError(f"region {region}: expected a fold up to version {FOLD_VERSION}, the ledger is at {known}: run a newer Ridecast")
    last = stores.ledger.find(region_log(region), SlotClosed)
    next_slot = boot.start_slot if last is None else last.slot + 1
    slot_min = defined_by(boot).slot_min
    changed = FoldChanged(region=region, slot=next_slot + max(1, AHEAD_MIN // slot_min), version=FOLD_VERSION)
    append_shared(stores.ledger, CONTROL_LOG, changed)
    return changed
