"""The embedded ride log: appended entries are read, complete blocks only, across files, restarts and damage."""

import io
import json
from io import FileIO
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from dataflows.connectors.files.containers import _fast_entries, plain_entries
from dataflows.connectors.files.ridelog import RideLogReader, RideLogWriter, partitions
from dataflows.connectors.files.writer import BLOCK_EVENTS, _entries
from schemas.encoding.avro_files import released
from schemas.errors import ContractError, DamagedError, StoreUnavailable, UsageError
from schemas.events.codec import encode_event
from schemas.events.rides import NO_TIME

NOON_US = 1_400_000_000_000_000
EVENT = {"event_id": "e", "ride_id": "r", "kind": "started", "occurred_at": NOON_US, "region": "nyc", "lat": 40.7, "lon": -74.0}


def rows(n: int, first: int = 0) -> tuple[np.ndarray, list[bytes], list[bytes]]:
    """Times, keys and values that name their row."""
    names = range(first, first + n)
    return NOON_US + np.arange(first, first + n), [b"k%d" % i for i in names], [b"value %d" % i for i in names]


def read_all(directory: Path, partition: int, limit: int = 700) -> tuple[list[int], list[int], list[bytes]]:
    """Offsets, times and values of a whole partition, read in steps."""
    offsets: list[int] = []
    times: list[int] = []
    values: list[bytes] = []
    reader = RideLogReader(directory, partition)
    offset = reader.start()
    while (batch := reader.read(offset, limit)) is not None:
        offsets += batch.offsets.tolist()
        times += batch.logged_at_us.tolist()
        values += batch.values
        offset = int(batch.offsets[-1]) + 1
    assert offset == reader.end()
    reader.close()
    return offsets, times, values


def only_file(directory: Path) -> Path:
    """The only file of partition 0."""
    (path,) = (directory / "0").iterdir()
    return path


def test_appended_entries_are_read(tmp_path: Path) -> None:
    """Every entry comes back in order, with contiguous offsets from 0, in its own partition."""
    times, keys, values = rows(3_500)
    with RideLogWriter(tmp_path) as log:
        log.append(2, times, keys, values)
    assert partitions(tmp_path) == (0, 1, 2, 3)
    assert read_all(tmp_path, 2) == (list(range(3_500)), times.tolist(), values)
    assert read_all(tmp_path, 0) == ([], [], [])


def test_read_starts_anywhere(tmp_path: Path) -> None:
    """A read may start at any offset and crosses blocks; at the end it returns None."""
    with RideLogWriter(tmp_path, 1) as log:
        log.append(0, *rows(2_500))
    reader = RideLogReader(tmp_path, 0)
    batch = reader.read(1_999, 2)
    assert batch is not None
    assert (batch.offsets.tolist(), batch.values) == ([1_999, 2_000], [b"value 1999", b"value 2000"])
    assert reader.read(2_500, 10) is None
    assert reader.end() == 2_500


def test_files_are_rotated_and_resumed(tmp_path: Path) -> None:
    """A full file is followed by one named by its first offset; another writer resumes at the end."""
    for first in (0, 2_200):
        with RideLogWriter(tmp_path, 1, segment_bytes=20_000) as log:
            assert log.ends() == [first]
            log.append(0, *rows(2_200, first))
    names = sorted(path.name for path in (tmp_path / "0").iterdir())
    assert names[:2] == ["00000000000000000000.avro", f"{BLOCK_EVENTS:020d}.avro"]
    assert len(names) > 3
    assert read_all(tmp_path, 0)[2] == rows(4_400)[2]


def test_same_rides_give_the_same_bytes(tmp_path: Path) -> None:
    """Two logs of the same entries are equal byte for byte."""
    for name in ("a", "b"):
        with RideLogWriter(tmp_path / name, 1) as log:
            log.append(0, *rows(10))
    assert only_file(tmp_path / "a").read_bytes() == only_file(tmp_path / "b").read_bytes()


def test_other_software_reads_it(tmp_path: Path) -> None:
    """A standard Avro reader reads a file of the log."""
    with RideLogWriter(tmp_path, 1) as log:
        log.append(0, *rows(3))
    with open(only_file(tmp_path), "rb") as file:
        entries: list[Any] = list(fastavro.reader(file))
    assert [entry["value"] for entry in entries] == [b"value 0", b"value 1", b"value 2"]
    assert [entry["key"] for entry in entries] == [b"k0", b"k1", b"k2"]


def test_lowest_file_may_be_gone(tmp_path: Path) -> None:
    """If old files were deleted, the log and its reads start at the first remaining file."""
    with RideLogWriter(tmp_path, 1, segment_bytes=1) as log:
        log.append(0, *rows(3_000))
    sorted((tmp_path / "0").iterdir())[0].unlink()
    reader = RideLogReader(tmp_path, 0)
    assert reader.start() == 1_000
    batch = reader.read(0, 1)
    assert batch is not None
    assert batch.values == [b"value 1000"]


