"""`ridecast train`: what it shows, and when it refuses."""

from pathlib import Path

import pytest

from ridecast.commands.train import champion_of
from schemas.configuration.settings import Settings
from schemas.regions import load_region
from tests.ridecast.conftest import REGION, Call, Small


def test_it_shows_the_errors_and_that_it_serves(small: Small) -> None:
    """A row for each horizon against the baseline, the model by its digest, and that it was promoted."""
    text = small.made["train"].out
    champion = champion_of(Settings.from_env({}, {"home": small.home}), load_region(REGION))
    assert champion is not None
    assert f"{REGION} requests: model {champion.hex()[:12]}, " in text
    assert [True] * 3 == [f"{horizon} min" in text for horizon in (15, 30, 60)]
    assert text.endswith("promoted: it serves from the next slot on\n")


def test_without_promotion_it_serves_nothing(small: Small, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was only recorded is said to serve nothing; the options reach the training."""
    asked: dict[str, object] = {}
    named: list[object] = []

    def train_region(stores: object, region: object, **given: object) -> list[object]:
        asked.update(given)
        named.append(region)
        return []

    monkeypatch.setattr("dataflows.jobs.learn.train_region", train_region)
    done = call("train", "--home", small.home, "--most-rows", 20_000)
    assert (0, "recorded as challenger: it serves nothing until it is promoted; `ridecast promote MODEL` does so\n") == (
        done.status,
        done.out,
    )
    assert (False, 20_000, [None]) == (asked["promote"], asked["most_rows"], named)
    call("train", "--home", small.home, "--region", "nyc", "--region", REGION)
    assert [load_region("nyc"), load_region(REGION)] == named[1:]


def test_too_little_history_is_said(tmp_path: Path, call: Call) -> None:
    """A region without history cannot be trained for: what is needed and what there is are said, and no champion is left behind."""
    call("bootstrap", "--region", "nyc", "--until", "2014-05-01", "--home", tmp_path, "--no-history")
    done = call("train", "--home", tmp_path, "--promote")
    assert (
        2,
        "ridecast: train: expected at least 2000 rows of cells with 0.05 rides per 15 min, got 0 from 0 slots; give it more history\n",
    ) == (
        done.status,
        done.err,
    )
    assert champion_of(Settings.from_env({}, {"home": tmp_path}), load_region("nyc")) is None


def test_a_region_that_is_not_there(small: Small, call: Call) -> None:
    """A region that ships but was never bootstrapped is named with the command that does it."""
    done = call("train", "--home", small.home, "--region", "nyc")
    said = "ridecast: region nyc: not bootstrapped in this home; run `ridecast bootstrap --region nyc --until DATE` first\n"
    assert (1, said) == (done.status, done.err)
