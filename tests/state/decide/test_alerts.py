"""The hub of alerts: one alert per cause, the right root, and an end by itself."""

import copy
import random

from hypothesis import given, settings, strategies as st

from schemas.records.records import Acknowledged, AlertChanged, AlertOpened, AlertResolved, AlertSilenced
from state.decide.alert_causes import CAUSES, depth, explained_by
from state.decide.alert_decisions import QUIET_US, decide
from state.decide.alert_groups import REROOT_US, US_PER_MIN, grouped
from tests.state.decide.incidents import DAY_US, Told, folded, incident, seen
from tests.tree import ROOT

MIN = US_PER_MIN
START_US = 1_400_000_000_000_000


def test_thirty_incidents_are_thirty_alerts_with_the_right_cause() -> None:
    """Each of 30 incidents with 2 to 40 symptoms in random order opens one alert, names its cause and ends by itself."""
    rng = random.Random(11)
    told = Told()
    right = 0
    for number in range(30):
        start_us = START_US + number * DAY_US
        key, records = incident(rng, start_us)
        opened = [one for one in told.tell(records) if isinstance(one, AlertOpened)]
        assert 1 == len(opened)
        right += told.hub.alerts[opened[0].alert].shown.root == key
        end_us = start_us + DAY_US // 2
        assert 1 == len([one for one in told.decide({"": end_us, "nyc": end_us}) if isinstance(one, AlertResolved)])
    assert (30, 30, [], {}) == (right, told.hub.opened, told.hub.open, told.hub.signals)


def test_two_incidents_at_once_are_two_alerts() -> None:
    """Two causes that explain nothing of each other keep their own symptoms."""
    told = Told()
    told.tell([seen("surge", START_US), seen("schema", START_US), seen("rejects", START_US + MIN), seen("rate", START_US + MIN)])
    shown = {alert.shown.kind: [key.split("/")[1] for key in alert.shown.signals] for alert in told.hub.open}
    assert {"surge": ["surge"], "schema": ["schema", "rate", "rejects"]} == shown


def test_a_late_cause_takes_its_alert_over() -> None:
    """An alert is rooted again when its cause arrives within the window; after the window the cause opens its own."""
    told = Told()
    told.tell([seen("stale forecasts", START_US)])
    changed = told.tell([seen("broker", START_US + REROOT_US, severity="critical")])
    assert [("cause", "severity", "signals")] == [one.changed for one in changed if isinstance(one, AlertChanged)]
    assert ["broker"] == [alert.shown.kind for alert in told.hub.open]
    late = Told()
    late.tell([seen("stale forecasts", START_US), seen("broker", START_US + REROOT_US + 1)])
    assert ["stale forecasts", "broker"] == [alert.shown.kind for alert in late.hub.open]


def test_alerts_of_one_cause_become_one() -> None:
    """Two alerts that a later signal explains are merged into the older one."""
    told = Told()
    told.tell([seen("publish lag", START_US), seen("accuracy", START_US, region="tehran")])
    assert 2 == len(told.hub.open)
    made = told.tell([seen("broker", START_US + MIN)])
    merged = [one for one in made if isinstance(one, AlertResolved)]
    [left] = told.hub.open
    assert [("merged", left.id)] == [(one.reason, one.into) for one in merged]
    assert 3 == len(left.shown.signals)


def test_it_resolves_after_quiet_only() -> None:
    """An alert stays open until all its signals ended and the time of quiet has passed, in the time of its region."""
    told = Told()
    told.tell([seen("surge", START_US), seen("surge", START_US + 10 * MIN, firing=False)])
    end_us = START_US + 10 * MIN + QUIET_US
    assert [] == told.decide({"": end_us + DAY_US, "nyc": end_us - 1})
    assert [] == told.decide({"": end_us + DAY_US})
    [resolved] = told.decide({"nyc": end_us})
    assert (
        ("quiet", START_US + 10 * MIN, end_us) == (resolved.reason, resolved.last_us, resolved.at_us)
        if isinstance(resolved, AlertResolved)
        else 0
    )


def test_flapping_is_one_alert() -> None:
    """A signal that fires again and again keeps its alert open longer each time instead of opening new ones."""
    told = Told()
    for n in range(12):
        at_us = START_US + n * 12 * MIN
        told.tell([seen("surge", at_us), seen("surge", at_us + MIN, firing=False)])
    assert 1 == told.hub.opened
    last_us = START_US + 11 * 12 * MIN + MIN
    assert [] == told.decide({"nyc": last_us + 8 * QUIET_US})
    assert 1 == len(told.decide({"nyc": last_us + 16 * QUIET_US}))
    told.tell([seen("surge", last_us + 17 * QUIET_US), seen("surge", last_us + 17 * QUIET_US + MIN, firing=False)])
    assert [] == told.decide({"nyc": last_us + 19 * QUIET_US})


def test_people_acknowledge_and_silence() -> None:
    """An acknowledgement shows in the alert; a silence begins and ends with a change, so that receivers are told."""
    told = Told()
    [opened] = told.tell([seen("surge", START_US)])
    told.tell([Acknowledged(log="alerts", index=told.log.index(opened), outcome="seen", subject="key 1", acknowledged_at_us=5)], {})
    assert ["acknowledged"] == [alert.state for alert in told.hub.open]
    silence = AlertSilenced(region="nyc", kind="", subject="", until_us=START_US + 9, author="operator", reason="fair", at_us=1)
    [change] = told.tell([silence], {"": START_US, "nyc": START_US})
    assert isinstance(change, AlertChanged)
    assert ("silence",) == change.changed
    assert ["silenced"] == [alert.state for alert in told.hub.open]
    assert [] == told.decide({})
    assert 1 == len(told.decide({"": START_US + 9, "nyc": START_US}))
    assert ["acknowledged"] == [alert.state for alert in told.hub.open]


def test_the_table_of_causes_has_no_cycle() -> None:
    """No kind explains itself, and a cause is deeper than whatever it explains."""
    assert [] == [(cause, kind) for cause in CAUSES for kind in explained_by(cause) if depth(cause) <= depth(kind)]


def test_the_page_shows_the_table_of_causes() -> None:
    """docs/alerts.md has exactly the rows of the table."""
    rows = [f"| {cause} | {', '.join(caused)} |" for cause, caused in CAUSES.items()]
    text = (ROOT / "docs" / "alerts.md").read_text("utf-8")
    assert rows == text.split("| cause | directly explains |\n|---|---|\n")[1].split("\n\n")[0].rstrip().split("\n")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 1))
def test_a_hub_resumes_at_any_entry(seed: int, share: float) -> None:
    """A hub folded to any entry and then on is the one that was never interrupted, and it owes nothing."""
    rng = random.Random(seed)
    told = Told()
    for number in range(2):
        told.tell(incident(rng, START_US + number * 50 * MIN)[1])
    split = int(share * len(told.log))
    resumed = folded(told.log, copy.deepcopy(folded(told.log[:split])), split)
    assert told.hub == resumed
    assert [] == decide(resumed, {})


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_groups_do_not_depend_on_order(seed: int) -> None:
    """The partition of the same signals is the same whatever order they came in."""
    rng = random.Random(seed)
    records = [one for n in range(2) for one in incident(rng, START_US + n * 10 * MIN)[1] if one.firing]
    ways = []
    for _ in range(2):
        rng.shuffle(records)
        ways.append([group.keys for group in grouped(folded(records).signals.values())])
    assert ways[0] == ways[1]
    assert sorted(key for keys in ways[0] for key in keys) == sorted(folded(records).signals)
