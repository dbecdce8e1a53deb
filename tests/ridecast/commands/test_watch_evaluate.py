"""`ridecast watch evaluate`: what is printed, and when a floor is missed."""

import json

from tests.ridecast.conftest import Call

TINY = ("--seeds", "1", "--first-seed", "101", "--weeks", "0", "--history-days", "1", "--quiet-days", "1", "--rides-per-day", "4000")


def test_a_fault_in_a_tiny_city_is_seen(call: Call) -> None:
    """A fault that is seen passes with exit code 0, and the document says when it was seen; an unknown one is refused."""
    done = call("watch", "evaluate", *TINY, "--fault", "duplicates", "--json")
    document = json.loads(done.out)
    assert (0, True) == (done.status, document["passed"])
    [verdict] = document["verdicts"]
    assert verdict["trial"] == "duplicates"
    assert 1 <= verdict["delay_slots"] <= 3
    refused = call("watch", "evaluate", "--fault", "flood")
    assert (2, True) == (refused.status, "--fault: expected one of surge" in refused.err)
