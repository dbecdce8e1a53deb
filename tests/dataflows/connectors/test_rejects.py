"""The file of rejected events: concurrent writers, failed batches and outages; tests/contract has the suite of both sinks."""

import socket
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from dataflows.connectors.rejects import Choice, FileRejects, KafkaRejects
from dataflows.connectors.sealing import Seals
from schemas.errors import StoreUnavailable
from schemas.events.rides import NO_TIME, Reason, Rejected
from schemas.forecasts.messages import decode_reject, encode_reject

rejects = st.builds(
    Rejected,
    partition=st.integers(0, 3),
    offset=st.integers(0, 2**62),
    logged_at_us=st.just(NO_TIME) | st.integers(0, 2**53),
    reason=st.sampled_from(list(Reason)),
    value=st.binary(max_size=300),
    detail=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)
SOURCES = st.sampled_from(["", '{"topic_id":"a"}', '{"topic_id":"b"}'])
NUMBERS = iter(range(10**9))


def reject(offset: int, partition: int = 0) -> Rejected:
    """One rejected event."""
    return Rejected(partition, offset, 1_400_000_000_000_000, Reason.BAD_ID, b"bytes of %d" % offset, "empty")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rejects, max_size=20), st.data())
def test_the_first_of_each_offset_is_kept(tmp_path: Path, given_rejects: list[Rejected], data: st.DataObject) -> None:
    """Written in any batches, each partition and offset keeps its first event, in order, and counts add up by reason."""
    expected: dict[tuple[int, int], Rejected] = {}
    for one in given_rejects:
        expected.setdefault((one.partition, one.offset), one)
    sink = FileRejects(tmp_path / f"{next(NUMBERS)}.sqlite")
    cut = data.draw(st.integers(0, len(given_rejects)))
    sink.write(given_rejects[:cut])
    sink.write(given_rejects[cut:])
    kept = [one for _, one in sorted(expected.items())]
    assert kept == sink.read()
    assert {reason: n for reason in Reason if (n := sum(one.reason is reason for one in kept))} == sink.counts()
    for partition in range(4):
        for reason in (Reason.BAD_ID, Reason.UNDECODABLE):
            chosen = [one for one in kept if one.partition == partition and one.reason is reason]
            assert chosen[:2] == sink.read(reason, partition, 2)
    sink.close()


@given(rejects, SOURCES)
def test_a_message_has_all_fields_of_a_reject(without: Rejected, source: str) -> None:
    """A reject is decoded exactly as it was encoded, and its key names source, partition and offset."""
    one = replace(without, source=source)
    key, value = encode_reject(one)
    assert one == decode_reject(value)
    assert f"{one.partition}/{one.offset}" == key.decode().removeprefix(key.decode().rpartition("/")[0].rpartition("/")[0]).lstrip("/")
    assert (source == "") == (key.count(b"/") == 1)


def test_several_processes_write_one_file(tmp_path: Path) -> None:
    """Writers of different partitions wait for each other and lose nothing."""
    sinks = [FileRejects(tmp_path / "rejects.sqlite") for _ in range(4)]

    def write(partition: int) -> None:
        for offset in range(0, 60, 3):
            sinks[partition].write([reject(offset + i, partition) for i in range(3)])

    writers = [threading.Thread(target=write, args=(partition,)) for partition in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [reject(offset, partition) for partition in range(4) for offset in range(60)] == sinks[0].read()
    for sink in sinks:
        sink.close()


def test_a_batch_is_stored_completely_or_not_at_all(tmp_path: Path) -> None:
    """If one reject of a batch cannot be written none is, and the sink keeps working."""
    sink = FileRejects(tmp_path / "rejects.sqlite")
    too_large = Rejected(0, 2**63, NO_TIME, Reason.BAD_ID, b"", "")  # an offset that no log has
    with pytest.raises((StoreUnavailable, OverflowError)):
        sink.write([reject(1), too_large])
    assert [] == sink.read()
    sink.write([reject(1)])
    assert [reject(1)] == sink.read()
    sink.close()


def test_an_unusable_file_is_reported(tmp_path: Path) -> None:
    """A folder in its place and a file of another kind raise StoreUnavailable with their path."""
    with pytest.raises(StoreUnavailable, match=rf"rejects: {tmp_path}: "):
        FileRejects(tmp_path)
    (tmp_path / "rejects.sqlite").write_bytes(b"no database " * 100)
    with pytest.raises(StoreUnavailable, match=r"rejects: .*rejects.sqlite: file is not a database"):
        FileRejects(tmp_path / "rejects.sqlite")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="rejects: "):
        FileRejects(tmp_path / "file" / "rejects.sqlite")


@pytest.mark.parametrize("call", ["write", "read", "counts"])
def test_a_lost_file_is_reported(tmp_path: Path, call: str) -> None:
    """Every call on a file that no longer works raises StoreUnavailable, never SQLite's own error."""
    sink = FileRejects(tmp_path / "rejects.sqlite")
    sink.close()
    with pytest.raises(StoreUnavailable, match=r"rejects: .*rejects.sqlite: "):
        getattr(sink, call)(*([[reject(1)]] if call == "write" else []))


def test_a_missing_broker_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rejects that cannot be stored raise an error within the timeout, so that their counts are not recorded."""
    monkeypatch.setattr("dataflows.connectors.kafka.connection.ANSWER_S", 0.5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        sink = KafkaRejects(f"127.0.0.1:{taken.getsockname()[1]}", Seals(tmp_path / "rejects.key"), "local", patience_s=0.5)
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:\d+"):
            sink.write([reject(1)])
        sink.close()


def test_a_reader_seeks_instead_of_reading_everything(tmp_path: Path) -> None:
    """Counts, a reason and a partition are answered from an index, and a scan with a limit opens no more events than it shows."""
    sink = FileRejects(tmp_path / "rejects.sqlite")
    sink.write([reject(offset, offset % 2) for offset in range(50)])
    base = sqlite3.connect(tmp_path / "rejects.sqlite")
    plans = {
        "SELECT reason, count(*) FROM rejects WHERE kept_at_s >= 0 GROUP BY reason ORDER BY reason": "COVERING INDEX rejects_by_reason",
        "SELECT value FROM rejects WHERE kept_at_s >= 0 AND reason = 'bad_id' ORDER BY partition, place": "USING INDEX rejects_by_reason",
        "SELECT value FROM rejects WHERE kept_at_s >= 0 AND partition = 1 ORDER BY partition, place": "USING INDEX sqlite_autoindex",
        "SELECT value FROM rejects WHERE kept_at_s >= 0 ORDER BY partition, place": "USING INDEX sqlite_autoindex",
    }
    for query, index in plans.items():
        plan = " ".join(row[3] for row in base.execute(f"EXPLAIN QUERY PLAN {query}"))
        assert index in plan
        assert "TEMP B-TREE" not in plan
    base.close()
    opened: list[int] = []
    keep = Choice(keep=lambda event: not opened.append(event.offset), limit=3)  # type: ignore[func-returns-value]
    assert [0, 2, 4] == [event.offset for event in sink.scan(keep)]
    assert [0, 2, 4] == opened
    sink.close()
