"""What was known of a region at a time: the state of its log then, by event time.

A close is visible from the end of its slot plus the issue lateness, as in every query of the API. Entries have no
wall-clock time, so a run that was late is shown as if it had been on time.
"""

from dataclasses import dataclass

from ledger.store.log import Ledger
from ledger.views.champions import InForce, champions_at
from ledger.views.closes import closes
from ledger.views.control import ControlView
from ledger.views.regions import bootstrap_of, defined_by
from schemas.errors import VERIFY_LEDGER, NotFound
from schemas.records.records import (
    CONTROL_LOG,
    FoldChanged,
    ForecastIssued,
    RegionBootstrapped,
    SlotClosed,
    UniverseChanged,
    region_log,
)
from schemas.regions import US_PER_S, Region

MOST_OF_A_CLOSE = 200  # entries; it has a few for each measure


@dataclass(frozen=True, slots=True)
class Known:
    """The state of a region at a time.

    Attributes:
        at_us: The requested time.
        size: Of the region's log then.
        closed: The newest closed slot, with its index; None before the first.
        open_slots: Slots [first, until) that had started and were not closed.
        universe: Its last change, None before the first.
        counted: Rides counted live, including corrections, without the bootstrapped `boot.rides`.
        issues: The newest issue of each measure, with its index.
        ended: Whether the log ends before the time: then this is its newest state, and a later run may add to it.
    """

    region: Region
    boot: RegionBootstrapped
    at_us: int
    size: int
    closed: tuple[int, SlotClosed] | None
    open_slots: tuple[int, int]
    universe: UniverseChanged | None
    counted: int
    control_size: int
    control_root: bytes
    champions: tuple[InForce, ...]
    fold_version: int
    issues: tuple[tuple[int, ForecastIssued], ...]
    ended: bool


def known_at(ledger: Ledger, name: str, at_us: int) -> Known:
    """The state of a region's log at a time, microseconds UTC.

    Raises:
        NotFound: the region is not bootstrapped here, or its live counting begins later.
    """
    boot = bootstrap_of(ledger, name)
    region = defined_by(boot)
    log = region_log(name)
    if at_us < boot.start_slot * region.slot_us:
        raise NotFound(f"--at: region {name} is counted live from {boot.until}, local midnight, on; before, nothing was known")
    visible = (at_us - region.issue_lateness_s * US_PER_S) // region.slot_us - 1
    last = ledger.find(log, SlotClosed)
    closed: tuple[int, SlotClosed] | None = None
    if last is not None and visible >= boot.start_slot:
        stored = ledger.entry(log, SlotClosed, min(visible, last.slot))
        if stored is None:
            raise NotFound(f"{log}: no entry closes slot {min(visible, last.slot)}", remedy=VERIFY_LEDGER)
        closed = stored.index, stored.record
    size = _size_behind(ledger, log, closed[0] if closed else None)
    counted = sum(
        cut.counted for found in ledger.scan(log, 0, closed[0] + 1 if closed else 0, SlotClosed) for cut in found.record.partitions
    )
    universes = ledger.read(log, 0, size, UniverseChanged)
    control_size, control_root = (closed[1].control_size, closed[1].control_root) if closed else (0, ledger.root_at(CONTROL_LOG, 0))
    control = ControlView(ledger).at(control_size, control_root)
    champions = champions_at(ledger, control_size)
    next_slot = closed[1].slot + 1 if closed else boot.start_slot
    issued = [ledger.entry(log, ForecastIssued, next_slot - 1, measure) for measure in region.measures] if closed else []
    return Known(
        region,
        boot,
        at_us,
        size,
        closed,
        (next_slot, max(next_slot, at_us // region.slot_us + 1)),
        universes[-1].record if universes else None,
        counted,
        control_size,
        control_root,
        tuple(found for measure in region.measures if (found := champions.get((name, measure))) is not None),
        control.fold_version(boot, next_slot - 1),
        tuple((found.index, found.record) for found in issued if found is not None),
        last is None or visible > last.slot,
    )


def _size_behind(ledger: Ledger, log: str, closed: int | None) -> int:
    """Size of a log right after the close whose slot is at an index, or after the bootstrap."""
    if closed is None:
        stored = ledger.entry(log, RegionBootstrapped)
        assert stored is not None  # `bootstrap_of` has found it
        return stored.index + 1
    return next(closes(ledger, log, closed, closed + MOST_OF_A_CLOSE)).entries[-1].index + 1


def fold_change_at(ledger: Ledger, region: str, slot: int, control_size: int) -> tuple[int, FoldChanged] | None:
    """The record, with its index, that set the fold version of a slot; None if the bootstrap set it."""
    found = None
    for stored in ledger.scan(CONTROL_LOG, 0, control_size, FoldChanged):
        record = stored.record
        if record.region == region and record.slot <= slot:
            found = stored.index, record
    return found
