"""What a run says about events that it cannot use: when, how often, and with which words; and when it fails."""

from dataclasses import replace
from pathlib import Path

import pytest

from ledger.store.tally_files import write_tally
from ridecast.intake_report import LOOK_EVERY_S, WARN_EVERY_S, IntakeReport, NothingUsable
from schemas.events.tally import Example, IntakeTally, Totals
from schemas.regions import load_region

NYC, TEHRAN = load_region("nyc"), load_region("tehran")
EXAMPLE = Example(17, "expected a frame", "looks like JSON")


class Run:
    """A report on a run whose tally and clock a test sets."""

    def __init__(self, home: Path, *, proven: bool = False) -> None:
        self.home, self.now_s = home, 0.0
        self.said: list[str] = []
        self.report = IntakeReport(home, [NYC], self.said.append, proven=["nyc"] if proven else [], clock=lambda: self.now_s)

    def read(self, totals: Totals, others: dict[str, int] | None = None) -> None:
        """The forecaster has read so much, and the report looks a second later."""
        write_tally(self.home, IntakeTally(2, 1, 2, 40, {"nyc": totals}, {"undecodable": EXAMPLE}, others or {}))
        self.now_s += LOOK_EVERY_S
        self.report.look()


def refused(received: int, number: int) -> Totals:
    """So many events, of which a number did not decode."""
    return Totals(received, received - number, 0, received - number, {"undecodable": number} if number else {})


@pytest.mark.parametrize(("received", "number", "warned"), [(360, 360, 1), (100, 10, 0), (100, 11, 1), (9, 9, 0), (10, 10, 1), (0, 0, 0)])
def test_more_than_a_tenth_is_worth_a_warning(tmp_path: Path, received: int, number: int, warned: int) -> None:
    """A warning comes when more than a tenth of the events was rejected, once there are some."""
    run = Run(tmp_path)
    run.read(refused(received, number))
    assert warned == len(run.said)


def test_a_warning_has_numbers_an_example_a_guess_and_a_command(tmp_path: Path) -> None:
    """One line says how many, why, for example where, what is likely, and how to see them; progress has the same numbers."""
    run = Run(tmp_path)
    run.read(refused(360, 360))
    words = "360 events read, 0 accepted, 360 rejected (360 undecodable)"
    assert run.said == [
        (
            f"nyc: {words}; for example partition 2, offset 17: undecodable: expected a frame; looks like JSON; "
            f"`ridecast rejects show --home {tmp_path} --decoded` shows them"
        )
    ]
    assert words == run.report.words("nyc")
    assert "" == run.report.words("tehran")


def test_it_is_repeated_only_for_new_rejects(tmp_path: Path) -> None:
    """After ten minutes new rejects are worth another warning, old ones are not, and a restarted forecaster counts afresh."""
    run = Run(tmp_path)
    run.read(refused(100, 50))
    run.read(refused(200, 150))
    assert 1 == len(run.said)
    run.now_s += WARN_EVERY_S
    run.read(refused(300, 150))
    assert 2 == len(run.said)
    run.now_s += WARN_EVERY_S
    run.read(refused(5_000, 160))
    assert 2 == len(run.said)
    run.read(refused(20, 20))
    assert 3 == len(run.said)


def test_tallies_of_an_earlier_run_are_not_read(tmp_path: Path) -> None:
    """What an earlier run rejected is not said again."""
    write_tally(tmp_path, IntakeTally(2, 1, 2, 40, {"nyc": refused(100, 100)}))
    run = Run(tmp_path)
    run.now_s = 5.0
    run.report.look()
    assert ([], "") == (run.said, run.report.words("nyc"))


def test_other_regions_are_named_once(tmp_path: Path) -> None:
    """Events of other regions are told with the names of a sample and the likely misspelling, and not again."""
    run = Run(tmp_path)
    mixed = Totals(100, 100, 0, 40, {}, {"other_region": 60})
    run.read(mixed, {"nyk": 30, "boston": 2})
    run.now_s += WARN_EVERY_S
    run.read(mixed, {"nyk": 30, "boston": 2})
    assert run.said == [
        (
            "nyc: 60 of 100 events are of other regions and not counted (in a sample: 'nyk' 30, 'boston' 2); "
            "looks like a misspelling of 'nyc': ids are compared letter by letter"
        )
    ]


