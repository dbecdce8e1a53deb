"""Every detector of the table, on the entries of a region as the watcher reads them."""

from collections.abc import Callable, Sequence

from dataflows.stream.stores import Stores
from dataflows.watch.watching import Detect, NewDetect
from ledger.store.log import Ledger, Stored
from ledger.views.control import ControlView
from ledger.views.watched import WatchedView
from schemas.forecasts.watched import WatchedSlot
from schemas.records.records import Record
from schemas.regions import Region
from state.decide.parameter_table import thresholds
from state.detect.detector import Threshold
from state.detect.signals import Signal
from state.detect.table import Detectors


def detectors_of(stores: Stores) -> NewDetect:
    """Makes the detectors of a region; they see its first measure, and what arrives for all of them."""

    def new_detect(region: Region) -> Detect:
        view = WatchedView(stores.ledger, stores.blobs, region, region.measures[0])
        detectors, in_force = Detectors(region), thresholds_of(stores.ledger, region)

        def detect(entries: Sequence[Stored[Record]]) -> list[Signal]:
            found: list[Signal] = []
            for stored in entries:
                if (watched := view.take(stored)) is not None:
                    detectors.use(in_force(watched))
                    found += detectors.see(watched)
            return found

        return detect

    return new_detect


def thresholds_of(ledger: Ledger, region: Region) -> Callable[[WatchedSlot], dict[str, Threshold]]:
    """The detectors' thresholds that were in force when a slot closed, by the control log that its close cites."""
    view = ControlView(ledger)
    return lambda watched: thresholds(view.at(*watched.control).parameters, region.id)
