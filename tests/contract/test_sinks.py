"""The contract of every sink of forecasts and of rejects, run against files and a real broker."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import fastavro
import pytest

from dataflows.connectors.rejects import Choice
from dataflows.connectors.sealing import Seals
from dataflows.connectors.sinks import FileForecasts, FileRejects, ForecastSink, KafkaForecasts, KafkaRejects, RejectSink
from schemas.events.rides import NO_TIME, Reason, Rejected
from schemas.forecasts.messages import decode_demand_forecast
from tests.forecast_samples import sample_messages
from tests.services.committed import committed

LOG = "region/nyc"

Seen = dict[bytes, int | None]  # key -> log index of its newest forecast, None once it has retired


class Outlet(Protocol):
    """A destination of forecasts under test, with a reader's view of it."""

    def open(self) -> ForecastSink: ...
    def seen(self) -> list[tuple[bytes, int | None]]: ...


class FileOutlet:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> ForecastSink:
        return FileForecasts(self._folder)

    def seen(self) -> list[tuple[bytes, int | None]]:
        found: list[tuple[bytes, int | None]] = []
        for path in sorted(self._folder.rglob("*.avro")):
            with path.open("rb") as file:
                reader = fastavro.reader(file)
                for record in reader:
                    assert isinstance(record, dict)
                    found.append((f"{record['region']}/{record['cell']}".encode(), record["log_index"]))
                found += [(key.encode(), None) for key in json.loads(reader.metadata["ridecast.retired"])]
        return found


class KafkaOutlet:
    def __init__(self, bootstrap: str, instance: str) -> None:
        self._bootstrap, self._instance = bootstrap, instance

    def open(self) -> ForecastSink:
        return KafkaForecasts(self._bootstrap, self._instance, "nyc", patience_s=20.0)

    def seen(self) -> list[tuple[bytes, int | None]]:
        messages = committed(self._bootstrap, f"{self._instance}.demand.forecasts")
        indexes = [decode_demand_forecast(value)["log_index"] if value is not None else None for _, value in messages]
        return [(key, index) for (key, _), index in zip(messages, indexes, strict=True) if isinstance(index, int | None)]


@pytest.fixture(params=["files", "kafka"])
def outlet(request: pytest.FixtureRequest, tmp_path: Path) -> Outlet:
    """A destination without forecasts."""
    if request.param == "files":
        return FileOutlet(tmp_path / "forecasts")
    return KafkaOutlet(request.getfixturevalue("kafka"), request.getfixturevalue("kafka_topic")(0))


@pytest.fixture
def opening(outlet: Outlet) -> Iterator[Callable[[], ForecastSink]]:
    """Opens sinks that are closed at the end."""
    sinks: list[ForecastSink] = []

    def open_one() -> ForecastSink:
        sinks.append(outlet.open())
        return sinks[-1]

    yield open_one
    for sink in sinks:
        sink.close()


def expected(index: int) -> list[tuple[bytes, int | None]]:
    """The messages of one published issue, as readers see them."""
    return [(key, index) for key, _ in sample_messages(index)]


def test_a_new_sink_is_empty(outlet: Outlet, opening: Callable[[], ForecastSink]) -> None:
    """Before anything is published the cursor of every log is 0."""
    assert opening().cursor(LOG) == 0


def test_published_messages_are_visible_and_move_the_cursor(outlet: Outlet, opening: Callable[[], ForecastSink]) -> None:
    """All messages of an issue are visible when publish returns, and the cursor is the given one."""
    sink = opening()
    assert sink.publish(sample_messages(4), LOG, 5)
    assert sink.cursor(LOG) == 5
    assert sorted(outlet.seen(), key=str) == sorted(expected(4), key=str)


def test_the_cursor_survives_its_sink(outlet: Outlet, opening: Callable[[], ForecastSink]) -> None:
    """A sink that is opened again has the cursor of the last publish, and continues there."""
    opening().publish(sample_messages(4), LOG, 5)
    again = opening()
    assert again.cursor(LOG) == 5
    assert again.publish(sample_messages(7), LOG, 8)
    assert opening().cursor(LOG) == 8
    assert sorted(outlet.seen(), key=str) == sorted(expected(4) + expected(7), key=str)


