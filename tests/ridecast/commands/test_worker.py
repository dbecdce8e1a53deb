"""`ridecast worker`: how a child of a run ends, so that its supervisor knows whether to try again."""

import shutil

import pytest

from ridecast.endings import PERMANENT_STATUS
from tests.ridecast.calls import ridecast
from tests.ridecast.conftest import REGION, Call, Small

MISSING = "ridecast: region nyc: not bootstrapped in this home; run `ridecast bootstrap --region nyc --until DATE` first\n"


@pytest.mark.parametrize("role", ["forecast", "publish", "learn"])
def test_a_lasting_error_has_a_status_of_its_own(small: Small, role: str) -> None:
    """A region that was never bootstrapped will not be after a restart: the reason in one line, and the status that says so."""
    done = ridecast("worker", role, "--regions", "nyc", cwd=small.folder, env={"RIDECAST_RIDES": "rides", "RIDECAST_HOME": "home"})
    assert (PERMANENT_STATUS, MISSING) == (done.status, done.err)


def test_wrong_usage_stays_wrong_usage(small: Small) -> None:
    """Rides that do not exist are the person's to mend: status 2."""
    done = ridecast("worker", "forecast", "--regions", REGION, cwd=small.folder, env={"RIDECAST_RIDES": "gone", "RIDECAST_HOME": "home"})
    assert (2, "ridecast: ride log: expected a directory, got 'gone', which does not exist\n") == (done.status, done.err)


def test_a_drain_publishes_what_is_recorded(copy: Small) -> None:
    """With --drain the publisher brings the newest forecast where it belongs, then ends by itself, tied to nobody's life."""
    expected = sorted(path.name for path in (copy.home / "forecasts").rglob("*.avro"))[-1]
    shutil.rmtree(copy.home / "forecasts")
    done = ridecast("worker", "publish", "--regions", REGION, "--drain", cwd=copy.folder, env={"RIDECAST_HOME": "home"})
    assert (0, "") == (done.status, done.err)
    assert [expected] == [path.name for path in (copy.home / "forecasts").rglob("*.avro")]


def test_it_is_not_for_people(call: Call) -> None:
    """The overview does not show it, and a wrong setting is said as everywhere."""
    assert "worker" not in call("--help").out
    done = call("worker", "api", "--regions", REGION, RIDECAST_API_PORT="x")
    assert (2, "ridecast: RIDECAST_API_PORT: expected a whole number 0 to 65,535, got 'x'\n") == (done.status, done.err)
