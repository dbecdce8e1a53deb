"""Replay: an honest ledger follows from its rides to the last bit, and whatever was forged is named with the arrow that it breaks."""

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dataflows.differences import Arrow
from dataflows.replay import replay_region
from dataflows.replay_report import Replay, Verdict
from dataflows.sources import open_rides
from ledger.blobs import Retention
from ledger.merkle import leaf_hash, root
from schemas.chunks import encode_chunks, pack_blob, unpack_blob
from schemas.errors import NotFound, UsageError
from schemas.record_codec import decode, encode
from schemas.records import (
    CountTable,
    ForecastIssued,
    HorizonShort,
    Record,
    RunStarted,
    SlotClosed,
    SlotScored,
    SourceGap,
    StateDigested,
)
from state.cells import cell_text
from tests.dataflows.conftest import Learned
from tests.dataflows.test_local import Killed, killed_after
from tests.simulation.fixtures import Settled
from tests.simulation.runs import LOG, Place, copied, payloads, run_here
from tests.simulation.world import START_SLOT

RUNS = "runs"


@pytest.fixture(scope="module")
def written(learned: Learned, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A home whose run is over: thirty slots without a model, then more with one, written in two runs."""
    place = copied(learned.place, tmp_path_factory.mktemp("written") / "home")
    run_here(place)
    return place


def replay(place: Place, *, rides: str | None = None, environment: bytes | None = None, **how: object) -> Replay:
    """Replay a home with the rides that it was written from, or others; an empty name stands for none."""
    house = place.open()
    where = place.rides if rides is None else rides
    source = open_rides(where) if where else None
    try:
        return replay_region(house.ledger, house.blobs, environment or house.environment, "small", source, **how)  # type: ignore[arg-type]
    finally:
        house.close()


def forged(place: Place, folder: Path, forge: Callable[[Place, list[Record]], dict[int, Record]]) -> Place:
    """A home whose log was written anew, through the real interface, with some records changed: index -> record."""
    house = place.open()
    entries = payloads(house.ledger)
    house.close()
    other = copied(place, folder)
    for index, record in forge(other, [decode(payload) for payload in entries]).items():
        entries[index] = encode(record)
    for path in [*(folder / "ledger").glob("region__*"), *folder.glob("checkpoints/**/*small*"), *folder.glob("checkpoints/region*")]:
        path.unlink(missing_ok=True)
    house = other.open()
    house.ledger.append(LOG, 0, entries)
    house.close()
    return other


def index_of(records: Sequence[Record], kind: type[Record], slot: int) -> int:
    """Where the record of a kind is that belongs to a slot."""
    return next(i for i, record in enumerate(records) if isinstance(record, kind) and getattr(record, "slot", -1) == slot)


def busy_slot(records: Sequence[Record], after: int) -> int:
    """A slot with counts."""
    return next(record.slot for record in records if isinstance(record, SlotClosed) and record.slot > after and record.counts)


# --- honest ledgers -------------------------------------------------------------------------------


def test_an_honest_ledger_is_identical(written: Place) -> None:
    """Every close of two runs, with excuses, duplicates, rejects, an outage and a promotion, comes out again to the last byte."""
    found = replay(written)
    assert {Verdict.IDENTICAL: len(found.slots)} == found.verdicts
    assert all(slot.from_rides and slot.whole and slot.ours for slot in found.slots)
    assert (found.from_slot, found.until_slot) == (START_SLOT, START_SLOT + len(found.slots))
    assert ([], True, None) == (found.notes, found.good, found.first_bad)


def test_any_part_can_be_replayed(written: Place) -> None:
    """Slots in the middle are identical too: their state is folded from the bootstrap, without snapshots."""
    house = written.open()
    snapshots = list(house.blobs.digests(Retention.SNAPSHOT))
    for digest in snapshots:
        house.blobs.remove(digest)
    house.close()
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


def test_progress_is_told(written: Place) -> None:
    """Whoever watches is told of every slot that is folded, and gets those that were asked for."""
    told: list[tuple[int, int, bool]] = []
    replay(
        written,
        from_slot=START_SLOT + 3,
        until_slot=START_SLOT + 5,
        on_slot=lambda done, total, slot: told.append((done, total, bool(slot))),
    )
    assert [(1, 5, False), (2, 5, False), (3, 5, False), (4, 5, True), (5, 5, True)] == told


# --- forged ledgers -------------------------------------------------------------------------------


def test_a_forged_count_breaks_the_first_arrow(written: Place, tmp_path: Path) -> None:
    """One ride more in one cell is found in its slot, with cell and numbers, and later slots are what they were."""

    def forge(place: Place, records: list[Record]) -> dict[int, Record]:
        at = index_of(records, SlotClosed, busy_slot(records, START_SLOT + 40))
        closed = records[at]
        assert isinstance(closed, SlotClosed)
        table = closed.counts[0]
        counts = (table.counts[0] + 1, *table.counts[1:])
        return {at: dataclasses.replace(closed, counts=(dataclasses.replace(table, counts=counts),))}

    found = replay(forged(written, tmp_path / "home", forge))
    assert {Verdict.IDENTICAL: len(found.slots) - 1, Verdict.DIFFERENT: 1} == found.verdicts
    bad = found.first_bad
    assert bad is not None
    [difference] = bad.differences
    assert Arrow.COUNTS is difference.arrow
    assert f"counts of requests, slot {bad.slot}, cell " in difference.where
    recorded, recomputed = (int(text.removesuffix(" rides")) for text in (difference.recorded, difference.recomputed))
    assert recorded == recomputed + 1


def test_a_forged_cut_breaks_the_first_arrow(written: Place, tmp_path: Path) -> None:
    """A cut that is moved, and a total that is changed, are found where they stand."""

    def forge(place: Place, records: list[Record]) -> dict[int, Record]:
        at = index_of(records, SlotClosed, START_SLOT + 5)
        closed = records[at]
        assert isinstance(closed, SlotClosed)
        cut = dataclasses.replace(closed.partitions[1], cut=closed.partitions[1].cut - 1, received=7_777)
        return {at: dataclasses.replace(closed, partitions=(closed.partitions[0], cut, closed.partitions[2]))}

    found = replay(forged(written, tmp_path / "home", forge))
    bad = found.first_bad
    assert bad is not None
    assert START_SLOT + 5 == bad.slot
    assert [Arrow.COUNTS] * 2 == [difference.arrow for difference in bad.differences]
    assert ["partitions[1].cut", "partitions[1].received"] == [difference.where for difference in bad.differences]
    assert "7777" == bad.differences[1].recorded


def test_a_forged_excuse_is_found(written: Place, tmp_path: Path) -> None:
    """An excuse where nobody stood makes other counts of the rides around it."""

    def forge(place: Place, records: list[Record]) -> dict[int, Record]:
        at = index_of(records, SlotClosed, START_SLOT + 5)
        closed = records[at]
        assert isinstance(closed, SlotClosed)
        cut = dataclasses.replace(closed.partitions[0], cut=closed.partitions[0].cut - 1, excused=True)
        return {at: dataclasses.replace(closed, partitions=(cut, *closed.partitions[1:]))}

    bad = replay(forged(written, tmp_path / "home", forge), until_slot=START_SLOT + 10).first_bad
    assert bad is not None
    assert (Arrow.COUNTS, True) == (bad.differences[0].arrow, bad.slot <= START_SLOT + 5)  # slots may share a cut


def moved(place: Place, records: list[Record], slot: int, milli: int) -> tuple[int, ForecastIssued, str]:
    """Another issue for a slot, of which one mean is moved: (index, record, cell)."""
    at = index_of(records, ForecastIssued, slot)
    issued = records[at]
    assert isinstance(issued, ForecastIssued)
    house = place.open()
    columns = unpack_blob(house.blobs.get(issued.blob)).columns(issued.horizons_min)
    mean = columns.mean.copy()
    mean[3, 1] += milli
    chunks = encode_chunks(dataclasses.replace(columns, mean=mean))
    blob = house.blobs.put(pack_blob(chunks), Retention.FORECAST)
    house.close()
    other = dataclasses.replace(issued, root=root([leaf_hash(chunk) for chunk in chunks]), blob=blob)
    return at, other, cell_text(int(columns.cells[3]), 6)


@pytest.mark.parametrize(("milli", "verdict"), [(500, Verdict.DIFFERENT), (1, Verdict.WITHIN)])
def test_a_forged_number_breaks_the_last_arrow(written: Place, tmp_path: Path, milli: int, verdict: Verdict) -> None:
    """A mean that is moved is found with its cell and column; even one unit is none to many where the environment is the same."""
    cells: list[str] = []

    def forge(place: Place, records: list[Record]) -> dict[int, Record]:
        at, record, cell = moved(place, records, START_SLOT + 50, milli)
        cells.append(cell)
        return {at: record}

    place = forged(written, tmp_path / "home", forge)
    found = replay(place)
    bad = found.first_bad
    assert bad is not None
    [difference] = bad.differences
    assert {verdict: 1, Verdict.IDENTICAL: len(found.slots) - 1} == found.verdicts
    assert (START_SLOT + 50, Arrow.FORECAST, milli) == (bad.slot, difference.arrow, difference.units)
    assert f"requests, cell {cells[0]}, 30 min, mean in 1/1000 (1 of 14 cells differ, by {milli} at most)" == difference.where
    assert milli == int(difference.recorded) - int(difference.recomputed)
    assert replay(place, environment=bytes(32)).good == (verdict is Verdict.WITHIN)


def test_a_forged_digest_of_features_breaks_their_arrow(written: Place, tmp_path: Path) -> None:
    """A matrix that the forecasts were not made from is told apart from forged forecasts."""

    def forge(place: Place, records: list[Record]) -> dict[int, Record]:
        at = index_of(records, ForecastIssued, START_SLOT + 55)
        return {at: dataclasses.replace(records[at], features_digest=bytes(32))}  # type: ignore[call-arg]

    found = replay(forged(written, tmp_path / "home", forge))
    bad = found.first_bad
    assert bad is not None
    assert {Verdict.DIFFERENT: 1, Verdict.IDENTICAL: len(found.slots) - 1} == found.verdicts
    assert [(Arrow.FEATURES, bytes(32).hex())] == [(difference.arrow, difference.recorded) for difference in bad.differences]


def test_whatever_else_a_close_says_is_compared(written: Place, tmp_path: Path) -> None:
    """A forged score, a forged digest of the state, a forged fallback and a citation of another control log are each named."""

    def forge(place: Place, records: list[Record]) -> dict[int, Record]:
        scored = next(i for i, record in enumerate(records) if isinstance(record, SlotScored) and i > 100)
        digested = next(i for i, record in enumerate(records) if isinstance(record, StateDigested) and i > 100)
        closed, issued = index_of(records, SlotClosed, START_SLOT + 1), index_of(records, ForecastIssued, START_SLOT + 2)
        score, digest = records[scored], records[digested]
        assert isinstance(score, SlotScored)
        row = dataclasses.replace(score.rows[0], covered=score.rows[0].covered + 1)
        return {
            scored: dataclasses.replace(score, rows=(row, *score.rows[1:])),
            digested: dataclasses.replace(digest, integers=bytes(32)),  # type: ignore[call-arg]
            closed: dataclasses.replace(records[closed], control_root=bytes(32)),  # type: ignore[call-arg]
            issued: dataclasses.replace(records[issued], fallbacks={"none": 14}),  # type: ignore[call-arg]
        }

    found = replay(forged(written, tmp_path / "home", forge))
    said = [(difference.arrow, difference.where) for slot in found.slots for difference in slot.differences]
    assert (Arrow.SCORES, "SlotScored.rows[0].covered") in said
    assert (Arrow.STATE, "StateDigested.integers") in said
    assert (Arrow.COUNTS, "citation of control at size 0") in said
    assert (Arrow.FORECAST, "requests, fallbacks") in said
    assert 4 == len(said)


# --- rides that are gone --------------------------------------------------------------------------


def test_without_rides_counts_are_taken_as_recorded(written: Place, tmp_path: Path) -> None:
    """No rides are said to be none; then a forged count shows in the features that do not follow from it."""

    def forge(place: Place, records: list[Record]) -> dict[int, Record]:
        slot = busy_slot(records, START_SLOT + 40)
        closed = records[index_of(records, SlotClosed, slot)]
        assert isinstance(closed, SlotClosed)
        table = CountTable("requests", closed.counts[0].slots, closed.counts[0].cells, tuple(n + 9 for n in closed.counts[0].counts))
        return {index_of(records, SlotClosed, slot): dataclasses.replace(closed, counts=(table,))}

    honest = replay(written, rides="")
    assert (True, ["counts are taken as recorded: no rides were given"]) == (honest.good, honest.notes)
    assert not any(slot.from_rides for slot in honest.slots)
    bad = replay(forged(written, tmp_path / "home", forge), rides="").first_bad
    assert bad is not None
    assert Arrow.FEATURES is bad.differences[0].arrow


def test_rides_that_are_gone_are_said_to_be(written: Place, tmp_path: Path) -> None:
    """Where the log of rides has lost its beginning, early slots keep their recorded counts and later ones are counted again."""
    rides = tmp_path / "rides"
    shutil.copytree(written.rides, rides)
    sorted((rides / "0").glob("*.avro"))[0].unlink()
    found = replay(written, rides=str(rides))
    from_rides = [slot.from_rides for slot in found.slots]
    assert ({Verdict.IDENTICAL: len(found.slots)}, True) == (found.verdicts, found.good)
    gone = from_rides.index(True) if True in from_rides else len(from_rides)
    assert gone > 0
    assert all(from_rides[gone:])
    assert found.notes[0].startswith(f"counts of {gone} slots are taken as recorded: the source no longer holds them")


def test_rides_that_end_too_early_are_a_difference(written: Place, tmp_path: Path) -> None:
    """A record of offsets that the rides do not have is no record of these rides."""
    rides = tmp_path / "rides"
    shutil.copytree(written.rides, rides)
    sorted((rides / "0").glob("*.avro"))[-1].unlink()
    found = replay(written, rides=str(rides))
    bad = found.first_bad
    assert bad is not None
    assert "partition 0: the rides end at offset" in bad.differences[0].recomputed
    assert {Verdict.DIFFERENT: 1, Verdict.IDENTICAL: len(found.slots) - 1} == found.verdicts


def test_what_a_run_could_not_read_is_not_read_by_its_replay(settled: Settled, tmp_path: Path) -> None:
    """A run that began on a log without its beginning, and lost more of it while it stood still, is identical in replay."""
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


def test_another_environment_is_told_apart(written: Place) -> None:
    """What another environment wrote need not be equal to the last bit, and the answer says which were at work."""
    found = replay(written, environment=bytes(32), until_slot=START_SLOT + 3)
    house = written.open()
    started = [decode(stored.payload) for stored in house.ledger.scan(RUNS, kind=RunStarted.__name__)]
    house.close()
    assert found.recorded_in == {record.environment for record in started}
    assert not any(slot.ours for slot in found.slots)
    assert found.good


def test_slots_that_are_not_closed_are_refused(written: Place) -> None:
    """Slots before the first or after the last are no question for a replay; the message says which there are."""
    with pytest.raises(UsageError, match=rf"expected slots within \[{START_SLOT}, \d+\), which are closed, got \[{START_SLOT - 1}, "):
        replay(written, from_slot=START_SLOT - 1)
    with pytest.raises(UsageError, match="expected slots within"):
        replay(written, until_slot=START_SLOT + 9_999)


def test_other_partitions_are_refused(written: Place, tmp_path: Path) -> None:
    """Rides in other partitions than the ledger knows cannot be those that were counted."""
    for partition in (0, 1):
        (tmp_path / "rides" / str(partition)).mkdir(parents=True)
    with pytest.raises(UsageError, match=r"expected a source with partitions \[0, 1, 2\], as in the ledger, got \[0, 1\]"):
        replay(written, rides=str(tmp_path / "rides"))


def test_a_model_that_is_gone_is_said(written: Place, tmp_path: Path) -> None:
    """Without the artefact that the issues name there is no replay of them; the message names it."""
    place = copied(written, tmp_path / "home")
    house = place.open()
    [model, *_] = list(house.blobs.digests(Retention.MODEL))
    for digest in list(house.blobs.digests(Retention.MODEL)):
        house.blobs.remove(digest)
    house.close()
    with pytest.raises(NotFound, match=f"model {model.hex()}: its artefact is gone"):
        replay(place)


def test_nothing_closed_is_nothing_to_replay(settled: Settled) -> None:
    """A region that has only been bootstrapped says so."""
    with pytest.raises(NotFound, match="no slot has closed yet"):
        replay(settled.place)
