"""Lets the hub of alerts know what reconciling found: a signal fires per region and place while served numbers contradict the ledger."""

from collections.abc import Iterable, Iterator, Sequence

from dataflows.watch.hub import HubLog
from ledger.store.log import Ledger
from ledger.views.reconcile.differences import SERVING, Difference, Reconciled
from state.detect.contradictions import KIND, contradiction
from state.detect.signals import Signal


def tell(ledger: Ledger, done: Sequence[Reconciled], regions: Sequence[str], now_us: int) -> int:
    """Append the signals that are new; returns how many.

    A contradiction that is found is said, and that it has ended once nothing is left of it. What could not be compared says nothing.

    Args:
        done: What was compared.
        regions: Of which regions.
        now_us: Microseconds since 1970.
    """
    hub = HubLog(ledger)
    compared = [one for one in done if one.place in SERVING and not one.error and not one.absent]
    told = 0
    for firing in (True, False):  # what was found and repaired in one run begins and ends
        differences = {one.place: one.found if firing else one.left for one in compared}
        known = {one.key for one in hub.read().signals.values() if one.firing and one.kind == KIND}
        signals = [
            signal
            for place, found in differences.items()
            for signal in _signals(place, found, regions, now_us)
            if signal.firing is firing and (signal.key in known) is not firing
        ]
        told += hub.observe(signals, {"": now_us}) if signals else 0
    return told


def _signals(place: str, found: Iterable[Difference], regions: Sequence[str], now_us: int) -> Iterator[Signal]:
    contradictions = [one for one in found if one.contradicts]
    for region in regions:
        about = [one for one in contradictions if one.region == region]
        cells = {cell for one in about for cell in one.cells}
        yield contradiction(str(place), region, len(about), about[0].text() if about else "", tuple(cells), now_us)
