"""Which model served when during a backtest, which ran as its shadow, and when this was decided: the timeline of the report."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from html import escape
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from dataflows.jobs.backtest_decisions import BacktestDecision
    from schemas.regions import Region

MOST_TICKS = 6
LAST_TICK = 88.0  # % of the width: a later name would not fit on a phone


class Role(StrEnum):
    """What a model did in a span of time; the text of the legend."""

    SERVED = "served"
    PROBATION = "served on probation"
    TRIAL = "shadow, on trial"
    GUARD = "shadow, the champion before"


@dataclass(frozen=True, slots=True)
class Span:
    """A model in one role, from a slot until another."""

    role: Role
    from_slot: int
    until_slot: int


@dataclass(slots=True)
class ModelRow:
    """A model and its spans in order; `data_until` is empty for the one that was trained before the test."""

    model: str
    data_until: str = ""
    spans: list[Span] = field(default_factory=list)


def rows_of(decisions: "Sequence[BacktestDecision]", first: str, start: int, end: int) -> list[ModelRow]:
    """The models of one measure in the order in which they appeared.

    The champion before is the shadow of the one that took its place until the next promotion, at the latest.

    Args:
        decisions: Of the measure, in order.
        first: The model that served first; empty for none.
        start, end: First slot of the test, and the one after it.
    """
    rows: dict[str, ModelRow] = {first: ModelRow(first)} if first else {}
    open_spans: dict[str, tuple[Role, int]] = {first: (Role.SERVED, start)} if first else {}

    def begin(model: str, role: Role | None, slot: int) -> None:
        before, since = open_spans.pop(model, (None, slot))
        if before is not None and slot > since:
            rows[model].spans.append(Span(before, since, slot))
        if role is not None:
            open_spans[model] = (role, slot)

    def having(*roles: Role) -> list[str]:
        return [model for model, (role, _) in open_spans.items() if role in roles]

    for decision in decisions:
        model, slot, what = decision.model, decision.slot, decision.what
        row = rows.setdefault(model, ModelRow(model))
        match what:
            case "trained":
                row.data_until = decision.data_until
                for replaced in having(Role.TRIAL):
                    begin(replaced, None, slot)
                if model not in having(Role.SERVED, Role.PROBATION):
                    begin(model, Role.TRIAL, slot)
            case "promoted" | "promoted on probation" | "rolled back to":
                for guard in having(Role.GUARD):
                    begin(guard, None, slot)
                for replaced in having(Role.SERVED, Role.PROBATION):
                    begin(replaced, None if what == "rolled back to" else Role.GUARD, slot)
                begin(model, Role.PROBATION if what == "promoted on probation" else Role.SERVED, slot)
            case "confirmed":
                begin(model, Role.SERVED, slot)
            case _:
                begin(model, None, slot)
    for model in list(open_spans):
        begin(model, None, end)
    return list(rows.values())


def timeline(decisions: "Sequence[BacktestDecision]", first: str, start: int, end: int, region: "Region") -> Iterator[str]:
    """The section of the report about the models of one measure: nothing if nothing was decided."""
    if not decisions or end <= start:
        return
    rows = rows_of(decisions, first, start, end)
    yield "<h2>What happened to the model</h2><p>" + escape(
        "Each row is a model, from left to right in time. High bars served; low bars ran as a shadow, which forecasts the same slots and "
        "serves nothing. Numbers are those of the list below and of the lines in the charts of the error by day."
    )
    yield f"</p>{_legend()}"
    yield f'<div class="timeline" role="img" aria-label="{escape(in_words(rows, region), quote=True)}">'
    for row in rows:
        data = f"data until {row.data_until}" if row.data_until else "trained before the test"
        bars = "".join(_bar(span, start, end, region) for span in row.spans)
        numbers = "".join(
            f'<b class="at" style="left:{_share(one.slot, start, end):.2f}%">{number}</b>'
            for number, one in enumerate(decisions, 1)
            if one.model == row.model
        )
        yield f'<div class="model"><p><code>{escape(row.model)}</code> <span class="note">{escape(data)}</span></p>'
        yield f'<div class="track">{bars}{numbers}</div></div>'
    yield f'<div class="model axis"><div class="track">{_ticks(start, end, region)}</div></div></div><ol class="decisions">'
    for decision in decisions:
        yield f"<li><time>{decision.at:%d %B %Y, %H:%M}</time> {escape(decision.sentence())}</li>"
    yield "</ol>"


def in_words(rows: Sequence[ModelRow], region: "Region") -> str:
    """The timeline as a text, for those who do not see it."""
    told = []
    for row in rows:
        spans = ", ".join(f"{one.role} from {_time(one.from_slot, region)} to {_time(one.until_slot, region)}" for one in row.spans)
        told.append(f"model {row.model}: {spans or 'neither served nor ran as a shadow'}")
    return "; ".join(told)


def marks_of(decisions: "Sequence[BacktestDecision]", days: Sequence[str]) -> list[tuple[float, str, str]]:
    """Lines in a chart by day where another model began to serve: (place on the axis of days, number, text).

    A place is the number of the day, from half a day before its middle to half a day after it. Days that are not drawn have none.

    Args:
        days: Local dates as text, the keys of the chart.
    """
    found = []
    for number, one in enumerate(decisions, 1):
        day = one.at.date().isoformat()
        if one.what in ("promoted", "promoted on probation", "rolled back to") and day in days:
            place = days.index(day) - 0.5 + (one.at.hour * 60 + one.at.minute) / 1440
            found.append((place, str(number), f"{number}: {one.at:%d %B, %H:%M}, {one.what} {one.model}"))
    return found


def _bar(span: Span, start: int, end: int, region: "Region") -> str:
    left, right = (_share(slot, start, end) for slot in (span.from_slot, span.until_slot))
    said = f"{span.role}, {_time(span.from_slot, region)} to {_time(span.until_slot, region)}"
    kind = span.role.name.lower()
    return f'<i class="span {kind}" style="left:{left:.2f}%;width:{right - left:.2f}%" title="{escape(said, quote=True)}"></i>'


def _legend() -> str:
    spots = "".join(f'<span><span class="track spot"><i class="span {role.name.lower()}"></i></span>{role}</span>' for role in Role)
    return f'<p class="legend">{spots}</p>'


def _ticks(start: int, end: int, region: "Region") -> str:
    """Days on the axis, at their local midnights."""
    first, last = (_local(slot, region).date() for slot in (start, end))
    days = (last - first).days + 1
    step = max(1, -(-days // MOST_TICKS))
    drawn = []
    for number in range(0, days, step):
        place = _share(_midnight(first + timedelta(days=number), region), start, end)
        if 0.0 <= place <= LAST_TICK:
            drawn.append(f'<span class="day" style="left:{place:.2f}%">{first + timedelta(days=number):%d %b}</span>')
    return "".join(drawn)


def _midnight(day: date, region: "Region") -> float:
    at = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(region.timezone))
    return at.timestamp() * 1e6 / region.slot_us


def _local(slot: int, region: "Region") -> datetime:
    return datetime.fromtimestamp(slot * region.slot_us / 1e6, UTC).astimezone(ZoneInfo(region.timezone))


def _time(slot: int, region: "Region") -> str:
    return f"{_local(slot, region):%d %B, %H:%M}"


def _share(slot: float, start: int, end: int) -> float:
    return 100.0 * (slot - start) / (end - start)
