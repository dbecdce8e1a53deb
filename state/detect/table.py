"""The table of detectors, one row each. A new detector is a file and a row; one suite checks all rows."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from schemas.forecasts.watched import WatchedSlot
from schemas.regions import Region
from state.detect import growth, level, mix, shares, silence, spoofing, surge
from state.detect.detector import Detector
from state.detect.signals import Signal


@dataclass(frozen=True, slots=True)
class Row:
    """One detector.

    Attributes:
        name: Source of its signals.
        kinds: Kinds of its signals, as the table of causes names them (`state/decide/alert_causes.py`).
        threshold: By default, in nats or in the detector's own unit.
        make: Region and threshold -> a detector that has seen nothing.
        bytes_per_cell, bytes_besides: Of its arrays, at most; the former per cell and per partition.
    """

    name: str
    kinds: tuple[str, ...]
    threshold: float
    make: Callable[[Region, float], Detector]
    bytes_per_cell: int = 32
    bytes_besides: int = 64


def _share(counted: shares.Counted) -> Row:
    return Row(counted.name, (counted.kind,), shares.THRESHOLD_NATS, partial(_share_detector, counted))


def _share_detector(counted: shares.Counted, region: Region, threshold: float) -> Detector:
    return shares.ShareDetector(region, counted, threshold)


DETECTORS = (
    Row("silence", (silence.REGION_OUTAGE, silence.PARTITION_OUTAGE), silence.THRESHOLD_NATS, silence.SilenceDetector),
    *map(_share, (shares.DUPLICATES, shares.SCHEMA, shares.CLOCK, shares.PLACE, shares.LATENESS)),
    Row("surge", ("surge",), surge.THRESHOLD_NATS, surge.SurgeDetector),
    Row("spoofing", ("spoofing",), spoofing.THRESHOLD_NATS, spoofing.SpoofingDetector, bytes_per_cell=64),
    Row("level", ("level",), level.THRESHOLD_NATS, level.LevelDetector, bytes_besides=1_700),
    Row("mix", ("mix",), mix.THRESHOLD, mix.MixDetector, bytes_per_cell=4 * mix.BLOCKS + 8, bytes_besides=600),
    Row("growth", ("growth",), growth.THRESHOLD_NATS, growth.GrowthDetector, bytes_besides=400),
)


class Detectors:
    """All detectors of a region, which have seen nothing."""

    def __init__(self, region: Region) -> None:
        self._detectors = [row.make(region, row.threshold) for row in DETECTORS]

    def see(self, watched: WatchedSlot) -> list[Signal]:
        """Let each of them take the next closed slot; what they say, in the order of the table."""
        return [signal for detector in self._detectors for signal in detector.see(watched)]


def signals_of(region: Region, slots: Iterable[WatchedSlot]) -> Iterator[Signal]:
    """What all detectors say about consecutive slots, in order."""
    detectors = Detectors(region)
    for watched in slots:
        yield from detectors.see(watched)
