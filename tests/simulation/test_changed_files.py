"""Event files that change between runs and during one: partitions added, directories replaced, old files deleted."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from dataflows.connectors.sources import ORIGIN_FILE, open_rides
from dataflows.stream.start import accept_source, run_embedded
from dataflows.stream.stopping import StopEvent
from ledger.views.progress import ProgressWatch
from schemas.errors import NotFound, UsageError
from schemas.records.records import PartitionsChanged, SlotClosed, SlotStatus, SourceChanged, SourceGap
from tests.dataflows.stream.test_local import Killed, killed_after
from tests.faults.seen import Seen
from tests.ridecast.calls import environment
from tests.simulation.live import LiveFiles
from tests.simulation.moved import assert_audited, records_at, rides_of, rides_recorded, world_without_duplicates
from tests.simulation.runs import Place, copied, payloads_at, run_here, settle, wait_until
from tests.simulation.world import START_SLOT, World

WORLD = world_without_duplicates(21)
HALF = tuple(len(log) // 2 for log in WORLD.logs)


def files(folder: Path, logs: dict[int, tuple[int, int]], world: World = WORLD, *, origin: str = "") -> str:
    """A ride log with these parts of the world's partitions: partition -> (first entry, end)."""
    log = LiveFiles(folder, max(logs) + 1)
    for partition, (start, stop) in logs.items():
        for at in range(start, stop, 10):
            log.write(partition, world.logs[partition][at : min(at + 10, stop)])
    log.close()
    if origin:
        (folder / ORIGIN_FILE).write_text(origin, "utf-8")
    return str(folder)


def kinds(place: Place, *wanted: type) -> list[object]:
    """The records of some kinds, in order."""
    return [record for record in records_at(place) if isinstance(record, wanted)]


def first_after(place: Place, kind: type) -> SlotClosed:
    """The first closed slot after the first record of a kind."""
    records = records_at(place)
    at = next(i for i, record in enumerate(records) if isinstance(record, kind))
    return next(record for record in records[at:] if isinstance(record, SlotClosed))


@pytest.fixture
def grown(tmp_path: Path) -> Place:
    """A home that has closed the slots of two partitions, after which a third was added with all of its rides."""
    rides = files(tmp_path / "rides", {0: (0, HALF[0]), 1: (0, HALF[1])})
    place = settle(WORLD, tmp_path / "place", rides=rides)
    run_here(place)
    files(tmp_path / "rides", {p: (HALF[p], len(WORLD.logs[p])) for p in (0, 1)})
    files(tmp_path / "third", {2: (0, len(WORLD.logs[2]))})
    (tmp_path / "third" / "2").rename(tmp_path / "rides" / "2")
    return place


def test_an_added_partition_is_read_from_its_start(grown: Place) -> None:
    """Its rides count in open slots and as corrections of closed ones, none is lost or counted twice, and the record says since when."""
    before = len([record for record in records_at(grown) if isinstance(record, SlotClosed)])
    run_here(grown)
    [changed] = kinds(grown, PartitionsChanged)
    assert PartitionsChanged(region="small", slot=START_SLOT + before, added=(2,), removed=()) == changed
    first = first_after(grown, PartitionsChanged)
    assert (changed.slot, 3, SlotStatus.PARTIAL) == (first.slot, len(first.partitions), first.status)
    assert first.corrections
    assert rides_of(event for log in WORLD.truth.values() for event in log) == rides_recorded(grown)
    assert all(slot.from_rides for slot in assert_audited(grown).slots)


# A run whose look-ups never get their turn: only the last one finds anything.
NEVER_LOOKS = "import ridecast.watching as w; w.LOOK_EVERY_S = 1e6; from ridecast.main import main; main()"


