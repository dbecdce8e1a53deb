"""The table of detectors, one row each. A new detector is a file and a row; one suite checks all rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from schemas.forecasts.watched import WatchedSlot
from schemas.regions import Region
from state.detect import growth, level, mix, shares, silence, spoofing, surge
from state.detect.detector import MOST_EVIDENCE, Detector, Threshold
from state.detect.signals import Signal


@dataclass(frozen=True, slots=True)
class Row:
    """One detector.

    Attributes:
        name: Source of its signals.
        kinds: Kinds of its signals, as the table of causes names them (`state/decide/alert_causes.py`).
        threshold: By default, in nats or in the detector's own unit.
        make: Region and threshold -> a detector that has seen nothing.
        unit: Of the threshold.
        lowest, never: Its bounds; at the latter the detector never fires.
        judged_min: Minutes from one judgement to the next; 0 if every slot is judged.
        by_cell: Whether a cell may have a threshold of its own.
        bytes_per_cell, bytes_besides: Of its arrays, at most; the former per cell and per partition.
    """

    name: str
    kinds: tuple[str, ...]
    threshold: float
    make: Callable[[Region, float], Detector]
    unit: str = "nats"
    lowest: float = 0.5
    never: float = MOST_EVIDENCE
    judged_min: int = 0
    by_cell: bool = False
    bytes_per_cell: int = 32
    bytes_besides: int = 64


def _share(counted: shares.Counted) -> Row:
    return Row(counted.name, (counted.kind,), shares.THRESHOLD_NATS, partial(_share_detector, counted))


def _share_detector(counted: shares.Counted, region: Region, threshold: float) -> Detector:
    return shares.ShareDetector(region, counted, threshold)


DETECTORS = (
    Row("silence", (silence.REGION_OUTAGE, silence.PARTITION_OUTAGE), silence.THRESHOLD_NATS, silence.SilenceDetector),
    *map(_share, (shares.DUPLICATES, shares.SCHEMA, shares.CLOCK, shares.PLACE, shares.LATENESS)),
    Row("surge", ("surge",), surge.THRESHOLD_NATS, surge.SurgeDetector, by_cell=True, bytes_per_cell=40 + 16 * surge.LAG),
    Row("spoofing", ("spoofing",), spoofing.THRESHOLD_NATS, spoofing.SpoofingDetector, bytes_per_cell=64),
    Row("level", ("level",), level.THRESHOLD_NATS, level.LevelDetector, judged_min=60, bytes_besides=1_700),
    Row(
        "mix",
        ("mix",),
        mix.THRESHOLD,
        mix.MixDetector,
        unit="distance",
        lowest=0.001,
        never=mix.NEVER,
        judged_min=60 * mix.BLOCK_H,
        bytes_per_cell=4 * mix.BLOCKS + 8,
        bytes_besides=600,
    ),
    Row("growth", ("growth",), growth.THRESHOLD_NATS, growth.GrowthDetector, judged_min=24 * 60, bytes_besides=400),
)


class Detectors:
    """All detectors of a region, which have seen nothing."""

    def __init__(self, region: Region) -> None:
        self._detectors = {row.name: row.make(region, row.threshold) for row in DETECTORS}

    def use(self, thresholds: Mapping[str, Threshold]) -> None:
        """From the next slot on, fire above these thresholds: by the name of the detector; those without one keep theirs."""
        for name, threshold in thresholds.items():
            self._detectors[name].use(threshold)

    def see(self, watched: WatchedSlot) -> list[Signal]:
        """Let each of them take the next closed slot; what they say, in the order of the table."""
        return [signal for detector in self._detectors.values() for signal in detector.see(watched)]


def signals_of(
    region: Region, slots: Iterable[WatchedSlot], thresholds: Callable[[WatchedSlot], Mapping[str, Threshold]] = lambda watched: {}
) -> Iterator[Signal]:
    """What all detectors say about consecutive slots, in order.

    Args:
        thresholds: Of each slot, as `Detectors.use` takes them.
    """
    detectors = Detectors(region)
    for watched in slots:
        detectors.use(thresholds(watched))
        yield from detectors.see(watched)
