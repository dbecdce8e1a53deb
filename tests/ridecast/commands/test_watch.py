"""`ridecast watch replay`: the same signals at every repetition, as a table and as JSON, and what is refused."""

import json

from tests.ridecast.conftest import Call, Small


def test_a_replay_says_the_same_twice(small: Small, call: Call) -> None:
    """Two repetitions print the same; JSON has a line per signal of the table, and the last line counts the slots."""
    first, second = (call("watch", "replay", "--home", small.home) for _ in range(2))
    assert (0, first.out) == (first.status, second.out)
    assert "tehran requests: " in first.out
    lines = call("watch", "replay", "--home", small.home, "--json").out.splitlines()
    ended = [json.loads(line)["firing"] for line in lines]
    assert f"{sum(ended)} signals began or changed, {len(ended) - sum(ended)} ended, in " in first.out
    assert "in 0 slots" not in first.out


def test_bounds_and_names_are_checked(small: Small, call: Call) -> None:
    """A time that is none and a measure of another region are refused; an empty period has no slots."""
    refused = call("watch", "replay", "--home", small.home, "--from", "yesterday")
    assert (2, True) == (refused.status, "--from: expected an ISO time" in refused.err)
    refused = call("watch", "replay", "--home", small.home, "--measure", "fares")
    assert (2, True) == (refused.status, "--measure: expected one of requests" in refused.err)
    empty = call("watch", "replay", "--home", small.home, "--to", "2001-01-01")
    assert (0, True) == (empty.status, "in 0 slots" in empty.out)
