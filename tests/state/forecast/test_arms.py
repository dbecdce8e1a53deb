"""The challenger's arm serves its cells of a block, and no other."""

from typing import cast

import numpy as np

from schemas.events.rides import Float64s
from schemas.records.records import ExperimentStarted
from state.demand.history import Arrays, CountHistory
from state.forecast.arms import ARMS_SINCE, Arms, Twin, design_of
from tests.state.model_city import CELLS, HOURLY

STARTED = ExperimentStarted(
    region="town",
    measure="pickups",
    experiment="one",
    champion=bytes(32),
    challenger=bytes(31) + b"\1",
    seed="one",
    share_milli=500,
    block_slots=6,
    levels=0,
    washout_slots=0,
    start_slot=600,
    until_slot=1_200,
    loss="absolute",
    until_decided=False,
    author="tests",
    reason="",
)


class Sevens:
    """A forecaster whose every mean is seven."""

    def follow(self, version: int) -> None:
        """Any version will do."""

    def use(self, model: bytes | None) -> None:
        """Any model will do."""

    def from_arrays(self, arrays: Arrays) -> None:
        """It has no state."""

    def skip_issue(self, history: CountHistory, slot: int) -> None:
        """Nothing is learned."""

    def means_of(self, slot: int) -> Float64s:
        """Of every cell and horizon."""
        return np.full((len(CELLS), 3), 7.0)


def served(slot: int, own: np.ndarray) -> np.ndarray:
    """Which cells get the challenger's mean at a slot, where the champion's are all one."""
    arms = Arms(lambda: cast("Twin", Sevens()))
    arms.challenge((STARTED, b"artefact"), ARMS_SINCE, dict)
    means = np.ones((len(CELLS), 3))
    arms.serve(CountHistory(HOURLY), slot, CELLS, own, means)
    assert set(np.unique(means)) <= {1.0, 7.0}
    return np.asarray((means == 7.0).all(axis=1))


def test_only_cells_with_a_model_are_challenged() -> None:
    """Cells that the champion does not serve with its own model keep their means, whatever the hash says of them."""
    own = np.arange(len(CELLS)) % 3 > 0
    challenged = design_of(STARTED).challenged(CELLS, 605)
    assert (challenged & ~own).any()
    assert (challenged & own).tolist() == served(605, own).tolist()


def test_nothing_is_challenged_outside_the_experiment() -> None:
    """Before its first slot and from its end on, the champion serves everything."""
    everything = np.ones(len(CELLS), np.bool_)
    assert served(600, everything).any()
    assert served(1_199, everything).any()
    assert not served(599, everything).any()
    assert not served(1_200, everything).any()
