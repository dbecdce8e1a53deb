"""Releases a region that is held: from the next close on, its champions serve again."""

from dataflows.stream.stores import Stores
from ledger.views.append import append_shared
from ledger.views.control import ControlView
from ledger.views.regions import bootstrap_of
from schemas.records.records import CONTROL_LOG, RegionHeld, RegionReleased


def release_region(stores: Stores, region: str, reason: str = "operator") -> RegionHeld | None:
    """Record that a region is no longer held.

    Returns:
        The record of the hold that ends, or None if the region is not held.
    Raises:
        NotFound: the region is not bootstrapped here.
        BootRefused: a log is shorter than its checkpoint, or contradicts it.
    """
    stores.ledger.admit_all()
    bootstrap_of(stores.ledger, region)
    held = ControlView(stores.ledger).latest().held.get(region)
    if held is not None:
        append_shared(stores.ledger, CONTROL_LOG, RegionReleased(region=region, reason=reason))
    return held
