"""Replay names everything forged in a ledger, with the step that it breaks and both numbers."""

import dataclasses
from pathlib import Path

import pytest

from dataflows.audit.differences import Arrow
from dataflows.audit.replay_report import Verdict
from schemas.records.records import (
    ForecastIssued,
    Record,
    SlotClosed,
    SlotScored,
    StateDigested,
)
from tests.dataflows.audit.replays import busy_slot, forged, index_of, moved, replay
from tests.simulation.runs import Place
from tests.simulation.world import START_SLOT


def test_a_forged_count_breaks_the_first_arrow(written: Place, tmp_path: Path) -> None:
    """One more ride in one cell is found in its slot, with cell and numbers, and later slots are unchanged."""

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
    """A moved cut and a changed total are found in their slot."""

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
    """An excuse at a position where no partition was idle changes the counts around it."""

    def forge(place: Place, records: list[Record]) -> dict[int, Record]:
        at = index_of(records, SlotClosed, START_SLOT + 5)
        closed = records[at]
        assert isinstance(closed, SlotClosed)
        cut = dataclasses.replace(closed.partitions[0], cut=closed.partitions[0].cut - 1, excused=True)
        return {at: dataclasses.replace(closed, partitions=(cut, *closed.partitions[1:]))}

    bad = replay(forged(written, tmp_path / "home", forge), until_slot=START_SLOT + 10).first_bad
    assert bad is not None
    assert (Arrow.COUNTS, True) == (bad.differences[0].arrow, bad.slot <= START_SLOT + 5)  # slots may share a cut


@pytest.mark.parametrize(("milli", "verdict"), [(500, Verdict.DIFFERENT), (1, Verdict.WITHIN)])
def test_a_forged_number_breaks_the_last_arrow(written: Place, tmp_path: Path, milli: int, verdict: Verdict) -> None:
    """A moved mean is found with its cell and column; in the same environment not even one unit is tolerated."""
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
    """A forged feature digest is distinguished from forged forecasts."""

    def forge(place: Place, records: list[Record]) -> dict[int, Record]:
        at = index_of(records, ForecastIssued, START_SLOT + 55)
        issued = records[at]
        assert isinstance(issued, ForecastIssued)
        return {at: dataclasses.replace(issued, features_digest=bytes(32))}

    found = replay(forged(written, tmp_path / "home", forge))
    bad = found.first_bad
    assert bad is not None
    assert {Verdict.DIFFERENT: 1, Verdict.IDENTICAL: len(found.slots) - 1} == found.verdicts
    assert [(Arrow.FEATURES, bytes(32).hex())] == [(difference.arrow, difference.recorded) for difference in bad.differences]


def test_an_extra_entry_is_found(written: Place, tmp_path: Path) -> None:
    """A second issue in a slot is a difference, whatever its content."""

    def forge(place: Place, records: list[Record]) -> dict[int, Record]:
        at, record, _ = moved(place, records, START_SLOT + 50, 500)
        records.insert(at, record)
        return dict(enumerate(records))

    found = replay(forged(written, tmp_path / "home", forge))
    bad = found.first_bad
    assert bad is not None
    assert {Verdict.DIFFERENT: 1, Verdict.IDENTICAL: len(found.slots) - 1} == found.verdicts
    assert (START_SLOT + 50, "entries of the close, their order and number") == (bad.slot, bad.differences[0].where)


def test_all_other_records_of_a_close_are_compared(written: Place, tmp_path: Path) -> None:
    """A forged score, a forged digest of the state, a forged fallback and a citation of another control log are each named."""

    def forge(place: Place, records: list[Record]) -> dict[int, Record]:
        scored = next(i for i, record in enumerate(records) if isinstance(record, SlotScored) and i > 100)
        digested = next(i for i, record in enumerate(records) if isinstance(record, StateDigested) and i > 100)
        closed, issued = index_of(records, SlotClosed, START_SLOT + 1), index_of(records, ForecastIssued, START_SLOT + 2)
        score, digest, close, issue = (records[at] for at in (scored, digested, closed, issued))
        assert isinstance(score, SlotScored)
        assert isinstance(digest, StateDigested)
        assert isinstance(close, SlotClosed)
        assert isinstance(issue, ForecastIssued)
        row = dataclasses.replace(score.rows[0], covered=score.rows[0].covered + 1)
        return {
            scored: dataclasses.replace(score, rows=(row, *score.rows[1:])),
            digested: dataclasses.replace(digest, integers=bytes(32)),
            closed: dataclasses.replace(close, control_root=bytes(32)),
            issued: dataclasses.replace(issue, fallbacks={"none": 14}),
        }

    found = replay(forged(written, tmp_path / "home", forge))
    reported = [(difference.arrow, difference.where) for slot in found.slots for difference in slot.differences]
    assert (Arrow.SCORES, "SlotScored.rows[0].covered") in reported
    assert (Arrow.STATE, "StateDigested.integers") in reported
    assert (Arrow.COUNTS, "citation of control at size 0") in reported
    assert (Arrow.FORECAST, "requests, fallbacks") in reported
    assert 4 == len(reported)
