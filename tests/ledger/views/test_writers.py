"""Which environments may have written an entry, according to the logs."""

from pathlib import Path

import pytest

from ledger.formats.keys import Signer
from ledger.store.log import Ledger, open_embedded
from ledger.views.writers import environments_at, may_have_written, writers_of
from schemas.records.record_codec import encode
from schemas.records.records import RUNS_LOG, EnvironmentChanged, Record, RunStarted, SnapshotTaken, UniverseChanged, region_log

LOG = region_log("nyc")
ONE, TWO = b"1" * 32, b"2" * 32


def started(environment: bytes, region: str = "nyc") -> RunStarted:
    """The start of a run of a region."""
    return RunStarted(
        run="run", command=f"run {region}", started_at_us=0, host="host", environment=environment, packages="", source="", processes=1
    )


def taken(size: int, region: str = "nyc") -> SnapshotTaken:
    """A snapshot, which shows the log's size."""
    return SnapshotTaken(region=region, slot=0, size=size, root=b"", blob=b"", environment=ONE)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """An empty ledger."""
    return open_embedded(tmp_path, instance="local", clock=lambda: 0.0, signer=Signer("ridecast/local", bytes(32)))


def fill(ledger: Ledger, runs: list[Record], changes: dict[int, bytes] | None = None, entries: int = 10) -> None:
    """Write the runs, and a log in which some entries record a change of environment."""
    changes = changes or {}
    log = [
        EnvironmentChanged(region="nyc", slot=0, environment=changes[i])
        if i in changes
        else UniverseChanged(region="nyc", slot=i, version=1, cells=0, added=(), retired=())
        for i in range(entries)
    ]
    ledger.append(LOG, 0, [encode(record) for record in log])
    ledger.append(RUNS_LOG, 0, [encode(record) for record in runs])


def test_one_environment_wrote_everything(ledger: Ledger) -> None:
    """Runs in one environment give one answer, and runs of another region do not count."""
    fill(ledger, [started(ONE), started(TWO, "tehran"), taken(8, "tehran"), taken(5), started(ONE)])
    writers = writers_of(ledger, "nyc")
    assert [0, 5] == [writer.least for writer in writers]
    assert [{ONE}] * 10 == [set(environments_at(writers, index)) for index in range(10)]


def test_a_later_run_cannot_have_written_earlier_entries(ledger: Ledger) -> None:
    """A run did not write entries that a snapshot shows to be older; later entries may be from either run."""
    fill(ledger, [started(ONE), taken(6), started(TWO)])
    writers = writers_of(ledger, "nyc")
    assert [{ONE}] * 6 + [{ONE, TWO}] * 4 == [set(environments_at(writers, index)) for index in range(10)]


def test_a_recorded_change_settles_it(ledger: Ledger) -> None:
    """The earlier run wrote the entries before the change, the later run those after it, and so on."""
    fill(ledger, [started(ONE), started(TWO), started(ONE)], {4: TWO, 7: ONE})
    writers = writers_of(ledger, "nyc")
    assert [{ONE}] * 4 + [{TWO}] * 3 + [{ONE}] * 3 == [set(environments_at(writers, index)) for index in range(10)]
    assert [0] == [writer.least for writer in may_have_written(writers, 3)]


def test_without_runs_nothing_is_known(ledger: Ledger) -> None:
    """A log without recorded runs has no known environment."""
    fill(ledger, [taken(3)])
    assert frozenset() == environments_at(writers_of(ledger, "nyc"), 2)
