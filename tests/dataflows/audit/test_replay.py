"""Replay: an honest ledger is recomputed from its rides to the last bit; what cannot be recomputed is reported."""

import contextlib
import dataclasses
import shutil
from pathlib import Path

import pytest

from dataflows.audit.differences import Arrow
from dataflows.audit.replay_report import Verdict
from ledger.store.blobs import Retention
from schemas.errors import NotFound, UsageError
from schemas.records.record_codec import decode
from schemas.records.records import (
    RUNS_LOG,
    CountTable,
    HorizonShort,
    Record,
    RunStarted,
    SlotClosed,
    SourceGap,
)
from tests.dataflows.audit.replays import busy_slot, forged, index_of, replay
from tests.dataflows.stream.test_local import Killed, killed_after
from tests.simulation.fixtures import Settled
from tests.simulation.runs import Place, copied, run_here
from tests.simulation.world import START_SLOT

# --- honest ledgers -------------------------------------------------------------------------------


def test_an_honest_ledger_is_identical(written: Place) -> None:
    """Every close of two runs, with excuses, duplicates, rejects, an outage and a promotion, is reproduced to the last byte."""
    found = replay(written)
    assert {Verdict.IDENTICAL: len(found.slots)} == found.verdicts
    assert all(slot.from_rides and slot.whole and slot.ours for slot in found.slots)
    assert (found.from_slot, found.until_slot) == (START_SLOT, START_SLOT + len(found.slots))
    assert ([], True, None) == (found.notes, found.good, found.first_bad)


def test_any_part_can_be_replayed(written: Place) -> None:
    """Slots in the middle are identical too: their state is folded from the bootstrap, without snapshots."""
    stores = written.open()
    snapshots = list(stores.blobs.digests(Retention.SNAPSHOT))
    for digest in snapshots:
        stores.blobs.remove(digest)
    stores.close()
    found = replay(written, from_slot=START_SLOT + 45, until_slot=START_SLOT + 60)
    assert snapshots
    assert ({Verdict.IDENTICAL: 15}, 45) == (found.verdicts, found.folded_slots)
    assert list(range(START_SLOT + 45, START_SLOT + 60)) == [slot.slot for slot in found.slots]


