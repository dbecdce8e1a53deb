"""Who read what is counted without a person in it, off the path of requests, and never stops an answer."""

from pathlib import Path

import pytest

from api.access import ROWS_PER_RECORD, AccessCounter
from api.app import create_app
from ledger.store.spool import Spool, read_segment, segment_paths
from ledger.views.online.memory import MemoryStore
from schemas.configuration.settings import Settings
from schemas.records.record_codec import decode
from schemas.records.records import AccessCount, AccessesCounted
from tests.api.client import Client
from tests.api.town import Town


def row(operation: str, region: str, status: int, count: int) -> AccessCount:
    """A row of somebody without a key."""
    return AccessCount(subject="anonymous", operation=operation, region=region, status=status, count=count)


def spooled(folder: Path) -> list[AccessesCounted]:
    """Every record in a spool."""
    return [decode(payload, AccessesCounted) for path in segment_paths(folder) for payload in read_segment(path).payloads]


class Counted:
    """The town's API with a counter whose clock the test sets."""

    def __init__(self, town: Town, folder: Path, largest_bytes: int = 1 << 20) -> None:
        self.now_s = 100.0
        self.folder = folder
        self.counter = AccessCounter(Spool(folder, b"writer of a test", largest_bytes), ["nyc"], lambda: self.now_s)
        settings = Settings.from_env({})
        app = create_app(town.ledger, town.blobs, MemoryStore(), ["nyc"], settings, lambda: self.now_s, accesses=self.counter)
        self.client = Client(app)


@pytest.fixture
def counted(town: Town, tmp_path: Path) -> Counted:
    """Such an API."""
    return Counted(town, tmp_path / "spool")


def test_answers_are_counted_by_operation_region_and_status(counted: Counted) -> None:
    """Good answers and refusals are counted; a name that a stranger made up is not kept."""
    for path in ("/v1/regions/nyc", "/v1/regions/nyc", "/v1/regions/ali@example.org", "/v1/regions/nyc?unknown=1", "/nothing"):
        counted.client.get(path)
    counted.now_s = 101.0
    counted.counter.spool_counts()
    [record] = spooled(counted.folder)
    assert (100_000_000, 101_000_000, 0) == (record.from_us, record.until_us, record.dropped)
    assert (row("region", "", 404, 1), row("region", "nyc", 200, 2), row("region", "nyc", 422, 1)) == record.counts


def test_nothing_read_is_nothing_written(counted: Counted) -> None:
    """A quiet API makes no records, and not even a folder."""
    counted.counter.spool_counts()
    assert not counted.folder.exists()


def test_each_answer_is_in_one_record(counted: Counted) -> None:
    """Stretches follow each other without a gap, and none counts what another did."""
    for second in (101.0, 102.0):
        counted.client.get("/v1/regions/nyc")
        counted.now_s = second
        counted.counter.spool_counts()
    first, second_record = spooled(counted.folder)
    assert first.until_us == second_record.from_us
    assert [1, 1] == [sum(each.count for each in record.counts) for record in (first, second_record)]


def test_a_full_spool_drops_counts_and_says_how_many(town: Town, tmp_path: Path) -> None:
    """Answers go on while the spool is full; the next record that finds room tells how many it does not count."""
    counted = Counted(town, tmp_path / "spool", largest_bytes=300)
    counted.client.get("/v1/regions/nyc")
    counted.counter.spool_counts()
    while len(segment_paths(counted.folder)) == 1 and sum(path.stat().st_size for path in segment_paths(counted.folder)) < 250:
        Spool(counted.folder, b"another a writer").put([b"x" * 60])
    for _ in range(3):
        assert 200 == counted.client.get("/v1/regions/nyc").status_code
        counted.counter.spool_counts()
    for path in segment_paths(counted.folder):
        path.unlink()
    counted.client.get("/v1/regions/nyc")
    counted.counter.spool_counts()
    [record] = spooled(counted.folder)
    assert (3, 1) == (record.dropped, record.counts[0].count)


def test_many_rows_are_several_records(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second with more rows than an entry holds is split, and rows beyond the bound are counted as dropped."""
    monkeypatch.setattr("api.access.ROWS_PER_RECORD", 2)
    monkeypatch.setattr("api.access.MOST_ROWS", 3)
    assert ROWS_PER_RECORD * 150 < 65_535
    for path in ("/v1/regions", "/v1/regions/nyc", "/v1/health", "/v1/ready", "/v1/regions/nyc"):
        counted.client.get(path)
    counted.counter.spool_counts()
    records = spooled(counted.folder)
    assert [2, 1] == [len(record.counts) for record in records]
    assert [1, 0] == [record.dropped for record in records]
    assert 4 == sum(each.count for record in records for each in record.counts)
