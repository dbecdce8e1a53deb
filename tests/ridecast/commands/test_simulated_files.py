"""The files that `ridecast simulate` writes beside its rides: labels, weather and areas, and where they may be."""

import os
import threading
from pathlib import Path

import pytest

from ledger.store.files import write_given
from schemas.errors import StoreUnavailable, UsageError
from tests.ridecast.commands.test_simulate import run

LATE = ("--fault", "late:from=+1d")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Paths are relative to a new directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_labels_that_cannot_be_written_leave_no_rides(here: Path) -> None:
    """A file that turns out not to be writable ends the command before the rides appear, so that it can be run again."""
    (here / "labels.json").symlink_to(here / "gone" / "labels.json")
    with pytest.raises(StoreUnavailable, match=r"--labels: cannot write to 'labels.json': No such file"):
        run("--out", "rides", *LATE, "--labels", "labels.json")
    assert ["labels.json"] == os.listdir(here)


def test_rides_that_are_there_need_their_labels() -> None:
    """Labels beside the rides are copied to another file; labels that are nowhere, or of other faults, are said to be missing."""
    run("--out", "rides", *LATE)
    assert "nothing to do" in run("--out", "rides", *LATE, "--labels", "copy.json").stdout
    assert Path("rides/labels.json").read_bytes() == Path("copy.json").read_bytes()
    Path("rides/labels.json").unlink()
    assert "nothing to do" in run("--out", "rides", *LATE, "--labels", "copy.json").stdout
    with pytest.raises(
        UsageError, match=r"expected the labels of the rides in 'rides', got 'rides/labels.json', which does not exist; give"
    ):
        run("--out", "rides", *LATE)
    for other in ("[1]", '{"faults": []}', "no JSON"):
        Path("copy.json").write_text(other)
        with pytest.raises(UsageError, match=r"got 'copy.json', which holds something else"):
            run("--out", "rides", *LATE, "--labels", "copy.json")


def test_labels_may_be_within_the_rides() -> None:
    """A file within the directory of the rides appears with it."""
    run("--out", "rides", *LATE, "--labels", "rides/truth/faults.json")
    assert Path("rides/truth/faults.json").is_file()
    assert not Path("rides/labels.json").exists()
    assert "nothing to do" in run("--out", "rides", *LATE, "--labels", "rides/truth/faults.json").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--weather", "a", "--areas", "a"), "--weather: expected another path than that of --areas, got 'a'; give each"),
        ((*LATE, "--labels", "./rides"), "--labels: expected another path than that of --out"),
        (("--supply", "drivers", "--weather", "drivers"), "--weather: expected another path than that of --supply"),
        ((*LATE, "--supply", "drivers", "--labels", "drivers/labels.json"), "--labels: expected a file outside of --supply"),
        (("--supply", "file"), "--supply: expected a directory, got the file 'file'"),
        (("--supply", "full"), "--supply: expected a new or empty directory, got 'full', which is not empty"),
    ],
)
def test_files_in_the_way_are_refused_before_the_work(words: tuple[str, ...], said: str) -> None:
    """Two outputs of one path, and a path that holds something, are refused under the name of their option."""
    Path("file").write_text("mine")
    Path("full").mkdir()
    Path("full/mine").write_text("mine")
    with pytest.raises(UsageError) as refused:
        run("--out", "rides", *words)
    assert said in str(refused.value)
    assert {"file", "full"} == set(os.listdir())


def test_a_pipe_and_a_link_stay_what_they_are(here: Path) -> None:
    """What a person names is written through a pipe or a link; only a regular file is replaced."""
    os.mkfifo(here / "pipe")
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append((here / "pipe").read_bytes()), daemon=True)
    reader.start()
    write_given(here / "pipe", b"one")
    reader.join(10)
    assert ([b"one"], True) == (received, (here / "pipe").is_fifo())
    (here / "link").symlink_to("file")
    for text in (b"two", b"three"):
        write_given(here / "link", text)
        assert (text, True) == ((here / "file").read_bytes(), (here / "link").is_symlink())
    write_given(here / "file", b"four")
    assert b"four" == (here / "link").read_bytes()
