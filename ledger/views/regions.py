"""What a ledger says of a region as a whole: how it began, and its last run."""

from ledger.store.log import Ledger
from schemas.errors import NotFound
from schemas.records.records import RUNS_LOG, RegionBootstrapped, RunStarted, region_log


def bootstrap_of(ledger: Ledger, region: str) -> RegionBootstrapped:
    """The region's first record.

    Raises:
        NotFound: the region was never bootstrapped here.
    """
    record = ledger.find(region_log(region), RegionBootstrapped)
    if record is None:
        raise NotFound(
            f"region {region}: not bootstrapped in this home", remedy=f"run `ridecast bootstrap --region {region} --until DATE` first"
        )
    return record


def last_run(ledger: Ledger, region: str) -> RunStarted | None:
    """What the newest run of a region said when it began; None if there was none. Runs of other regions say nothing of it."""
    found = None
    for started in ledger.records(RUNS_LOG, RunStarted):
        if started.command == f"run {region}":
            found = started
    return found