def test_the_root_survives_its_sink(outlet: Outlet, opening: Callable[[], ForecastSink]) -> None:
    """The root of the last publish is returned with the cursor, by a sink that is opened again too; without one it is empty."""
    assert opening().root(LOG) == b""
    sink = opening()
    sink.publish(sample_messages(4), LOG, 5, bytes(range(32)))
    assert sink.root(LOG) == bytes(range(32))
    again = opening()
    assert (again.cursor(LOG), again.root(LOG)) == (5, bytes(range(32)))
    again.publish(sample_messages(7), LOG, 8)
    assert (opening().cursor(LOG), opening().root(LOG)) == (8, b"")


@pytest.mark.parametrize("next_index", [9, 10])
def test_nothing_is_published_twice(outlet: Outlet, opening: Callable[[], ForecastSink], next_index: int) -> None:
    """Publishing below the cursor changes nothing, with the same sink or with another."""
    sink = opening()
    assert sink.publish(sample_messages(9), LOG, 10)
    assert not sink.publish(sample_messages(9), LOG, next_index)
    assert not opening().publish(sample_messages(9), LOG, next_index)
    assert sorted(outlet.seen(), key=str) == sorted(expected(9), key=str)


def test_a_retired_cell_gets_a_tombstone(outlet: Outlet, opening: Callable[[], ForecastSink]) -> None:
    """A message without a value is a tombstone among the forecasts of its issue."""
    opening().publish([*sample_messages(0), (b"nyc/dr5reg", None)], LOG, 1)
    assert (b"nyc/dr5reg", None) in outlet.seen()
    assert len(outlet.seen()) == len(sample_messages(0)) + 1


def test_the_cursor_moves_without_messages(outlet: Outlet, opening: Callable[[], ForecastSink]) -> None:
    """An issue without cells moves the cursor and publishes no message."""
    assert opening().publish([], LOG, 3)
    assert opening().cursor(LOG) == 3
    assert outlet.seen() == []


def test_each_log_has_its_own_cursor(opening: Callable[[], ForecastSink]) -> None:
    """Publishing one log does not move the cursor of another."""
    sink = opening()
    sink.publish(sample_messages(4), LOG, 5)
    assert sink.cursor("region/tehran") == 0
    assert sink.publish(sample_messages(1), "region/tehran", 2)
    again = opening()
    assert (again.cursor(LOG), again.cursor("region/tehran")) == (5, 2)


def test_a_large_issue_is_published_completely(outlet: Outlet, opening: Callable[[], ForecastSink]) -> None:
    """Three thousand cells, as in New York, are published as one issue."""
    opening().publish(sample_messages(2, cells=3_100), LOG, 3)
    assert len(set(outlet.seen())) == len(outlet.seen()) == 3_100


# --- rejects -----------------------------------------------------------------------------------


@pytest.fixture(params=["files", "kafka"])
def opening_rejects(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], RejectSink]]:
    """Opens sinks on one empty store of rejects."""
    sinks: list[RejectSink] = []

    def open_one() -> RejectSink:
        if request.param == "files":
            sinks.append(FileRejects(tmp_path / "home" / "rejects.sqlite"))
        else:
            sinks.append(
                KafkaRejects(request.getfixturevalue("kafka"), Seals(tmp_path / "home" / "keys" / "rejects.key"), instance, patience_s=20.0)
            )
        return sinks[-1]

    instance = request.getfixturevalue("kafka_topic")(0) if request.param == "kafka" else ""
    yield open_one
    for sink in sinks:
        sink.close()


REJECTS = [
    Rejected(0, 7, NO_TIME, Reason.UNDECODABLE, b"\x00\xff\xfe", "not an event"),
    Rejected(0, 12, 1_400_000_000_000_001, Reason.BAD_FARE, b"", ""),
    Rejected(1, 3, 1_400_000_000_000_000, Reason.UNDECODABLE, bytes(range(256)), "ünïcode"),
]


def test_rejects_are_read_unchanged(opening_rejects: Callable[[], RejectSink]) -> None:
    """Bytes, reason, offset and time of every reject are readable, also by another process."""
    opening_rejects().write(REJECTS[::-1])
    assert opening_rejects().read() == REJECTS


