"""Surges that the forecast follows, and crowds that are none."""

from dataclasses import replace

import numpy as np

from schemas.forecasts.watched import WatchedSlot
from state.detect.surge import LAG, SurgeDetector
from tests.state.detect import streams

FOLLOWS_AFTER = 1  # slots


def followed(number: int, watched: WatchedSlot) -> WatchedSlot:
    """A slot whose forecast has followed the surge."""
    factor = streams.surge(number) if number >= streams.FAULT_AT + FOLLOWS_AFTER else 1.0
    return replace(watched, means=watched.means * factor)


def test_a_surge_that_the_forecast_follows_at_once_is_seen() -> None:
    """Rides are compared with the forecast of half an hour before, so the surge fires in time, and ends when that has followed too."""
    for seed in range(1, 5):
        detector, said = SurgeDetector(streams.REGION), []
        for number, watched in enumerate(streams.stream(2.7, seed, demand=streams.surge)):
            said += [(number, signal.firing) for signal in detector.see(followed(number, watched))]
        begun = [number for number, firing in said if firing]
        assert streams.FAULT_AT <= begun[0] <= streams.FAULT_AT + 5
        ended = [number for number, firing in said if not firing]
        assert begun[0] < ended[-1] <= streams.FAULT_AT + FOLLOWS_AFTER + 2 * LAG


def test_a_forecast_that_has_fallen_is_no_surge() -> None:
    """Fewer rides than half an hour before, as forecast, are usual: only an older forecast of fewer rides counts."""
    falls = [np.full(len(streams.cells_of()), 3.0 if number < 70 else 1.0) for number in range(144)]
    detector = SurgeDetector(streams.REGION)
    for number, watched in enumerate(streams.stream(0.5, 1, demand=falls.__getitem__)):
        assert [] == detector.see(replace(watched, means=watched.means * falls[number]))
