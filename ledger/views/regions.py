"""The regions of a ledger: their names, definitions, bootstraps and last runs."""

from ledger.store.log import Ledger
from schemas.errors import NotFound
from schemas.records.records import RUNS_LOG, RegionBootstrapped, RegionHalted, RunStarted, region_in, region_log
from schemas.regions import Region, region_from_json


def regions_of(ledger: Ledger) -> tuple[str, ...]:
    """Names of the regions that have a log, sorted."""
    return tuple(name for log in ledger.logs() if (name := region_in(log)) is not None)


def bootstrapped_in(ledger: Ledger) -> tuple[str, ...]:
    """Names of the regions that are bootstrapped, sorted."""
    return tuple(name for name in regions_of(ledger) if ledger.find(region_log(name), RegionBootstrapped) is not None)


def region_of(ledger: Ledger, name: str) -> Region:
    """A region as its bootstrap recorded it.

    Raises:
        NotFound: the region was never bootstrapped in this ledger.
    """
    return defined_by(bootstrap_of(ledger, name))


def defined_by(boot: RegionBootstrapped) -> Region:
    """The definition that a bootstrap recorded."""
    return region_from_json(boot.definition, where=f"{region_log(boot.region)}, RegionBootstrapped")


def bootstrap_of(ledger: Ledger, region: str) -> RegionBootstrapped:
    """The region's first record.

    Raises:
        NotFound: it was never bootstrapped in this ledger.
    """
    record = ledger.find(region_log(region), RegionBootstrapped)
    if record is None:
        raise NotFound(
            f"region {region}: not bootstrapped in this home", remedy=f"run `ridecast bootstrap --region {region} --until DATE` first"
        )
    return record


def last_run(ledger: Ledger, region: str) -> RunStarted | None:
    """Start record of the newest run of a region; None if there was none."""
    found = None
    for started in ledger.records(RUNS_LOG, RunStarted):
        if started.command == f"run {region}":
            found = started
    return found


def halt_of(ledger: Ledger, region: str, since: int = 0) -> RegionHalted | None:
    """Why the region's last run closes no more slots of it; None if it does.

    Args:
        since: Index in the log of runs; earlier halts do not count.
    """
    halted = [stored for stored in ledger.scan(RUNS_LOG, since, kind=RegionHalted) if stored.record.region == region]
    if not halted:
        return None
    starts = (stored.index for stored in ledger.scan(RUNS_LOG, kind=RunStarted) if stored.record.command == f"run {region}")
    return halted[-1].record if max(starts, default=-1) < halted[-1].index else None
