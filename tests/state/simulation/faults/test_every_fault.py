"""Every row of the table of faults: the same bytes for a seed, labels that cover what changed, any order of stages, bounds."""

from datetime import datetime, timedelta
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import pytest

from schemas.errors import UsageError
from schemas.events.cells import cell_texts, encode
from state.simulation.faults.kinds import FaultKind, Parameter, Stage
from state.simulation.faults.syntax import described, parse_fault, parse_faults
from state.simulation.faults.table import FAULTS
from state.simulation.simulate import DAY_US
from tests.state.simulation.faults.logs import DAYS, OTHERS, START_US, TEHRAN, TEXTS, Log, Row, event_of, log_of

EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
END_US = START_US + DAYS * DAY_US
ALL = [*TEXTS.values(), *OTHERS]
EVERY = pytest.mark.parametrize("text", ALL)
PARAMETERS = [(kind, parameter) for kind in FAULTS.values() for parameter in kind.parameters]


@cache
def log(*texts: str) -> Log:
    """The log of some faults, made once."""
    return log_of(*texts)


@cache
def times_of_base() -> dict[str, dict[str, int]]:
    """When each ride was requested, and when each event was logged, without faults."""
    requests, events = dict[str, int](), dict[str, int]()
    for row in log().rows:
        event = event_of(row)
        assert event is not None
        events[event["event_id"]] = row.logged_at_us
        if event["kind"] == "requested":
            requests[event["ride_id"]] = event["occurred_at"]
    return {"requested_at": requests, "logged_at": events}


def us(text: str) -> int:
    """A time of a label."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def differences(text: str) -> tuple[list[Row], list[Row]]:
    """The rows that a fault made disappear, and those that it made appear."""
    before, after = log().counted, log(text).counted
    return list((before - after).elements()), list((after - before).elements())


def test_every_kind_is_tested() -> None:
    """There is a text for every row of the table, and each row has exactly one rule."""
    assert list(FAULTS) == list(TEXTS)
    for kind in FAULTS.values():
        assert 1 == sum(rule is not None for rule in (kind.demand, kind.reports, kind.messages)), kind.name
        assert kind.name in described()


def test_no_fault_changes_nothing() -> None:
    """With an empty list of faults the bytes are those of a simulation that knows no faults."""
    without = log()
    assert [] == without.labels
    assert len(without.rows) > 4_000


@EVERY
def test_same_seed_same_bytes(text: str) -> None:
    """The same fault gives the same log and labels twice, and not those without it."""
    again = log_of(text)
    assert log(text).rows == again.rows != log().rows
    assert log(text).labels == again.labels


@EVERY
def test_the_label_covers_what_changed(text: str) -> None:
    """The label counts every event that is added, removed or changed, and each lies in its time and place."""
    (label,) = log(text).labels
    removed, added = differences(text)
    events = label["events"]
    assert events["removed"] + events["changed"] == len(removed)
    assert events["added"] + events["changed"] == len(added)
    assert removed or added
    assert events["share"] == pytest.approx((max(events["added"], events["removed"]) + events["changed"]) / events["in_time"], abs=1e-6)
    assert_in_time(label, removed, added)
    assert_in_place(label, removed, added)


def assert_in_time(label: dict[str, Any], removed: list[Row], added: list[Row]) -> None:
    """Each row is of the label's time."""
    base = times_of_base()
    requests = dict(base["requested_at"])
    decoded = [(row, event_of(row)) for row in chain(removed, added)]
    requests.update({event["ride_id"]: event["occurred_at"] for _, event in decoded if event and event["kind"] == "requested"})
    for row, event in decoded:
        if event is None:
            continue  # a broken value; the one that it was before is among the removed
        if label["time"] == "requested_at":
            at_us = requests[event["ride_id"]]
        else:
            at_us = base["logged_at"].get(event["event_id"], row.logged_at_us)
        assert us(label["from"]) <= at_us
        assert label["until"] is None or at_us < us(label["until"])


