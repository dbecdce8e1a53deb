"""A training killed at any moment, or with a full disk: the home verifies, nothing half-recorded serves, and a rerun completes."""

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataflows.jobs.promoting import check_artefact
from dataflows.stream.stores import open_stores
from ledger.views.model_story import MeasureStory, stories_of
from schemas.configuration.settings import Settings
from schemas.records.records import CONTROL_LOG, ModelPromoted, ModelTrained
from tests.dataflows.jobs.shifting_town import TOWN, Town
from tests.faults.faulty_training import STEPS
from tests.tree import ROOT

KILLS, SEED = 6, 1
RECORDED = "the model is promoted"  # the step before which the training is on record
EVERY_STEP = [pytest.param(step, marks=() if step == "the training is recorded" else pytest.mark.long) for step in STEPS]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a town without a model, to be copied."""
    home = tmp_path_factory.mktemp("town") / "home"
    made = Town(home)
    made.close_days(2, shifted=False)
    made.stores.close()
    return home


@pytest.fixture
def home(town: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(town, tmp_path / "home"))


def training(home: Path, *fault: str) -> subprocess.Popen[str]:
    """Start `ridecast train --promote`, at the mercy of a fault."""
    words = ["-m", "tests.faults.faulty_training", *fault] if fault else ["-m", "ridecast"]
    return started(*words, "train", "--home", str(home), "--promote")


def learner(home: Path, *fault: str) -> subprocess.Popen[str]:
    """Start the learner of a live run for one turn, at the mercy of a fault."""
    return started("-m", "tests.faults.faulty_training", *fault, "learner", str(home), TOWN.id)


def started(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, *words], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def checked(home: Path) -> MeasureStory:
    """What the control log says of the town's models, after every byte was verified and the champion's artefact was read."""
    verify = [sys.executable, "-m", "ridecast", "ledger", "verify", "--home", str(home)]
    done = subprocess.run(verify, cwd=ROOT, text=True, capture_output=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    stores = open_stores(Settings.from_env({}, {"home": home}))
    story = stories_of(stores.ledger).get((TOWN.id, "pickups")) or MeasureStory(TOWN.id, "pickups")
    for model in {story.champion, *story.models}:
        check_artefact(stores, model)
    trained = {record.model for record in stores.ledger.records(CONTROL_LOG, ModelTrained)}
    promoted = {record.model for record in stores.ledger.records(CONTROL_LOG, ModelPromoted)}
    stores.close()
    assert promoted <= trained
    return story


def complete(home: Path) -> None:
    """The same command again trains and promotes."""
    again = training(home)
    _, err = again.communicate(timeout=200)
    assert 0 == again.returncode, err
    story = checked(home)
    assert story.champion
    assert not story.challenger


@pytest.mark.parametrize("step", EVERY_STEP)
def test_a_training_that_is_killed_at_a_step(step: str, home: Path) -> None:
    """Nothing serves that is not recorded whole; a training that is on record is a challenger, which the rerun promotes."""
    process = training(home, step, "killed")
    process.communicate(timeout=200)
    assert -9 == process.returncode
    story = checked(home)
    assert (b"", step == RECORDED) == (story.champion, bool(story.challenger))
    if step != "the training is recorded":  # the cheap one
        complete(home)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_training_that_is_killed_at_random_moments(home: Path, town: Path, tmp_path: Path) -> None:
    """Six kills on one home, at moments that a seed chooses within the time of a whole training, and then the same model as without."""
    whole = Path(shutil.copytree(town, tmp_path / "whole"))
    began = time.monotonic()
    training(whole).communicate(timeout=200)
    takes_s, expected = time.monotonic() - began, checked(whole)
    rng, killed = random.Random(SEED), 0
    for _ in range(KILLS):
        process = training(home)
        try:
            process.communicate(timeout=rng.uniform(0.1, 1.0) * takes_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
        story = checked(home)
        assert story.champion in (b"", expected.champion)
    assert killed
    complete(home)
    assert expected.champion == checked(home).champion


@pytest.mark.long
@pytest.mark.parametrize("step", ["a horizon is fitted", "the artefact is stored"])
def test_a_disk_that_fills_during_a_training(step: str, home: Path) -> None:
    """The command ends with one line that says what to do; the home verifies, nothing is recorded, and with room a rerun completes."""
    process = training(home, step, "full")
    _, err = process.communicate(timeout=200)
    assert 1 == process.returncode
    [line] = [line for line in err.splitlines() if line.startswith("ridecast: ")]
    assert "File too large; files of this process may not be so long: raise the limit (ulimit -f), then try again" in line
    assert "Traceback" not in err
    assert not checked(home).models
    complete(home)


@pytest.mark.long
@pytest.mark.parametrize("step", ["a horizon is fitted", "the training is recorded"])
def test_a_learner_that_is_killed_while_it_trains(step: str, home: Path) -> None:
    """The learner that is started next trains once, and its model is a challenger that serves nothing."""
    process = learner(home, step, "killed")
    process.communicate(timeout=200)
    assert -9 == process.returncode
    assert not checked(home).models
    for _ in range(2):
        again = learner(home, step, "whole")
        _, err = again.communicate(timeout=200)
        assert 0 == again.returncode, err
        story = checked(home)
        assert (b"", 1) == (story.champion, len(story.models))
        assert story.challenger