def test_a_sample_compares_forecasts_here_and_counts_everywhere(written: Place) -> None:
    """With a share of the slots every count is recomputed, and features and forecasts of a seeded choice."""
    found = replay(written, share=0.2, seed=3)
    chosen = [slot.slot for slot in found.slots if slot.whole]
    assert -(-len(found.slots) // 5) == len(chosen)
    assert {Verdict.IDENTICAL: len(found.slots)} == found.verdicts
    assert chosen == [slot.slot for slot in replay(written, share=0.2, seed=3).slots if slot.whole]
    assert chosen != [slot.slot for slot in replay(written, share=0.2, seed=4).slots if slot.whole]


def test_progress_is_reported(written: Place) -> None:
    """The callback gets every folded slot, and the result has the requested ones."""
    told: list[tuple[int, int, bool]] = []
    replay(
        written,
        from_slot=START_SLOT + 3,
        until_slot=START_SLOT + 5,
        on_slot=lambda done, total, slot: told.append((done, total, bool(slot))),
    )
    assert [(1, 5, False), (2, 5, False), (3, 5, False), (4, 5, True), (5, 5, True)] == told


# --- rides that are gone --------------------------------------------------------------------------


def test_without_rides_counts_are_taken_as_recorded(written: Place, tmp_path: Path) -> None:
    """Missing rides are reported; a forged count then shows in the features that do not match it."""

    def forge(place: Place, records: list[Record]) -> dict[int, Record]:
        slot = busy_slot(records, START_SLOT + 40)
        closed = records[index_of(records, SlotClosed, slot)]
        assert isinstance(closed, SlotClosed)
        table = CountTable(
            measure="requests",
            slots=closed.counts[0].slots,
            cells=closed.counts[0].cells,
            counts=tuple(n + 9 for n in closed.counts[0].counts),
        )
        return {index_of(records, SlotClosed, slot): dataclasses.replace(closed, counts=(table,))}

    honest = replay(written, rides="")
    assert (True, ["counts are taken as recorded: no rides were given"]) == (honest.good, honest.notes)
    assert not any(slot.from_rides for slot in honest.slots)
    bad = replay(forged(written, tmp_path / "home", forge), rides="").first_bad
    assert bad is not None
    assert Arrow.FEATURES is bad.differences[0].arrow


def test_deleted_rides_are_reported(written: Place, tmp_path: Path) -> None:
    """If the ride log has lost its start, early slots keep their recorded counts and later ones are counted again."""
    rides = tmp_path / "rides"
    shutil.copytree(written.rides, rides)
    sorted((rides / "0").glob("*.avro"))[0].unlink()
    found = replay(written, rides=str(rides))
    from_rides = [slot.from_rides for slot in found.slots]
    assert ({Verdict.IDENTICAL: len(found.slots)}, True) == (found.verdicts, found.good)
    gone = from_rides.index(True) if True in from_rides else len(from_rides)
    assert gone > 0
    assert all(from_rides[gone:])
    assert found.notes[0].startswith(f"counts of {gone} slots are taken as recorded: the source no longer has their rides")


def test_rides_that_end_too_early_are_a_difference(written: Place, tmp_path: Path) -> None:
    """Recorded offsets that the rides do not have are a difference."""
    rides = tmp_path / "rides"
    shutil.copytree(written.rides, rides)
    sorted((rides / "0").glob("*.avro"))[-1].unlink()
    found = replay(written, rides=str(rides))
    bad = found.first_bad
    assert bad is not None
    assert "partition 0: the rides end at offset" in bad.differences[0].recomputed
    assert {Verdict.DIFFERENT: 1, Verdict.IDENTICAL: len(found.slots) - 1} == found.verdicts


def test_a_replay_skips_what_the_run_could_not_read(settled: Settled, tmp_path: Path) -> None:
    """A run that started on a log without its start, and lost more of it while stopped, is identical in replay."""
    rides = tmp_path / "rides"
    shutil.copytree(settled.place.rides, rides)
    segments = sorted((rides / "0").glob("*.avro"))
    segments[0].unlink()
    place = copied(settled.place, tmp_path / "home", rides=rides)
    with contextlib.suppress(Killed):
        run_here(place, killed_after(10), batch_events=20)
    for segment in segments[1:4]:
        segment.unlink()
    records = [decode(payload) for payload in run_here(place)]
    found = replay(place)
    assert any(isinstance(record, SourceGap) for record in records)
    assert 2 == sum(isinstance(record, HorizonShort) for record in records)
    assert ({Verdict.IDENTICAL: len(found.slots)}, True) == (found.verdicts, found.good)
    gap = next(i for i, record in enumerate(records) if isinstance(record, SourceGap))
    before = sum(isinstance(record, SlotClosed) for record in records[:gap])
    assert [i >= before for i in range(len(found.slots))] == [slot.from_rides for slot in found.slots]


# --- environments, and what cannot be replayed ------------------------------------------------------


def test_another_environment_is_distinguished(written: Place) -> None:
    """Entries of another environment may differ in the last bit, and the result names the environments."""
    found = replay(written, environment=bytes(32), until_slot=START_SLOT + 3)
    stores = written.open()
    started = list(stores.ledger.records(RUNS_LOG, RunStarted))
    stores.close()
    assert found.recorded_in == {record.environment for record in started}
    assert not any(slot.ours for slot in found.slots)
    assert found.good


def test_slots_that_are_not_closed_are_refused(written: Place) -> None:
    """Slots before the first or after the last are refused; the message has the valid range."""
    with pytest.raises(UsageError, match=rf"expected slots within \[{START_SLOT}, \d+\), which are closed, got \[{START_SLOT - 1}, "):
        replay(written, from_slot=START_SLOT - 1)
    with pytest.raises(UsageError, match="expected slots within"):
        replay(written, until_slot=START_SLOT + 9_999)


def test_other_partitions_are_refused(written: Place, tmp_path: Path) -> None:
    """Rides with another number of partitions than the ledger's are refused."""
    for partition in (0, 1):
        (tmp_path / "rides" / str(partition)).mkdir(parents=True)
    with pytest.raises(UsageError, match=r"expected a source with partitions \[0, 1, 2\], as in the ledger, got \[0, 1\]"):
        replay(written, rides=str(tmp_path / "rides"))


def test_a_missing_model_is_reported(written: Place, tmp_path: Path) -> None:
    """Issues whose model artefact is missing cannot be replayed; the message names it."""
    place = copied(written, tmp_path / "home")
    stores = place.open()
    [model, *_] = list(stores.blobs.digests(Retention.MODEL))
    for digest in list(stores.blobs.digests(Retention.MODEL)):
        stores.blobs.remove(digest)
    stores.close()
    with pytest.raises(NotFound, match=f"model {model.hex()}: its artefact is missing"):
        replay(place)


def test_a_region_without_closes_has_nothing_to_replay(settled: Settled) -> None:
    """For a region that is only bootstrapped, the message says that no slot is closed."""
    with pytest.raises(NotFound, match="no slot has closed yet"):
        replay(settled.place)
