"""The small world that most simulations share, with the payloads of its uninterrupted run."""

from dataclasses import dataclass, field

import pytest

from tests.simulation.runs import Place, copied, run_here, settle
from tests.simulation.world import make_world

SEED = 7


@dataclass(frozen=True, slots=True)
class Settled:
    """A place whose live hours have not been run, and what an uninterrupted run of them records."""

    place: Place
    expected: list[bytes] = field(repr=False)  # a failing property prints what it was given


@pytest.fixture(scope="session")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Settled:
    """One world in files; copy its home before you run it."""
    folder = tmp_path_factory.mktemp("world")
    print(f"seed of the small world: {SEED}")
    place = settle(make_world(SEED), folder)
    return Settled(place, run_here(copied(place, folder / "oracle")))
