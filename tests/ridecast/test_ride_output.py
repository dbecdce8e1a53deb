"""Where rides land: a directory that is whole or not there, or a topic, and one of the two."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from dataflows.connectors.files.ridelog import PARTITIONS, partitions
from dataflows.connectors.sources import ORIGIN_FILE
from ridecast import ride_output
from schemas.errors import StoreUnavailable, UsageError

ORIGIN: dict[str, object] = {"made_by": "a test", "files": ["a", "b"], "seed": 1}


def land(out: Path, origin: dict[str, object] = ORIGIN) -> None:
    """Fill a directory with one event."""
    with ride_output.directory(out, origin) as place:
        place.sink.append(0, np.array([1_000_000]), [b"key"], [b"value"])


def test_a_directory_appears_with_its_origin(tmp_path: Path) -> None:
    """Partitions and origin stand in the directory when the block ends, and nothing beside it."""
    land(tmp_path / "deep" / "rides")
    assert tuple(range(PARTITIONS)) == partitions(tmp_path / "deep" / "rides")
    assert ORIGIN == json.loads((tmp_path / "deep" / "rides" / ORIGIN_FILE).read_text("utf-8"))
    assert [tmp_path / "deep" / "rides"] == list((tmp_path / "deep").iterdir())


def test_made_from_the_same_it_is_done(tmp_path: Path) -> None:
    """Order and tuples make no difference to an origin; anything else does."""
    land(tmp_path / "rides")
    assert ride_output.is_done(tmp_path / "rides", {"seed": 1, "files": ("a", "b"), "made_by": "a test"}) is True
    with pytest.raises(UsageError, match=r"^--out: expected a new or empty directory, got '.*rides', which holds rides of another origin$"):
        ride_output.is_done(tmp_path / "rides", ORIGIN | {"seed": 2})


@pytest.mark.parametrize("content", [None, b"{", b"\xff"])
def test_a_directory_with_anything_else_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """Files without an origin that can be read are somebody's, and stay as they are."""
    (tmp_path / "notes.txt").write_text("mine", "utf-8")
    if content is not None:
        (tmp_path / ORIGIN_FILE).write_bytes(content)
    with pytest.raises(UsageError, match=r"which is not empty$"):
        land(tmp_path)
    assert (tmp_path / "notes.txt").read_text("utf-8") == "mine"


def test_nothing_and_an_empty_directory_are_not_done(tmp_path: Path) -> None:
    """There is still something to do where nothing is; a file is no place for a directory."""
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    assert [False, False] == [ride_output.is_done(tmp_path / name, ORIGIN) for name in ("gone", "empty")]
    with pytest.raises(UsageError, match=r"^--out: expected a directory, got the file "):
        ride_output.is_done(tmp_path / "file", ORIGIN)


def test_an_error_inside_leaves_nothing(tmp_path: Path) -> None:
    """A block that fails takes its half directory with it, and its error is passed on as it was."""
    opened = ride_output.directory(tmp_path / "rides", ORIGIN)
    with pytest.raises(ZeroDivisionError), opened as place:
        place.sink.append(0, np.array([1]), [b"k"], [b"v" * (1 // 0)])
    assert [] == list(tmp_path.iterdir())


def test_a_full_disk_inside_is_said_with_the_place(tmp_path: Path) -> None:
    """What the system says is passed on with the option and the directory, and nothing is left."""
    with (
        pytest.raises(StoreUnavailable, match=r"^--out: cannot write to '.*rides': No space left on device$"),
        ride_output.directory(tmp_path / "rides", ORIGIN),
    ):
        raise OSError(28, "No space left on device")
    assert [] == list(tmp_path.iterdir())


class Sink:
    """A topic's sink that remembers what it was asked."""

    def __init__(self, *asked: object, append_to: bool) -> None:
        self.asked, self.flushed = (*asked, append_to), 0

    def append(self, partition: int, times_us: np.ndarray, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Take one."""

    def flush(self) -> None:
        """Wait for confirmations."""
        self.flushed += 1


def test_a_topic_is_confirmed_when_the_block_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sink gets what was asked for, and is flushed after the block, not when it fails."""
    monkeypatch.setattr("dataflows.connectors.kafka.producer.KafkaRideSink", Sink)
    with ride_output.topic("h:1", "rides", append_to=True) as place:
        sink = place.sink
        assert isinstance(sink, Sink)
        assert (("h:1", "rides", PARTITIONS, True), 0) == (sink.asked, sink.flushed)
    assert sink.flushed == 1
    monkeypatch.setattr("dataflows.connectors.kafka.producer.KafkaRideSink", lambda *asked, append_to: sink)
    with pytest.raises(ZeroDivisionError), ride_output.topic("h:1", "rides", append_to=False):
        raise ZeroDivisionError
    assert sink.flushed == 1


@pytest.mark.parametrize(
    ("out", "kafka", "said"),
    [
        (None, None, "expected one of --out DIR and --kafka HOST:PORT, got neither"),
        ("a", "h:1", "expected one of --out DIR and --kafka HOST:PORT, got both"),
        (None, "kafka://h:1", "--kafka: expected HOST:PORT, got 'kafka://h:1'"),
        (None, "h", "--kafka: expected HOST:PORT, got 'h'"),
        (None, "h:123456", "--kafka: expected HOST:PORT, got 'h:123456'"),
    ],
)
def test_one_place_is_chosen(out: str | None, kafka: str | None, said: str) -> None:
    """Neither, both, and what is no address are refused."""
    with pytest.raises(UsageError) as caught:
        ride_output.check_choice(out, kafka)
    assert said == str(caught.value)
    ride_output.check_choice("a", None)
    ride_output.check_choice(None, "h:1")


def test_the_current_directory_is_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--out .` in an empty directory fills it."""
    (tmp_path / "rides").mkdir()
    monkeypatch.chdir(tmp_path / "rides")
    land(Path())
    assert tuple(range(PARTITIONS)) == partitions(tmp_path / "rides")
