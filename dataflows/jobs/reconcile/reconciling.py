"""Compares the places that are filled from the ledger with it, one after the other: one that is away does not keep the others from it."""

import time
from collections.abc import Callable, Sequence

from dataflows.jobs.reconcile.places import OPENERS, OpenPlace
from dataflows.stream.stores import Stores
from ledger.views.reconcile.differences import PlaceName, Reconciled, reconciled
from ledger.views.regions import bootstrapped_in, region_of
from schemas.errors import DamagedError, LedgerError, NotFound, StoreUnavailable, UsageError
from schemas.regions import Region

SETTLE_S = 2.0  # a live publisher fills the online store within a second of an append
ALL_EQUAL, DIFFERENCES_LEFT, UNREACHABLE = 0, 1, 3  # exit codes

OnStep = Callable[[PlaceName, int, int], None]


def reconcile(
    stores: Stores,
    places: Sequence[PlaceName],
    regions: Sequence[str],
    *,
    repair: bool,
    on_step: OnStep = lambda place, done, total: None,
    settle_s: float = SETTLE_S,
) -> list[Reconciled]:
    """Compare places with the ledger, and repair them if asked; those that are not configured have nothing to compare.

    Args:
        places: Those to compare; all if empty.
        regions: Those to compare; all of the ledger if empty.
        on_step: Called with a place, and how far it is.
        settle_s: Between two looks at what differs.
    Raises:
        NotFound: a region is not in this ledger.
    """
    known = bootstrapped_in(stores.ledger)
    chosen = [region_of(stores.ledger, name) for name in regions or known]
    return [_one(stores, name, chosen, known, repair, on_step, settle_s) for name in places or tuple(PlaceName)]


def _one(
    stores: Stores, name: PlaceName, regions: Sequence[Region], known: Sequence[str], repair: bool, on_step: OnStep, settle_s: float
) -> Reconciled:
    opener: OpenPlace = OPENERS[name]
    try:
        with opener(stores, regions, known, lambda done, total: on_step(name, done, total)) as place:
            if isinstance(place, str):
                return Reconciled(name, absent=place)
            return reconciled(place, lambda: time.sleep(settle_s), repair=repair)
    except (StoreUnavailable, NotFound, LedgerError, DamagedError) as cause:
        return Reconciled(name, error=str(cause))


def exit_code(done: Sequence[Reconciled]) -> int:
    """0 if all are equal, 1 if differences are left, 3 if a place could not be compared."""
    if any(one.error for one in done):
        return UNREACHABLE
    return DIFFERENCES_LEFT if any(one.left for one in done) else ALL_EQUAL


def place_named(text: str) -> PlaceName:
    """The place of that name.

    Raises:
        UsageError: there is none.

    >>> place_named("topic")
    <PlaceName.TOPIC: 'topic'>
    """
    try:
        return PlaceName(text)
    except ValueError:
        raise UsageError(f"--place: expected one of {', '.join(PlaceName)}, got {text!r}") from None
