"""Homes that several tests read: one with a finished run, and ones with trained models."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dataflows.jobs.learn import Trained, train_region
from dataflows.stream.stores import Stores
from tests.dataflows.stream.test_local import Killed, killed_after
from tests.simulation.fixtures import Settled
from tests.simulation.runs import Place, copied, run_here

LIVE_SLOTS = 30  # closed before the training, so that there are counts from live slots too
MOST_ROWS = 2_500


@dataclass(frozen=True, slots=True)
class Learned:
    """A home where the same training was done twice: recorded only, then promoted.

    Attributes:
        first, second: The result of each training.
        before: Entries of the region's log at that time.
    """

    place: Place
    first: Trained
    second: Trained
    before: int


@pytest.fixture(scope="session")
def finished(settled: Settled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """The stores of a home with a finished bounded run; copy before changing."""
    place = copied(settled.place, tmp_path_factory.mktemp("finished") / "home")
    run_here(place)
    stores = place.open()
    yield stores
    stores.close()


@pytest.fixture(scope="session")
def learned(settled: Settled, tmp_path_factory: pytest.TempPathFactory) -> Learned:
    """A home after some live slots and two trainings; copy it before changing it."""
    place = copied(settled.place, tmp_path_factory.mktemp("learned") / "home")
    with contextlib.suppress(Killed):
        run_here(place, killed_after(LIVE_SLOTS), batch_events=20)
    stores = place.open()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 1)  # on shared cores, several threads wait for each other
        first = train_region(stores, None, promote=False, most_rows=MOST_ROWS)
        second = train_region(stores, place.world.region, promote=True, reason="a test", most_rows=MOST_ROWS)
    before = stores.ledger.head("region/small").size
    stores.close()
    return Learned(place, first[0], second[0], before)


@pytest.fixture(scope="session")
def written(learned: Learned, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A home with finished runs: thirty slots without a model, then more with one, written in two runs; copy before changing."""
    place = copied(learned.place, tmp_path_factory.mktemp("written") / "home")
    run_here(place)
    return place
