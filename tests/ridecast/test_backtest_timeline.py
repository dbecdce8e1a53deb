"""The timeline of a report: which model served when, and what says so to those who do not see it."""

import re
from datetime import datetime, timedelta
from html import escape, unescape

from dataflows.jobs.backtest_decisions import BacktestDecision, Decided
from ridecast.backtest_timeline import ModelRow, Role, Span, in_words, marks_of, rows_of, timeline
from schemas.regions import load_region

NYC = load_region("nyc")
DAY = 288
START = 16_191 * DAY + 48  # 1 May 2014, 00:00 in New York
END = START + 14 * DAY


def decided(day: float, what: Decided, model: str, reason: str = "", data_until: str = "") -> BacktestDecision:
    """A decision some days after the start."""
    at = datetime(2014, 5, 1) + timedelta(days=day)
    slot = START + round(day * DAY)
    return BacktestDecision(
        slot=slot, at=at, measure="pickups", model=model, what=what, category="refit", reason=reason, data_until=data_until
    )


STORY = (
    decided(7, Decided.TRAINED, "b", "schedule", "2014-05-08 00:00"),
    decided(8, Decided.ON_PROBATION, "b", "passes every guard"),
    decided(9, Decided.TRAINED, "c", "loss", "2014-05-10 00:00"),
    decided(10, Decided.REJECTED, "c", "worse"),
    decided(12, Decided.CONFIRMED, "b", "passed its probation"),
)


def at(day: float) -> int:
    """A slot some days after the start."""
    return START + round(day * DAY)


def test_every_model_has_its_spans() -> None:
    """A challenger is a shadow until it is decided on, the champion before goes on as one, and a confirmed refit serves to the end."""
    expected = [
        ModelRow("a", "", [Span(Role.SERVED, at(0), at(8)), Span(Role.GUARD, at(8), at(14))]),
        ModelRow(
            "b",
            "2014-05-08 00:00",
            [Span(Role.TRIAL, at(7), at(8)), Span(Role.PROBATION, at(8), at(12)), Span(Role.SERVED, at(12), at(14))],
        ),
        ModelRow("c", "2014-05-10 00:00", [Span(Role.TRIAL, at(9), at(10))]),
    ]
    assert expected == rows_of(STORY, "a", START, END)


def test_a_rollback_ends_what_served_on_probation() -> None:
    """The champion before serves again, and the refit, which is rejected with it, does nothing any more."""
    story = (*STORY[:2], decided(9, Decided.ROLLED_BACK, "a"), decided(9, Decided.REJECTED, "b"))
    first, refit = rows_of(story, "a", START, END)
    assert [Span(Role.SERVED, at(0), at(8)), Span(Role.GUARD, at(8), at(9)), Span(Role.SERVED, at(9), at(14))] == first.spans
    assert [Span(Role.TRIAL, at(7), at(8)), Span(Role.PROBATION, at(8), at(9))] == refit.spans


def test_a_newer_training_takes_the_place_of_a_challenger() -> None:
    """Only the newest challenger is on trial; a model that serves and is trained once more goes on serving."""
    story = (decided(7, Decided.TRAINED, "b"), decided(9, Decided.TRAINED, "c"), decided(10, Decided.TRAINED, "a"))
    spans = {row.model: row.spans for row in rows_of(story, "a", START, END)}
    assert {"a": [Span(Role.SERVED, at(0), END)], "b": [Span(Role.TRIAL, at(7), at(9))], "c": [Span(Role.TRIAL, at(9), at(10))]} == spans


def test_a_training_serves_where_nothing_served() -> None:
    """Without a first model the first promotion begins the timeline."""
    [row] = rows_of((decided(1, Decided.TRAINED, "b"), decided(2, Decided.PROMOTED, "b")), "", START, END)
    assert [Span(Role.TRIAL, at(1), at(2)), Span(Role.SERVED, at(2), END)] == row.spans


def test_the_timeline_is_told_in_words() -> None:
    """The name of the drawing says what each row shows, with local times; each bar says its own."""
    drawn = "".join(timeline(STORY, "a", START, END, NYC))
    [label] = re.findall('role="img" aria-label="([^"]*)"', drawn)
    assert in_words(rows_of(STORY, "a", START, END), NYC) == unescape(label)
    assert "model a: served from 01 May, 00:00 to 09 May, 00:00, shadow, the champion before from 09 May, 00:00 to 15 May, 00:00" in label
    assert 'title="served on probation, 09 May, 00:00 to 13 May, 00:00"' in drawn
    assert 6 == drawn.count('<i class="span') - len(Role)
    widths = [float(width) for width in re.findall(r"width:([0-9.]+)%", drawn)]
    assert [57.14, 42.86, 7.14, 28.57, 14.29, 7.14] == widths


def test_every_decision_is_listed_with_its_time() -> None:
    """The list has the numbers of the marks; what looks like markup is shown, not obeyed; without decisions there is no section."""
    hostile = "</script><script>alert('x')</script>" + "x" * 500
    drawn = "".join(timeline((*STORY, decided(13, Decided.REJECTED, "d", hostile)), "a", START, END, NYC))
    assert 6 == drawn.count("<li><time>")
    assert "<li><time>09 May 2014, 00:00</time> pickups: promoted on probation b as a refit: passes every guard</li>" in drawn
    assert "pickups: trained b on everything before 2014-05-08 00:00: schedule" in drawn
    assert "<script" not in drawn
    assert escape(hostile) in drawn
    assert "" == "".join(timeline((), "a", START, END, NYC))
    assert "" == "".join(timeline(STORY, "a", START, START, NYC))


def test_marks_stand_where_another_model_began_to_serve() -> None:
    """Half a day before the middle of a day is its midnight; days that are not drawn have no mark, and a confirmation changes nothing."""
    days = [f"2014-05-{day:02d}" for day in range(8, 14)]
    story = (*STORY, decided(11.5, Decided.ROLLED_BACK, "a"), decided(30, Decided.PROMOTED, "z"))
    assert [
        (0.5, "2", "2: 09 May, 00:00, promoted on probation b"),
        (4.0, "6", "6: 12 May, 12:00, rolled back to a"),
    ] == marks_of(story, days)


def test_a_decision_as_a_line() -> None:
    """Local time first, then what was done to which model, and why."""
    said = decided(7.25, Decided.TRAINED, "b", "schedule", "2014-05-08 00:00")
    assert "2014-05-08 06:00  pickups: trained b on everything before 2014-05-08 00:00: schedule" == said.line()