def test_reader_follows_a_live_writer(tmp_path: Path) -> None:
    """A reader at the end sees what is flushed later, in new files too."""
    with RideLogWriter(tmp_path, 1, segment_bytes=1) as log:
        reader = RideLogReader(tmp_path, 0)
        assert reader.read(0, 10) is None
        for first in (0, 3, 6):
            log.append(0, *rows(3, first))
            assert reader.read(first, 10) is None
            log.flush()
            batch = reader.read(first, 10)
            assert batch is not None
            assert batch.values == rows(3, first)[2]
    assert reader.end() == 9


def test_partial_block_is_waited_for_and_truncated(tmp_path: Path) -> None:
    """At every length that a killed writer may leave, readers stop before the last block and a new writer resumes."""
    with RideLogWriter(tmp_path, 1) as log:
        log.append(0, *rows(3))
        log.flush()
        log.append(0, *rows(2, 3))
    path = only_file(tmp_path)
    whole = path.read_bytes()
    for size in range(len(whole) - 1, len(whole) - 60, -1):
        path.write_bytes(whole[:size])
        reader = RideLogReader(tmp_path, 0)
        kept = reader.end()
        assert kept in (0, 3)
        with RideLogWriter(tmp_path, 1) as log:
            log.append(0, *rows(2, kept))
        assert read_all(tmp_path, 0)[2] == rows(kept + 2)[2]


def test_header_still_being_written_is_an_empty_log(tmp_path: Path) -> None:
    """A file that ends within its header is an empty log; a writer starts the file again."""
    with RideLogWriter(tmp_path, 1) as log:
        log.append(0, *rows(3))
    path = only_file(tmp_path)
    for size in (0, 3, 50):
        path.write_bytes(path.read_bytes()[:size])
        assert RideLogReader(tmp_path, 0).end() == 0
        with RideLogWriter(tmp_path, 1) as log:
            log.append(0, *rows(3))
        assert read_all(tmp_path, 0)[2] == rows(3)[2]


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_containers_of_plain_ride_events(tmp_path: Path, codec: str) -> None:
    """Another program's Avro file of ride events is a ride log: same bytes, framed; times from the events."""
    (tmp_path / "0").mkdir()
    second = {**EVENT, "event_id": "f", "logged_at": NOON_US + 7}
    with open(tmp_path / "0" / f"{0:020d}.avro", "wb") as file:
        fastavro.writer(file, released("ride_event.v1"), [EVENT, second], codec=codec)
    assert read_all(tmp_path, 0) == ([0, 1], [NO_TIME, NOON_US + 7], [encode_event(EVENT), encode_event(second)])


def test_containers_of_an_older_ride_event(tmp_path: Path) -> None:
    """A file whose schema lacks an optional field is converted to ride_event.v1."""
    schema = json.loads(json.dumps(released("ride_event.v1")))
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "fare"]
    (tmp_path / "0").mkdir()
    with open(tmp_path / "0" / f"{0:020d}.avro", "wb") as file:
        fastavro.writer(file, schema, [EVENT])
    assert read_all(tmp_path, 0)[2] == [encode_event(EVENT)]


@given(
    st.lists(
        st.tuples(st.sampled_from((0, -1, 1, NOON_US, 1 << 55, 1 << 56, -(1 << 63))), st.binary(max_size=200), st.binary(max_size=9_000)),
        max_size=8,
    ),
    st.binary(max_size=3),
)
@settings(max_examples=200, deadline=None)
def test_fast_entries_equal_the_plain_ones(entries: list[tuple[int, bytes, bytes]], more: bytes) -> None:
    """If the fast reader accepts entries, its result equals fastavro's."""
    times = np.array([entry[0] for entry in entries], np.int64)
    data = _entries(times, [entry[1] for entry in entries], [entry[2] for entry in entries])
    plain = plain_entries(data, len(entries))
    assert plain[1] == [entry[2] for entry in entries]
    for noisy in (data, data + more):
        fast = _fast_entries(noisy, len(entries))
        if fast is not None:
            assert noisy == data
            assert (fast[0].tolist(), fast[1]) == (plain[0].tolist(), plain[1])


@given(st.binary(max_size=80), st.integers(0, 4))
@settings(max_examples=300, deadline=None)
def test_fast_entries_accept_no_noise(data: bytes, n: int) -> None:
    """On arbitrary bytes the fast reader either returns None or agrees with fastavro."""
    fast = _fast_entries(data, n)
    if fast is not None:
        plain = plain_entries(data, n)
        assert (fast[0].tolist(), fast[1]) == (plain[0].tolist(), plain[1])


def test_missing_directory(tmp_path: Path) -> None:
    """A directory that does not exist is named, as a usage error."""
    with pytest.raises(UsageError, match=r"expected a directory, got .*nowhere.*does not exist"):
        partitions(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="which is a file"):
        partitions(tmp_path / "file")


