"""`ridecast bootstrap`: what it counts, what it says, and that it is done once."""

import re
from pathlib import Path

import pytest

from tests.ridecast.conftest import END, REGION, UNTIL, Call, Small
from tests.ridecast.test_failures import head_of


def test_it_says_what_it_counted(small: Small) -> None:
    """Rides, days, date and what comes next stand in one line on standard output."""
    done = small.made["bootstrap"]
    assert re.fullmatch(rf"{REGION} bootstrapped: \d{{3}} rides in 2\.0 days before {UNTIL}; live counting starts there\.\n", done.out)
    assert done.err == ""


def test_the_same_again_changes_nothing(copy: Small, call: Call) -> None:
    """Done again, also after forecasts have been recorded, it says so and leaves the log as it is."""
    before = head_of(copy.home)
    done = call("bootstrap", "--rides", copy.rides, "--region", REGION, "--until", UNTIL, "--home", copy.home)
    assert (0, small_line(copy).replace("bootstrapped:", "was bootstrapped already:")) == (done.status, done.out)
    assert before == head_of(copy.home)


def test_another_date_is_refused(copy: Small, call: Call) -> None:
    """A region has one beginning: both are named, it is wrong usage, and the log stays as it is."""
    before = head_of(copy.home)
    done = call("bootstrap", "--rides", copy.rides, "--region", REGION, "--until", END, "--home", copy.home)
    assert (2, "") == (done.status, done.out)
    recorded = rf"already bootstrapped until {UNTIL} with \d+ rides, which cannot be changed"
    assert re.fullmatch(rf"ridecast: region {REGION}: {recorded}; got until {END} with \d+ rides; use another --home\n", done.err)
    assert before == head_of(copy.home)


def test_a_region_may_begin_without_history(tmp_path: Path, call: Call) -> None:
    """With --no-history no rides are read nor asked for."""
    done = call("bootstrap", "--region", "nyc", "--until", "2014-05-01", "--home", tmp_path / "home", "--no-history")
    assert (0, "nyc bootstrapped: 0 rides in 0.0 days before 2014-05-01; live counting starts there.\n") == (done.status, done.out)


@pytest.mark.parametrize(
    ("region", "until", "found"),
    [
        (REGION, "2025-04-05", "rides before 2025-04-05, found none: they span 2025-04-05 to 2025-04-07; give a later date"),
        (REGION, "2030-05-01", "rides up to 2030-05-01, found none after 2025-04-07: .*; give 2025-04-08 or earlier"),
        ("nyc", UNTIL, rf"rides before {UNTIL}, found none of this region among [\d,]+ events; give the --region that they belong to"),
    ],
)
def test_a_date_or_region_without_rides_is_said(small: Small, tmp_path: Path, call: Call, region: str, until: str, found: str) -> None:
    """A date before the first ride or years after the last, and rides of another region, are wrong usage with a way out."""
    done = call("bootstrap", "--rides", small.rides, "--region", region, "--until", until, "--home", tmp_path / "home")
    became = r" \([\d,]+ events read, .*\)" if "none of this region" in found else ""
    said = rf"ridecast: region {region}: expected {found}, or start with --no-history{became}\n"
    assert (2, "") == (done.status, done.out)
    assert re.fullmatch(said, done.err)


def small_line(small: Small) -> str:
    """What the first bootstrap said."""
    return small.made["bootstrap"].out