def assert_in_place(label: dict[str, Any], removed: list[Row], added: list[Row]) -> None:
    """Each row is of the label's partitions, producers and cells."""
    rows = added or removed
    if label["partitions"] is not None:
        assert {row.partition for row in rows} == set(label["partitions"])
    if label["producers"] is not None:
        assert {int(row.key[:1], 16) for row in chain(removed, added)} == set(label["producers"])
    if label["cells"] is not None:
        places = [(event["lat"], event["lon"]) for event in map(event_of, rows) if event is not None]
        lat, lon = np.array(places).T
        assert set(cell_texts(encode(lat, lon, TEHRAN.cell_bits), TEHRAN.precision).tolist()) <= set(label["cells"])


@pytest.mark.parametrize("name", TEXTS)
def test_faults_of_other_stages_may_stand_before_or_after(name: str) -> None:
    """Demand comes first, then reports, then messages: in which order faults of different stages are given changes no byte."""
    stage = FAULTS[name].stage
    stages = {FAULTS[text.partition(":")[0]].stage: text for text in OTHERS}
    others = [text for other, text in stages.items() if other is not stage]
    first, last = log_of(TEXTS[name], *others), log_of(*others, TEXTS[name])
    assert first.rows == last.rows
    assert sorted(map(str, first.labels)) == sorted(map(str, last.labels))
    assert len(others) == 2


@pytest.mark.parametrize("text", [TEXTS["surge"], TEXTS["mix"], TEXTS["spoofing"], TEXTS["poisoning"], TEXTS["schema"], TEXTS["late"]])
def test_a_longer_simulation_begins_with_the_shorter(text: str) -> None:
    """A fault that is over before the last day leaves the same log behind as in a simulation that ends there."""
    until_us = START_US + 2 * DAY_US - 4 * 3_600_000_000
    text = text.replace("from=+1d20h", "from=+1d2h")
    longer, shorter = ([row for row in log_of(text, days=days).rows if row.logged_at_us < until_us] for days in (3, 2))
    assert longer == shorter


def test_equal_faults_have_chances_of_their_own() -> None:
    """The second of two equal faults touches other events than the first."""
    text = TEXTS["duplicates"]
    twice = log(text, text)
    first, second = twice.labels
    assert first["events"]["in_time"] < second["events"]["in_time"]
    assert len(twice.rows) == len(log().rows) + first["events"]["added"] + second["events"]["added"]
    assert max(twice.counted.values()) == 1
    salts = {fault.salt for fault in parse_faults([text, text, TEXTS["late"]], TEHRAN, START_US, END_US)}
    assert len(salts) == 3


def test_no_id_is_given_twice() -> None:
    """Rides that several faults add, also equal ones, have ids of their own."""
    rows = log_of(TEXTS["surge"], TEXTS["growth"], TEXTS["surge"], TEXTS["poisoning"], TEXTS["stadium"]).rows
    ids = [event["event_id"] for row in rows if (event := event_of(row))]
    assert len(ids) == len(rows) > len(log().rows) + 500
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("kind", FAULTS.values(), ids=lambda kind: kind.name)
def test_a_fault_is_described_by_its_own_text(kind: FaultKind) -> None:
    """The text that is recorded as the origin gives the same fault again, and defaults are within their bounds."""
    fault = parse_fault(f"{kind.name}:from=+1d", TEHRAN, START_US, END_US)
    again = parse_fault(fault.text, TEHRAN, START_US, END_US)
    assert (fault.values, fault.from_us, fault.until_us, fault.text) == (again.values, again.from_us, again.until_us, again.text)
    for parameter in kind.parameters:
        if isinstance(parameter.default, float):
            assert parameter.low <= parameter.default <= parameter.high