def test_directory_without_a_log(tmp_path: Path) -> None:
    """A directory without partitions, or with a missing one, is not a ride log."""
    with pytest.raises(UsageError, match=r"expected folders 0, 1, \.\.\. of Avro files"):
        partitions(tmp_path)
    (tmp_path / "1").mkdir()
    with pytest.raises(UsageError, match=r"expected folders 0 to 0 .*got \[1\]"):
        partitions(tmp_path)


def test_unknown_partition(tmp_path: Path) -> None:
    """The error names a partition that the log does not have."""
    RideLogWriter(tmp_path, 2).close()
    with pytest.raises(UsageError, match="expected a partition of 0 to 1, got 2"):
        RideLogReader(tmp_path, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"time,lat,lon\n1,2,3\n", "expected an Avro file"),
        (b"PAR1\x00\x00", "expected an Avro file"),
    ],
)
def test_not_an_avro_file(tmp_path: Path, content: bytes, message: str) -> None:
    """The error names a file that is not Avro."""
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / f"{0:020d}.avro").write_bytes(content)
    with pytest.raises(DamagedError, match=message):
        RideLogReader(tmp_path, 0)


def test_avro_file_of_something_else(tmp_path: Path) -> None:
    """The error for an Avro file without rides names the missing field."""
    (tmp_path / "0").mkdir()
    schema = {"type": "record", "name": "Weather", "fields": [{"name": "rain", "type": "double"}]}
    with open(tmp_path / "0" / f"{0:020d}.avro", "wb") as file:
        fastavro.writer(file, schema, [{"rain": 1.0}])
    with pytest.raises(DamagedError, match="expected ride events"):
        RideLogReader(tmp_path, 0)


def test_unknown_codec(tmp_path: Path) -> None:
    """The error names an unsupported compression."""
    (tmp_path / "0").mkdir()
    out = io.BytesIO()
    fastavro.writer(out, released("ride_event.v1"), [EVENT], codec="bzip2")
    (tmp_path / "0" / f"{0:020d}.avro").write_bytes(out.getvalue())
    with pytest.raises(DamagedError, match="expected the codec null or deflate, got bzip2"):
        RideLogReader(tmp_path, 0)


def test_damage_in_the_middle(tmp_path: Path) -> None:
    """A flipped marker, a truncated earlier file and a missing one are damage, not the end of the log."""
    with RideLogWriter(tmp_path, 1, segment_bytes=1) as log:
        log.append(0, *rows(3_000))
    first, second, _ = sorted((tmp_path / "0").iterdir())
    whole = first.read_bytes()
    first.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DamagedError, match="expected the sync marker at byte"):
        RideLogReader(tmp_path, 0)
    first.write_bytes(whole[:-1])
    with pytest.raises(DamagedError, match="expected a complete block at byte"):
        RideLogReader(tmp_path, 0)
    first.write_bytes(whole)
    second.unlink()
    with pytest.raises(DamagedError, match="expected the file to start at offset 1000, got 2000"):
        RideLogReader(tmp_path, 0)


def test_damaged_entries(tmp_path: Path) -> None:
    """The error for a block that its entries do not fill names its position."""
    with RideLogWriter(tmp_path, 1) as log:
        log.append(0, *rows(2))
    path = only_file(tmp_path)
    whole = path.read_bytes()
    at = whole.index(b"\x04k0")
    path.write_bytes(whole[:at] + b"\x7e" + whole[at + 1 :])
    with pytest.raises(DamagedError, match=r"block at byte \d+: expected 2 entries"):
        RideLogReader(tmp_path, 0).read(0, 1)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    """A second writer is refused while the first is open."""
    with RideLogWriter(tmp_path, 1), pytest.raises(StoreUnavailable, match="open for writing in another process"):
        RideLogWriter(tmp_path, 1)
    RideLogWriter(tmp_path, 1).close()


def test_another_number_of_partitions(tmp_path: Path) -> None:
    """A log keeps the number of partitions that it was created with."""
    RideLogWriter(tmp_path, 2).close()
    with pytest.raises(UsageError, match="expected 4 partitions, got 2"):
        RideLogWriter(tmp_path, 4)


def test_full_disk(tmp_path: Path) -> None:
    """A failing disk is reported with its error."""
    log = RideLogWriter(tmp_path, 1)
    full = log._tails[0]
    full._opened().close()
    full.file = FileIO("/dev/full", "w")
    log.append(0, *rows(1))
    with pytest.raises(StoreUnavailable, match="No space left on device"):
        log.close()


def test_columns_of_unequal_length(tmp_path: Path) -> None:
    """Columns of unequal length are a bug of the caller."""
    with RideLogWriter(tmp_path, 1) as log:
        with pytest.raises(ContractError, match="columns of one length, got 1, 2 and 1"):
            log.append(0, np.array([1]), [b"", b""], [b""])
        with pytest.raises(ContractError, match="expected a partition below 1, got 1"):
            log.append(1, np.array([1]), [b""], [b""])