def test_regions_of_one_run_are_not_others(tmp_path: Path) -> None:
    """Events that another region of the run counts are no warning; what neither counts is told once for each region."""
    said: list[str] = []
    report = IntakeReport(tmp_path, [NYC, TEHRAN], said.append, clock=lambda: float(len(said)))
    mine, theirs = Totals(100, 95, 0, 40, {"bad_id": 5}, {"other_region": 55}), Totals(100, 100, 0, 55, {}, {"other_region": 45})
    write_tally(tmp_path, IntakeTally(2, 1, 2, 40, {"nyc": mine, "tehran": theirs}))
    report.finish(bounded=True)
    assert [] == said
    more = [replace(totals, received=200, accepted=totals.accepted + 100) for totals in (mine, theirs)]
    more = [replace(totals, uncounted={"other_region": totals.uncounted["other_region"] + 100}) for totals in more]
    write_tally(tmp_path, IntakeTally(2, 1, 2, 40, dict(zip(("nyc", "tehran"), more, strict=True)), others={"boston": 9}))
    report.finish(bounded=True)
    report.finish(bounded=True)
    told = "of 200 events are of other regions and not counted (in a sample: 'boston' 9)"
    assert [f"nyc: 100 {told}", f"tehran: 105 {told}"] == said


def test_one_useless_region_of_two_is_told(tmp_path: Path) -> None:
    """A region of which nothing came is named at the end; the run fails only if nothing came of any."""
    said: list[str] = []
    report = IntakeReport(tmp_path, [NYC, TEHRAN], said.append)
    nothing = Totals(50, 50, 0, 0, {}, {"other_region": 50})
    write_tally(tmp_path, IntakeTally(2, 1, 2, 40, {"nyc": Totals(50, 50, 0, 50), "tehran": nothing}))
    report.finish(bounded=True)
    assert ["tehran: 50 events read, 50 accepted, 0 rejected; none of them is of region tehran"] == said
    write_tally(tmp_path, IntakeTally(2, 1, 2, 40, {"nyc": nothing, "tehran": nothing}, others={"boston": 9}))
    with pytest.raises(NothingUsable, match=r"^nyc: 50 events read, .*; 50 of 50 events are of other.* tehran: 50 events read"):
        report.finish(bounded=True)


def test_kinds_that_no_measure_counts_are_said(tmp_path: Path) -> None:
    """Where every event is of another kind, the measures and the kinds that they count are named."""
    run = Run(tmp_path)
    run.read(Totals(50, 50, 0, 0, {}, {"other_kind": 50}))
    assert run.said[0].startswith("nyc: 50 of 50 events are of kinds that no measure counts: pickups counts started")


def test_other_kinds_beside_counted_ones_are_normal(tmp_path: Path) -> None:
    """A ride has several steps, of which a measure counts one: no warning, even while only known rides are read again."""
    run = Run(tmp_path)
    run.read(Totals(50, 50, 0, 0, {}, {"other_kind": 40}))
    assert [] == run.said


OTHERS = {"other_region": 9}


@pytest.mark.parametrize(
    ("totals", "proven", "fails"),
    [
        (refused(360, 360), False, True),
        (refused(1, 1), True, True),
        (refused(360, 359), False, False),
        (Totals(), False, False),
        (Totals(9, 0, 9), False, False),
        (Totals(9, 9, 0, 0, {}, OTHERS), False, True),
        (Totals(9, 9, 0, 0, {}, OTHERS), True, False),
        (Totals(9, 9, 0, 0, {}, {"other_kind": 9}), False, True),
        (Totals(9, 9, 0, 0, {}, {"before_start": 9}), False, False),
        (Totals(10, 9, 0, 0, {"bad_id": 1}, OTHERS), True, False),
    ],
)
def test_a_bounded_run_that_could_use_nothing_fails(tmp_path: Path, totals: Totals, proven: bool, fails: bool) -> None:
    """It fails if it accepted nothing, or found nothing of a region that never had a ride; duplicates and history are no failure."""
    run = Run(tmp_path, proven=proven)
    write_tally(tmp_path, IntakeTally(0, 1, 2, 40, {"nyc": totals}))
    if fails:
        with pytest.raises(NothingUsable, match=f"^nyc: {totals.received} events read, {totals.accepted} accepted") as failed:
            run.report.finish(bounded=True)
        assert 1 == failed.value.exit_code
    else:
        run.report.finish(bounded=True)
    run.report.finish(bounded=False)


def test_the_end_of_a_run_reports_few_rejects_too(tmp_path: Path) -> None:
    """Fewer rejects than a running run warns of are told at its end, if they are more than a tenth."""
    run = Run(tmp_path)
    write_tally(tmp_path, IntakeTally(0, 1, 2, 40, {"nyc": refused(8, 2)}))
    run.report.finish(bounded=True)
    assert 1 == len(run.said)
