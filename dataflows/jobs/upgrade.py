"""Moves a region to a newer fold version with a record that names the first slot to use it.

The record is in `control`, as a promotion is: only the forecaster writes a region's log, and each close cites the
size of `control` that it read. A close uses the last version recorded for its slot or an earlier one within that
size, so that a refold, a replay and a verification all use the same version.
"""

from dataflows.stream.stores import Stores
from ledger.views.append import append_shared
from ledger.views.control import ControlView
from ledger.views.regions import bootstrap_of, defined_by
from schemas.errors import UsageError
from schemas.records.records import CONTROL_LOG, FoldChanged, SlotClosed, region_log
from state.forecast.region import FOLD_VERSION

AHEAD_MIN = 60  # A running forecaster reads the record at its next close; until then a slot or two may close.
END_OF_TIME = 1 << 62


def upgrade_fold(stores: Stores, region: str) -> FoldChanged | None:
    """Record that a region uses the newest fold version, starting an hour after its last closed slot.

    Returns:
        The new record, or None if the region already uses that version or is scheduled to.
    Raises:
        NotFound: the region is not bootstrapped here.
        UsageError: the ledger is ahead of this code.
        BootRefused: a log is shorter than its checkpoint, or contradicts it.
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
