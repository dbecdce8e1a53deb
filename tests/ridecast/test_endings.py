"""How children end: what an exit status says about trying again, and the words for it."""

import signal

import pytest

from ridecast.endings import (
    HALTED_STATUS,
    PEER_STATUS,
    PERMANENT_STATUS,
    TRANSIENT_STATUS,
    ChildError,
    Ending,
    in_child,
    mark_faults,
    signal_name,
)
from schemas.errors import (
    AccessRefused,
    BootRefused,
    ConfigError,
    ContractError,
    DamagedError,
    ExpectedSizeError,
    Fault,
    Fenced,
    NotFound,
    PeerEnded,
    RegionsHalted,
    StoreUnavailable,
    UsageError,
)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("a"), PERMANENT_STATUS),
        (DamagedError("b"), PERMANENT_STATUS),
        (BootRefused("c"), PERMANENT_STATUS),
        (AccessRefused("d"), PERMANENT_STATUS),
        (StoreUnavailable("e"), TRANSIENT_STATUS),
        (Fenced("f"), TRANSIENT_STATUS),
        (ExpectedSizeError("g"), TRANSIENT_STATUS),
        (PeerEnded("h"), PEER_STATUS),
        (RegionsHalted("i"), HALTED_STATUS),
    ],
)
def test_an_error_keeps_its_text_and_says_what_helps(error: Exception, status: int) -> None:
    """An error leaves a child with its own text and the status of its class, which the supervisor reads back."""
    with pytest.raises(ChildError, match=f"^{error}$") as caught, mark_faults():
        raise error
    assert caught.value.exit_code == status
    assert Ending(status).fault is (Fault.PERMANENT if status in (PERMANENT_STATUS, HALTED_STATUS) else Fault.TRANSIENT)


@pytest.mark.parametrize("error", [UsageError("words"), ConfigError("setting"), ContractError("promise"), ValueError("bug")])
def test_wrong_usage_and_errors_of_ours_stay_what_they_are(error: Exception) -> None:
    """Wrong usage has its own exit code already, and an error of ours keeps its traceback."""
    assert error is in_child(error)
    with pytest.raises(type(error)), mark_faults():
        raise error


def test_an_error_inside_that_of_a_library_counts() -> None:
    """Bytewax wraps what our code raises: the error of ours decides."""
    outer = RuntimeError("error building")
    outer.__cause__ = StoreUnavailable("no broker")
    told = in_child(outer)
    assert isinstance(told, ChildError)
    assert ("no broker", TRANSIENT_STATUS) == (str(told), told.exit_code)


def test_an_error_of_the_system_names_its_file() -> None:
    """A full disk is waited for, and its file is named as everywhere."""
    told = in_child(OSError(28, "No space left on device", "a.avro"))
    assert isinstance(told, ChildError)
    assert ("a.avro: No space left on device", TRANSIENT_STATUS) == (str(told), told.exit_code)


@pytest.mark.parametrize(
    ("ending", "fault", "how"),
    [
        (Ending(0), Fault.BUG, "ended unexpectedly"),
        (Ending(1, last_error="x"), Fault.BUG, "ended with status 1: x"),
        (Ending(99), Fault.BUG, "ended with status 99"),
        (Ending(2), Fault.PERMANENT, "ended with status 2"),
        (Ending(4, last_error="a partition was added"), Fault.TRANSIENT, "starts again: a partition was added"),
        (Ending(-signal.SIGKILL), Fault.TRANSIENT, "was killed by SIGKILL"),
        (Ending(-signal.SIGTERM), Fault.TRANSIENT, "was killed by SIGTERM"),
        (Ending(-signal.SIGSEGV), Fault.BUG, "was killed by SIGSEGV"),
        (Ending(-signal.SIGKILL, hung_s=61.0), Fault.TRANSIENT, "did not respond for 61 s and was killed"),
        (Ending(refused="no memory"), Fault.TRANSIENT, "did not start: no memory"),
    ],
)
def test_an_ending_is_named_and_sorted(ending: Ending, fault: Fault, how: str) -> None:
    """Crashes are errors of ours; kills, hangs and a system without resources heal by waiting."""
    assert (fault, how) == (ending.fault, ending.how)


def test_a_signal_without_a_name_has_its_number() -> None:
    """Real-time signals have no name of their own."""
    assert signal_name(63).startswith("signal ")