def test_a_reject_is_kept_once(opening_rejects: Callable[[], RejectSink]) -> None:
    """Writing the same offset again, as a restart does, changes nothing."""
    sink = opening_rejects()
    sink.write(REJECTS[:2])
    sink.write(REJECTS[1:])
    opening_rejects().write(REJECTS)
    assert sink.read() == REJECTS
    assert sink.counts() == {Reason.BAD_FARE: 1, Reason.UNDECODABLE: 2}


def test_a_log_that_was_created_again_has_rejects_of_its_own(opening_rejects: Callable[[], RejectSink]) -> None:
    """The same offset of another log is another event: none is lost, each is kept once, and reads, counts and keys know both."""
    again = [replace(one, source='{"topic_id":"b"}', value=b"again %d" % one.offset) for one in REJECTS]
    before = [replace(one, source='{"topic_id":"a"}') for one in REJECTS]
    sink = opening_rejects()
    sink.write(before)
    for _ in range(2):
        opening_rejects().write(again)
    both = [one for pair in zip(before, again, strict=True) for one in pair]
    assert both == sink.read() == list(sink.scan(Choice()))
    assert {Reason.BAD_FARE: 2, Reason.UNDECODABLE: 4} == sink.counts()
    assert both[4:] == sink.read(partition=1)
    assert both[:3] == sink.read(limit=3)
    assert again == list(sink.scan(Choice(keep=lambda reject: reject.value.startswith(b"again"))))


def test_what_an_earlier_release_stored_is_not_stored_again(opening_rejects: Callable[[], RejectSink]) -> None:
    """An event without a source that comes again with one, as after an upgrade, is one event; another one at its offset is kept."""
    sink = opening_rejects()
    sink.write(REJECTS)
    sink.write([replace(REJECTS[0], source='{"topic_id":"a"}')])
    assert {Reason.BAD_FARE: 1, Reason.UNDECODABLE: 2} == sink.counts()
    assert [(one.partition, one.offset) for one in REJECTS] == [(one.partition, one.offset) for one in sink.read()]
    other = replace(REJECTS[1], logged_at_us=1_500_000_000_000_000, source='{"topic_id":"b"}')
    sink.write([other])
    assert [REJECTS[1], other] == sink.read(reason=Reason.BAD_FARE)


def test_rejects_can_be_filtered(opening_rejects: Callable[[], RejectSink]) -> None:
    """Rejects can be read by reason, by partition, or up to a limit."""
    sink = opening_rejects()
    sink.write(REJECTS)
    assert sink.read(reason=Reason.UNDECODABLE) == [REJECTS[0], REJECTS[2]]
    assert sink.read(partition=0) == REJECTS[:2]
    assert sink.read(reason=Reason.UNDECODABLE, partition=1) == REJECTS[2:]
    assert sink.read(limit=1) == REJECTS[:1]


@pytest.mark.parametrize(
    ("choice", "places"),
    [
        (Choice(), [0, 1, 2]),
        (Choice(reason=Reason.UNDECODABLE), [0, 2]),
        (Choice(partition=0, limit=1), [0]),
        (Choice(since_us=1_400_000_000_000_001), [1]),
        (Choice(until_us=1_400_000_000_000_001), [2]),
        (Choice(since_us=0), [1, 2]),
        (Choice(keep=lambda reject: reject.detail.startswith("ün"), limit=1), [2]),
        (Choice(keep=lambda reject: reject.value == b""), [1]),
        (Choice(limit=0), []),
    ],
)
def test_rejects_are_chosen_before_and_after_they_are_opened(
    opening_rejects: Callable[[], RejectSink], choice: Choice, places: list[int]
) -> None:
    """Reason, partition, log time, a test of the opened event and a limit choose together, by partition and offset."""
    sink = opening_rejects()
    sink.write(REJECTS[::-1])
    sink.write(REJECTS)
    assert [REJECTS[place] for place in places] == list(sink.scan(choice))


def test_no_rejects_are_no_error(opening_rejects: Callable[[], RejectSink]) -> None:
    """A store without rejects reads as empty, and writing none is allowed."""
    sink = opening_rejects()
    sink.write([])
    assert sink.read() == []
    assert list(sink.scan(Choice())) == []
    assert sink.counts() == {}
