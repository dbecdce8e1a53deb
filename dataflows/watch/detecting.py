"""Every detector of the table, on the entries of a region as the watcher reads them."""

from collections.abc import Sequence

from dataflows.stream.stores import Stores
from dataflows.watch.watching import Detect, NewDetect
from ledger.store.log import Stored
from ledger.views.watched import WatchedView
from schemas.records.records import Record
from schemas.regions import Region
from state.detect.signals import Signal
from state.detect.table import Detectors


def detectors_of(stores: Stores) -> NewDetect:
    """Makes the detectors of a region; they see its first measure, and what arrives for all of them."""

    def new_detect(region: Region) -> Detect:
        view = WatchedView(stores.ledger, stores.blobs, region, region.measures[0])
        detectors = Detectors(region)

        def detect(entries: Sequence[Stored[Record]]) -> list[Signal]:
            slots = [watched for stored in entries if (watched := view.take(stored)) is not None]
            return [signal for watched in slots for signal in detectors.see(watched)]

        return detect

    return new_detect
