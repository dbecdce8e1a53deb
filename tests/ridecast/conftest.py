"""What the tests of the command line share: one small home with history, a model and a day of forecasts; and a caller."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ridecast.main import main
from tests.ridecast.calls import Done, ridecast

REGION, UNTIL, END = "tehran", "2025-04-07", "2025-04-08"  # two days of history, one day of forecasts
Call = Callable[..., Done]


@dataclass(frozen=True, slots=True)
class Small:
    """A small home in its folder, with the checkpoint of its bootstrap; nobody writes to it: who must, asks for a copy.

    Attributes:
        folder: Holds `rides` and `home`.
        made: How the commands that made it ended, by name.
    """

    folder: Path
    made: dict[str, Done]

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def rides(self) -> Path:
        return self.folder / "rides"


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """The small home, made by the commands that a person would type."""
    folder = tmp_path_factory.mktemp("small")
    made: dict[str, Done] = {}
    region, rides, home = ("--region", REGION), ("--rides", "rides"), ("--home", "home")
    for words in (
        ("simulate", *region, "--days", 3, "--rides-per-day", 300, "--seed", 7, "--out", "rides"),
        ("bootstrap", *region, *rides, *home, "--until", UNTIL),
        ("train", *home, "--promote", "--most-rows", 10_000),
        ("run", *region, *rides, *home, "--until-end"),
    ):
        done = made[str(words[0])] = ridecast(*words, cwd=folder)
        assert (words, 0) == (words, done.status), done.err
        if words[0] == "bootstrap":
            shutil.copy(folder / "home/checkpoints/region__tehran.txt", folder / "first_checkpoint.txt")
    return Small(folder, made)


@pytest.fixture
def copy(small: Small, tmp_path: Path) -> Small:
    """A copy of the small home for one test."""
    shutil.copytree(small.folder, tmp_path, dirs_exist_ok=True)
    return Small(tmp_path, small.made)


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """`call(*words, env={})`: the program's own entry point in this process, which is quicker; what C code prints is seen too."""
    for name in os.environ:
        if name.startswith("RIDECAST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object, **env: str) -> Done:
        with monkeypatch.context() as patch:
            patch.setattr("sys.argv", ["ridecast", *map(str, words)])
            for name, value in env.items():
                patch.setenv(name, value)
            capfd.readouterr()
            mask = os.umask(0o022)
            try:
                with pytest.raises(SystemExit) as ended:
                    main()
            finally:
                os.umask(mask)  # the program makes files for its user only; later tests and their servers do not
        out, err = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, out, err)

    return run
