"""A signal of reconciling: numbers that are served contradict the ledger, or no longer do."""

from collections.abc import Sequence

from state.detect.signals import MACHINE, Severity, Signal

SOURCE = "reconcile"
KIND = "contradiction"
CELLS_NAMED = 20


def contradiction(place: str, region: str, count: int, first: str, cells: Sequence[str], at_us: int) -> Signal:
    """What a comparison of one place says of a region: it fires while served numbers contradict the ledger, and ends otherwise.

    Args:
        place: The online store or the topic, by name.
        count: Of contradictions.
        first: The first of them in words; empty if there is none.
        cells: Cells that they concern.
        at_us: Microseconds since 1970.

    >>> contradiction("topic", "nyc", 0, "", (), 5).firing
    False
    """
    if count:
        message = f"{count} values of {place} contradict the ledger, such as {first}."
    else:
        message = f"No value of {place} contradicts the ledger."
    return Signal(
        source=SOURCE,
        kind=KIND,
        region=region,
        subject=place,
        slot=MACHINE,
        since_slot=MACHINE,
        seen_at_us=at_us,
        severity=Severity.CRITICAL,
        firing=count > 0,
        value=float(count),
        threshold=1.0,
        unit="values",
        message=message,
        cells=tuple(sorted(cells))[:CELLS_NAMED],
    )
