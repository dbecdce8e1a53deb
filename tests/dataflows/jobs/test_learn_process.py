"""The learner process: it follows the ledger until it is told to stop, keeps its trials, and measures what a close takes."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dataflows.jobs.learn_process import run_learner
from dataflows.jobs.promoting import hold_models
from dataflows.jobs.shadowing import KeptShadows
from schemas.configuration.settings import Settings
from schemas.errors import NotFound
from tests.dataflows.jobs.shifting_town import TOWN, Town


@dataclass(slots=True)
class Turns:
    """A stop that closes a slot of the town whenever the learner waits, and is set after some."""

    town: Town
    left: int
    waits: list[float | None] = field(default_factory=list)

    def is_set(self) -> bool:
        return self.left == 0

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        self.town.close_slots(1, shifted=False)
        self.left -= 1
        return self.is_set()


def test_it_follows_until_it_is_stopped(tmp_path: Path) -> None:
    """It waits a second whenever nothing is new, and stops when told; a region that is not there ends it at once."""
    town = Town(tmp_path / "home")
    town.close_slots(2, shifted=False)  # past the end of a day, after which it would train
    hold_models(town.stores, TOWN.id, "pickups")  # training has tests of its own
    turns = Turns(town, 3)
    settings = Settings.from_env({}, {"home": tmp_path / "home"})
    run_learner(settings, [TOWN.id], turns)
    assert [1.0] * 3 == turns.waits
    with pytest.raises(NotFound, match="region nowhere: not bootstrapped"):
        run_learner(settings, ["nowhere"], turns)
    town.stores.close()


def test_what_was_kept_is_read_or_missing(tmp_path: Path) -> None:
    """Without a file, with one cut short, and with one of something else there is nothing to go on with."""
    kept = KeptShadows(tmp_path)
    assert kept.load("a") is None
    for content in (b"", b"PK\x03\x04 half a file", b"something else"):
        (tmp_path / "a.npz").write_bytes(content)
        assert kept.load("a") is None
    kept.drop("a")
    kept.drop("a")
    assert [] == list(tmp_path.iterdir())