@pytest.mark.parametrize(("kind", "parameter"), PARAMETERS, ids=lambda item: str(item.name))
def test_parameters_are_bounded(kind: FaultKind, parameter: Parameter) -> None:
    """A value outside the bounds is refused with the name and the bounds; those at the bounds are taken."""
    also = ",producer=0" if parameter.name == "producers" else ""
    if parameter.choices or parameter.cell:
        bad, good = ["nowhere", "dr5reg"], parameter.choices
    else:
        bad, good = (
            [repr(parameter.low - 1), repr(parameter.high * 2 + 1), "many", "nan"],
            tuple(map(repr, (parameter.low, parameter.high))),
        )
        bad += ["1.5"] if parameter.whole else []
    for value in good:
        if (parameter.name, float(value) if not parameter.choices else 1) != ("by_s", 0):
            parse_fault(f"{kind.name}:from=+1d,{parameter.name}={value}{also}", TEHRAN, START_US, END_US)
    for value in bad:
        with pytest.raises(UsageError, match=rf"--fault {kind.name}:.*: {parameter.name}: expected .*, got '{value}'"):
            parse_fault(f"{kind.name}:from=+1d,{parameter.name}={value}{also}", TEHRAN, START_US, END_US)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flood", "--fault flood: expected one of surge, level, .*, got 'flood'; see `ridecast simulate --fault list`"),
        ("surge:size=3,from=+1d", "expected one of from, until, hours, factor, cells, cell, got 'size'; see"),
        ("surge:from=+1d,factor", "expected parameters as name=value with commas between them, got 'factor'; see"),
        ("surge:from=+1d,factor=2,factor=3", "expected each parameter once, got factor twice"),
        ("surge", "expected its beginning, got none; add from="),
        (
            "surge:from=+9d",
            "from: expected a time in the simulation, 2025-04-04T20:30:00Z to 2025-04-07T20:30:00Z, got 2025-04-13T20:30:00Z",
        ),
        ("surge:from=soon", "from: expected an ISO time .*, got 'soon'; a time after the start is written as"),
        ("surge:from=+1d,until=+1d", "until: expected a time after"),
        ("surge:from=+1d,until=+2d,hours=3", "expected `until` or `hours`, got both"),
        ("surge:from=+1d,hours=-1", "hours: expected 0.0003 to 100000, got '-1'"),
        ("surge:from=+1d,hours=long", "hours: expected 0.0003 to 100000, got 'long'"),
        (
            "surge:from=2025-04-05T10:02",
            "from: expected the start of a slot of 5 minutes, got .*; demand is planned by slot; give 2025-04-05T06:30:00Z",
        ),
        ("surge:from=+1d,hours=0.01", "end: expected the start of a slot"),
        ("surge:from=+1d,hours=0.01", "demand is planned by slot; give until=2025-04-05T20:35:00Z"),
        ("clock-skew:from=+1d,by_s=0", "by_s: expected a clock that is ahead or behind, got 0"),
        ("late:from=+1d,producers=3", "expected `producer` beside `producers`, got none; give the first producer"),
    ],
)
def test_texts_that_make_no_sense(text: str, message: str) -> None:
    """What cannot be understood is refused in one line with the remedy."""
    with pytest.raises(UsageError, match=message):
        parse_fault(text, TEHRAN, START_US, END_US)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("outage:from=+1d,partition=1,producer=2", "expected a partition or a producer, got both"),
        ("outage:from=+1d,partition=4", "partition: expected one of 0 to 3, got 4"),
        ("outage:from=+2d,hours=48,after=late", "expected an end within the simulation"),
        ("slow-partition:from=+1d,partition=4", "partition: expected one of 0 to 3, got 4"),
    ],
)
def test_faults_that_do_not_fit_the_log(text: str, message: str) -> None:
    """A partition that is not there, or an outage without an end, is refused before anything is simulated."""
    with pytest.raises(UsageError, match=message):
        log_of(text)


def test_times_are_local_utc_or_after_the_start() -> None:
    """A time without a zone is local, with a Z it is UTC, and with a plus it counts from the start."""
    texts = [f"level:from={at}" for at in ("2025-04-06T03:30", "2025-04-06T00:00Z", "+1d3h30m", "+27h30m", "+1650m")]
    assert 1 == len({parse_fault(text, TEHRAN, START_US, END_US).from_us for text in texts})


def test_stages_say_which_time_a_label_means() -> None:
    """A label of demand speaks of requests, one of reports of events, one of messages of the log."""
    said = {name: log(TEXTS[name]).labels[0]["time"] for name in ("mix", "spoofing", "outage")}
    assert {"mix": "requested_at", "spoofing": "occurred_at", "outage": "logged_at"} == said
    assert {stage.value for stage in Stage} == set(said.values())