def test_what_only_the_last_look_finds_is_told(grown: Place) -> None:
    """A change that is recorded just before the run ends is told like any other, once, before the summary."""
    done = subprocess.run(
        [sys.executable, "-c", NEVER_LOOKS, "run", "--region", str(grown.region), "--no-api", "--until-end"],
        env=environment(**grown.environment),
        cwd=grown.home,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    slot = first_after(grown, PartitionsChanged).slot
    news = f"region small: partitions of the ride log: added [2], from slot {slot} on"
    said = [line.split(" run: ", 1)[-1] for line in done.stderr.splitlines()]
    [at] = [number for number, line in enumerate(said) if line.startswith(news)]
    [summary] = [number for number, line in enumerate(said) if " slots closed" in line]
    assert at < summary


@pytest.mark.parametrize("slots", [0, 1, 9])
def test_a_run_killed_after_a_change_records_the_same(grown: Place, tmp_path: Path, slots: int) -> None:
    """Killed before the first slot with a new partition closes, right after it, or later, a run ends as an uninterrupted one."""
    whole = run_here(copied(grown, tmp_path / "whole"))
    place = copied(grown, tmp_path / "home")
    stores, source = place.open(batch_events=10), open_rides(place.rides)
    stop = StopEvent()
    if slots == 0:
        stop.set()
    with contextlib.suppress(Killed):
        run_embedded(stores, source, ["small"], bounded=True, stop=stop, on_slot=killed_after(slots) if slots else None)
    source.close()
    stores.close()
    assert len(payloads_at(place)) < len(whole)
    assert whole == run_here(place)


def test_a_partition_that_is_gone_is_refused_with_the_remedy(grown: Place, seen: Seen) -> None:
    """A ride log with fewer partitions, and nothing that says why, is not read; restored, all of it is counted once."""
    run_here(grown)
    there, away = Path(grown.rides) / "2", Path(grown.rides) / "away"
    there.rename(away)
    expected = r"expected a source with partitions \[0, 1, 2\].* got \[0, 1\]; restore the missing partitions"
    with pytest.raises(UsageError, match=expected) as refused:
        run_here(grown)
    seen.told(refused.value, "restore the missing partitions")
    away.rename(there)
    run_here(grown)
    seen.same(rides_of(event for log in WORLD.truth.values() for event in log), rides_recorded(grown), "rides")


# --- another log ----------------------------------------------------------------------------------


@pytest.fixture
def replaced(tmp_path: Path) -> Place:
    """A home whose ride log was replaced by another one of the same name, of fewer partitions, with the later rides."""
    rides = files(tmp_path / "rides", {p: (0, end) for p, end in enumerate(HALF)}, origin="first")
    place = settle(WORLD, tmp_path / "place", rides=rides)
    run_here(place)
    Path(rides).rename(tmp_path / "old")
    files(tmp_path / "rides", {p: (HALF[p], len(WORLD.logs[p])) for p in (0, 1)}, origin="second")
    return place


def test_a_replaced_directory_is_read_from_its_lowest_offset(replaced: Place, tmp_path: Path) -> None:
    """Another log under the same name is recorded with both identities, and read from its start, never at the old offsets."""
    run_here(replaced)
    found = kinds(replaced, SourceChanged, PartitionsChanged)
    [changed, partitions] = found
    assert isinstance(changed, SourceChanged)
    assert open_rides(str(tmp_path / "rides")).identity().to_json() == changed.after != changed.before
    assert PartitionsChanged(region="small", slot=changed.slot, added=(), removed=(2,)) == partitions
    assert SlotStatus.PARTIAL == first_after(replaced, SourceChanged).status
    truth = [event for log in WORLD.truth.values() for event in log]
    lost = WORLD.truth[2][HALF[2] :]
    assert rides_of(event for event in truth if event not in lost) == rides_recorded(replaced)
    again = run_here(replaced)
    assert 1 == len(kinds(replaced, SourceChanged)), "the next run found the same log"
    assert again == payloads_at(replaced)


def test_slots_are_replayed_from_the_log_that_they_were_counted_from(replaced: Place, tmp_path: Path) -> None:
    """Each of the two logs gives the counts of its own slots; the others are taken as recorded, and the result says so."""
    before = len(kinds(replaced, SlotClosed))
    run_here(replaced)
    (tmp_path / "copy").mkdir()
    (tmp_path / "old").rename(tmp_path / "copy" / "rides")
    for rides, mine in ((str(tmp_path / "copy" / "rides"), range(before)), (replaced.rides, range(before, 10_000))):
        found = assert_audited(replaced, rides)
        assert [number in mine for number in range(len(found.slots))] == [slot.from_rides for slot in found.slots]
        assert [note for note in found.notes if "they were counted from another ride log" in note]


def test_another_directory_is_refused_until_it_is_accepted(replaced: Place, tmp_path: Path, seen: Seen) -> None:
    """A log of another name and origin is refused with both identities; accepted, it is recorded once and read from its start."""
    (tmp_path / "rides").rename(tmp_path / "elsewhere")
    place = copied(replaced, tmp_path / "home", rides=tmp_path / "elsewhere")
    expected = r"expected the ride log of its last run, files=rides origin=\w+, got files=elsewhere .*--accept"
    with pytest.raises(UsageError, match=expected) as refused:
        run_here(place)
    seen.told(refused.value, "--accept")
    stores, source = place.open(), open_rides(place.rides)
    for _ in range(2):
        accept_source(stores, source, "small")
    source.close()
    stores.close()
    run_here(place)
    assert [SourceChanged, PartitionsChanged] == [type(record) for record in kinds(place, SourceChanged, PartitionsChanged)]
    lost = WORLD.truth[2][HALF[2] :]
    seen.same(rides_of(e for log in WORLD.truth.values() for e in log if e not in lost), rides_recorded(place), "rides")
    assert_audited(place)


def test_a_log_that_lost_its_end_is_refused_with_the_remedy(tmp_path: Path, seen: Seen) -> None:
    """Where a log ends before the rides that are counted, a run names both offsets and both ways to go on."""
    place = settle(WORLD, tmp_path / "place", rides=files(tmp_path / "rides", {p: (0, end) for p, end in enumerate(HALF)}))
    before = run_here(place)
    sorted((tmp_path / "rides" / "1").glob("*.avro"))[-1].unlink()
    expected = r"expected offset \d+ in partition 1 .*; use the ride log of the last run; with --accept-source"
    with pytest.raises(NotFound, match=expected) as refused:
        run_here(place)
    seen.told(refused.value, "use the ride log of the last run")
    seen.same(before, payloads_at(place), "entries")


# --- while a run reads ----------------------------------------------------------------------------


def test_a_live_run_in_one_process_goes_on_with_what_changed(tmp_path: Path) -> None:
    """A folder added and files deleted under the reader are recorded and told within seconds, and the run goes on by itself."""
    rides = Path(files(tmp_path / "rides", {p: (0, HALF[p]) for p in (0, 1)}))
    place = settle(WORLD, tmp_path / "place", rides=str(rides), idle_after_s=0.3)
    with running(place) as failed:
        wait_until(lambda: bool(failed) or bool(kinds(place, SlotClosed)), what="a closed slot")
        files(tmp_path / "third", {2: (0, len(WORLD.logs[2]))})
        added_s = time.monotonic()
        (tmp_path / "third" / "2").rename(rides / "2")
        wait_until(lambda: bool(failed) or bool(kinds(place, PartitionsChanged)), what="the new partition")
        assert time.monotonic() - added_s < 30
        files(rides, {p: (HALF[p], len(WORLD.logs[p])) for p in (0, 1)} | {2: (0, 0)})
        wait_until(lambda: bool(failed) or len(kinds(place, SlotClosed)[-1].partitions) == 3, what="a slot with it")  # type: ignore[attr-defined]


def test_a_directory_replaced_under_its_reader_is_another_log(tmp_path: Path) -> None:
    """A live run whose directory is replaced by one of another origin records that, and reads the new one from its start."""
    rides = Path(files(tmp_path / "rides", {p: (0, end) for p, end in enumerate(HALF)}, origin="first"))
    place = settle(WORLD, tmp_path / "place", rides=str(rides), idle_after_s=0.3)
    new = Path(files(tmp_path / "new", {p: (HALF[p], len(WORLD.logs[p])) for p in (0, 1, 2)}, origin="second"))
    with running(place) as failed:
        wait_until(lambda: bool(failed) or bool(kinds(place, SlotClosed)), what="a closed slot")
        rides.rename(tmp_path / "old")
        new.rename(rides)
        wait_until(lambda: bool(failed) or bool(kinds(place, SourceChanged)), what="the new directory")
        after = len(kinds(place, SlotClosed))
        wait_until(lambda: bool(failed) or len(kinds(place, SlotClosed)) > after, what="a slot of the new directory")
    assert 1 == len(kinds(place, SourceChanged))


@contextlib.contextmanager
def running(place: Place) -> Iterator[list[BaseException]]:
    """A live run in a thread, which must not fail; yields its errors."""
    stop, failed = StopEvent(), list[BaseException]()

    def run() -> None:
        stores, source = place.open(), open_rides(place.rides)
        try:
            run_embedded(stores, source, ["small"], bounded=False, stop=stop)
        except BaseException as error:
            failed.append(error)
        finally:
            source.close()
            stores.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield failed
    finally:
        stop.set()
        thread.join(60)
    assert [] == failed


def test_files_deleted_under_a_reader_are_a_recorded_gap(tmp_path: Path, seen: Seen) -> None:
    """Rides that a source deletes before they are read are a gap with its exact offsets, in a partial slot; all others are counted."""
    rides = Path(files(tmp_path / "rides", {p: (0, end) for p, end in enumerate(HALF)}))
    place = settle(WORLD, tmp_path / "place", rides=str(rides))
    run_here(place)
    files(rides, {p: (HALF[p], len(WORLD.logs[p])) for p in (0, 1, 2)})
    for path, following in pairwise(sorted((rides / "0").glob("*.avro"))):
        if int(following.stem) <= HALF[0] + 60:
            path.unlink()
    stores = place.open()
    watch = ProgressWatch(stores.ledger, ["small"])
    run_here(place)
    [progress] = watch.look()
    stores.close()
    [gap] = kinds(place, SourceGap)
    assert isinstance(gap, SourceGap)
    # It starts where the region resumes, at most fifteen events below what it has counted: those of the window of evidence.
    assert HALF[0] - 15 <= gap.from_offset <= HALF[0]
    assert progress.lost == gap.to_offset - gap.from_offset
    lost_offsets = f"lost offsets [{gap.from_offset}, {gap.to_offset}) of partition 0"
    assert [f"region small: {lost_offsets}: the ride log deleted them before they were read"] == progress.news
    seen.told(progress.news[0], "the ride log deleted them before they were read")
    assert SlotStatus.PARTIAL == first_after(place, SourceGap).status
    lost = WORLD.truth[0][HALF[0] : gap.to_offset]
    seen.same(rides_of(event for log in WORLD.truth.values() for event in log if event not in lost), rides_recorded(place), "rides")
    assert_audited(place)
