"""When jobs are due: crons through changes of clocks, intervals of event time, and definitions that cannot work."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice, pairwise, takewhile
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from schemas.errors import UsageError
from schemas.records.records import JobScheduled
from schemas.regions import load_region
from schemas.times import iso, parse_time
from state.decide.schedule import Due, check_job, cron_times, due_between, due_of, retry_after_s, run_id

NYC = load_region("nyc")
JOB = JobScheduled(
    name="nightly",
    job="verify",
    arguments=(),
    region="nyc",
    cron="30 3 * * *",
    every_slots=0,
    timezone="America/New_York",
    overlap="skip",
    catch_up="once",
    timeout_s=60,
    retries=2,
    backoff_s=60,
    from_us=parse_time("2014-03-01T00:00Z", NYC),
    from_slot=-1,
    author="test",
    reason="test",
)


def due(cron: str, first: str, until: str, timezone: str = "America/New_York") -> Sequence[str]:
    """Due times of a cron after one time until another, UTC, without the seconds."""
    end_us = parse_time(until, NYC)
    found = takewhile(lambda at_us: at_us <= end_us, cron_times(cron, timezone, parse_time(first, NYC)))
    return [iso(at_us).removesuffix(":00Z") for at_us in found]


@pytest.mark.parametrize(
    ("cron", "first", "until", "expected"),
    [
        # New York skips 02:00 to 03:00 on 9 March 2014 (07:00 UTC) and has 01:00 to 02:00 twice on 2 November (05:00 and 06:00 UTC).
        ("30 2 * * *", "2014-03-08T12:00Z", "2014-03-10T12:00Z", ["2014-03-09T07:00", "2014-03-10T06:30"]),
        ("15,45 2 * * *", "2014-03-09T00:00Z", "2014-03-09T12:00Z", ["2014-03-09T07:00"]),
        ("0 2,3 * * *", "2014-03-09T00:00Z", "2014-03-09T12:00Z", ["2014-03-09T07:00"]),
        ("30 1 * * *", "2014-11-01T12:00Z", "2014-11-03T12:00Z", ["2014-11-02T05:30", "2014-11-03T06:30"]),
        ("30 1 * * *", "2014-11-02T05:30Z", "2014-11-02T12:00Z", []),
        ("30 1 * * *", "2014-11-02T06:10Z", "2014-11-02T12:00Z", []),
        ("30 * * * *", "2014-11-02T04:45Z", "2014-11-02T07:45Z", ["2014-11-02T05:30", "2014-11-02T06:30", "2014-11-02T07:30"]),
        ("30 * * * *", "2014-03-09T05:45Z", "2014-03-09T08:00Z", ["2014-03-09T06:30", "2014-03-09T07:30"]),
        ("0 4 29 2 *", "2014-01-01T00:00Z", "2024-12-31T00:00Z", ["2016-02-29T09:00", "2020-02-29T09:00", "2024-02-29T09:00"]),
    ],
)
def test_changes_of_clocks(cron: str, first: str, until: str, expected: Sequence[str]) -> None:
    """A skipped local time is due right after the change, a doubled one the first time, and elapsed time goes on."""
    assert expected == due(cron, first, until)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["30 2 * * *", "15,45 1-3 * * *", "*/20 1,2 * * *", "0 * * * *", "5 0 * * sun"]),
    st.sampled_from(["America/New_York", "Australia/Lord_Howe", "America/Havana", "UTC"]),
    st.lists(st.integers(0, 40 * 1440), min_size=2, max_size=4).map(sorted),
    st.sampled_from(["2014-03-01T00:00Z", "2014-10-05T00:00Z"]),
)
def test_due_times_do_not_depend_on_when_somebody_looked(cron: str, timezone: str, minutes: list[int], first: str) -> None:
    """What is due between two times is what is due up to any time between them, and from there on: nothing lost, nothing twice."""
    job = replace(JOB, cron=cron, timezone=timezone)
    places = [parse_time(first, NYC) + minute * 60_000_000 for minute in minutes]
    parts = [one for start, end in pairwise(places) for one in due_between(job, Due("", start), end, -1, limit=100_000)]
    assert due_between(job, Due("", places[0]), places[-1], -1, limit=100_000) == parts


def test_an_interval_of_event_time_counts_slots() -> None:
    """Every 12 slots means the slots that end an hour, after the place and up to the newest closed one; no clock matters."""
    job = replace(JOB, cron="", every_slots=12)
    assert ["slot 11", "slot 23", "slot 35"] == [one.interval for one in due_between(job, Due("", 0, -1), 0, 46)]
    assert ["slot 35"] == [one.interval for one in due_between(job, Due("", 0, 23), 0, 35)]
    assert [] == due_between(job, Due("", 0, 35), 10**18, 46)
    assert [11] == [one.slot for one in due_between(job, Due("", 0, -1), 0, 46, limit=1)]


def test_a_run_is_named_by_its_job_and_interval() -> None:
    """The id depends on both, and their texts cannot run into each other; an interval reads back."""
    assert run_id("a", "slot 11") == run_id("a", "slot 11")
    assert 4 == len({run_id("a", "slot 11"), run_id("b", "slot 11"), run_id("a", "slot 12"), run_id("as", "lot 11")})
    for one in (*due_between(JOB, Due("", JOB.from_us), JOB.from_us + 2 * 86_400_000_000, -1), Due("slot 7", slot=7)):
        assert one == due_of(one.interval)
    assert Due("by command 2014-03-01T00:00:00Z") == due_of("by command 2014-03-01T00:00:00Z")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cron": "0 0 30 2 *"}, "expected times that exist: bad day-of-month"),
        ({"cron": "0 0 31 4,6 *"}, "expected times that exist: bad day-of-month"),
        ({"cron": "61 * * * *"}, "cron '61 \\* \\* \\* \\*': expected times that exist: bad minute"),
        ({"cron": "* * * *"}, "expected five fields"),
        ({"cron": "0 * * * * *"}, "expected five fields"),
        ({"timezone": "Mars/Olympus"}, "timezone: expected a name such as America/New_York or UTC, got 'Mars/Olympus'"),
        ({"timezone": "../etc/passwd"}, "timezone: expected a name"),
        ({"timeout_s": 0}, "timeout: expected 1 to 604800 seconds, got 0"),
        ({"retries": -1}, "retries: expected 0 to 20, got -1"),
        ({"backoff_s": 0}, "backoff: expected 1 to 86400 seconds, got 0"),
        ({"overlap": "both"}, "overlap: expected one of skip, queue, replace, got 'both'"),
        ({"catch_up": "never"}, "catch-up: expected one of all, once, skip, got 'never'"),
        ({"every_slots": 3}, "expected a cron or an interval of event time, got both"),
        ({"cron": ""}, "expected a cron or an interval of event time, got neither"),
        ({"cron": "", "every_slots": 3, "region": ""}, "expected a region whose slots count"),
        ({"name": "No Name"}, "name: expected at most 63 lower-case letters"),
        ({"arguments": ("x" * 5_000,)}, "arguments: expected at most 4,000 characters"),
    ],
)
def test_what_cannot_work_is_refused(change: dict[str, Any], said: str) -> None:
    """Each field that cannot be used is named, with what was expected."""
    check_job(JOB)
    with pytest.raises(UsageError, match=said):
        check_job(replace(JOB, **change))


def test_retries_wait_longer_each_time() -> None:
    """The wait doubles up to a day and a quarter, chance makes it longer, and after the last retry there is none."""
    job = replace(JOB, retries=20, backoff_s=60)
    assert [60, 120, 240, 86_400] == [retry_after_s(job, failures, 0.0) for failures in (1, 2, 3, 20)]
    assert [74, 107_999] == [retry_after_s(job, failures, 0.999999) for failures in (1, 20)]
    assert -1 == retry_after_s(job, 21, 0.5)
    assert 3 == len(list(islice(cron_times("* * * * *", "UTC", 0), 3)))
