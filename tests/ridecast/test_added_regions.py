"""Regions that are added during a run: found, refused, taken up and joined, each once."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from dataflows.connectors.sources import RideSource, open_rides
from dataflows.stream.resume import ResumePlan
from dataflows.stream.start import plan_regions, run_embedded
from dataflows.stream.stores import Stores
from ridecast.added_regions import FOLDER, LOOK_EVERY_S, Additions, added_in, far_behind, note_added
from schemas.errors import StoreUnavailable
from schemas.regions import Region
from tests.simulation.two import WEST, settle_both
from tests.simulation.world import make_region


@dataclass
class Watched:
    """Additions to a home of the small region, which has closed its slots, and what became of them."""

    home: Path
    stores: Stores
    source: RideSource
    now_s: float = 0.0
    shown: list[Region] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.additions = self.watch(["small"], [])

    def watch(self, together: list[str], beside: list[str]) -> Additions:
        return Additions(self.home, self.stores, self.source, together, beside, self.shown.append, self.said.append, lambda: self.now_s)

    def look(self) -> list[str]:
        """What the supervisor has done until now."""
        self.now_s += LOOK_EVERY_S
        self.additions.look()
        self.additions.apply(self)
        return self.done

    def take_up(self, region: str) -> None:
        self.done.append(f"take up {region}")

    def join(self, region: str) -> None:
        self.done.append(f"join {region}")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A home with both regions, of which only the small one has run."""
    place = settle_both(tmp_path / "place", bootstrapped=[WEST]).place
    stores, source = place.open(), open_rides(place.rides)
    run_embedded(stores, source, ["small"], bounded=True)
    yield Watched(place.home, stores, source)
    source.close()
    stores.close()


def test_a_region_is_taken_up_once_and_joins_when_it_has_caught_up(watched: Watched) -> None:
    """It is shown with its recorded definition; it joins after it has closed the slots that the others have, and not before."""
    assert [] == watched.look()
    note_added(watched.home, make_region(id=WEST))
    assert ["take up west"] == watched.look()
    note_added(watched.home, make_region(id=WEST))
    assert ["take up west"] == watched.look()
    assert [WEST] == [region.id for region in watched.shown]
    run_embedded(watched.stores, watched.source, [WEST], bounded=True)
    assert ["take up west", "join west"] == watched.look()
    assert (["take up west", "join west"], []) == (watched.look(), watched.said)


def test_what_cannot_run_is_refused_once_for_each_time_that_it_is_added(watched: Watched) -> None:
    """A region without a bootstrap is named with the reason, once; added again, it is tried again."""
    note_added(watched.home, make_region(id="ghost"))
    (watched.home / FOLDER / ".west.json.1-2.tmp").write_text("half")
    for _ in range(3):
        assert [] == watched.look()
    why = "region ghost: not bootstrapped in this home; run `ridecast bootstrap --region ghost --until DATE` first"
    said = f"region ghost was added but cannot be taken up: {why}; the run goes on without it"
    assert [said] == watched.said
    os.utime(watched.home / FOLDER / "ghost.json", ns=(1, 1))
    assert {"ghost": 1} == added_in(watched.home)
    watched.look()
    assert [said, said] == watched.said


def test_what_cannot_be_asked_now_is_asked_again(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a server is away nothing is refused and nothing is taken up; afterwards it is."""
    note_added(watched.home, make_region(id=WEST))

    def away() -> tuple[int, ...]:
        raise StoreUnavailable("no broker")

    with monkeypatch.context() as patch:
        patch.setattr(watched.source, "partitions", away)
        assert ([], []) == (watched.look(), watched.said)
    assert ["take up west"] == watched.look()


def test_a_region_that_lags_starts_beside_the_others(watched: Watched) -> None:
    """More than an hour behind a region that has closed slots it has a forecaster of its own; between two new ones nobody waits."""
    small, west = plan_regions(watched.stores, watched.source, ["small", WEST])
    assert [WEST] == far_behind([small, west])
    assert [] == far_behind([small, later(west, small.next_slot - 12)])
    assert [WEST] == far_behind([small, later(west, small.next_slot - 13)])
    assert [] == far_behind([west, replace(west, next_slot=west.next_slot + 99, bootstrapped=replace(west.bootstrapped, start_slot=2**40))])
    watched.additions = watched.watch(["small"], [WEST])
    assert [] == watched.look()
    run_embedded(watched.stores, watched.source, [WEST], bounded=True)
    assert ["join west"] == watched.look()


def later(plan: ResumePlan, slot: int) -> ResumePlan:
    """A plan that resumes at another slot."""
    return replace(plan, next_slot=slot)
