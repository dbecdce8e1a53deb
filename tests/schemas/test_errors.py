"""Errors say what to do about them in one form."""

import pickle

import pytest

from schemas.errors import (
    FAULTS,
    AccessRefused,
    ConfigError,
    DamagedError,
    DivergenceError,
    Fault,
    NotFound,
    PeerEnded,
    RidecastError,
    StoreUnavailable,
    fault_of,
)


@pytest.mark.parametrize("kind", [RidecastError, ConfigError, NotFound])
def test_a_remedy_ends_the_text(kind: type[RidecastError]) -> None:
    """The remedy stands behind a semicolon and can be asked for; without one the text is left alone."""
    error = kind("home: expected a directory", remedy="give another --home")
    assert ("home: expected a directory; give another --home", "give another --home") == (str(error), error.remedy)
    assert ("home: expected a directory", "") == (str(kind("home: expected a directory")), kind("x").remedy)


def test_an_error_crosses_processes() -> None:
    """Pickled, as between workers, an error keeps its text, its remedy and its exit code."""
    error = pickle.loads(pickle.dumps(ConfigError("a", remedy="b")))
    assert ("a; b", "b", 2) == (str(error), error.remedy, error.exit_code)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (ConfigError("a"), Fault.PERMANENT),
        (DamagedError("a"), Fault.PERMANENT),
        (AccessRefused("a"), Fault.PERMANENT),
        (StoreUnavailable("a"), Fault.TRANSIENT),
        (PeerEnded("a"), Fault.TRANSIENT),
        (ConnectionResetError("a"), Fault.TRANSIENT),
        (DivergenceError("a"), Fault.BUG),
        (RidecastError("a"), Fault.BUG),
        (KeyError("a"), Fault.BUG),
    ],
)
def test_an_error_says_whether_waiting_heals_it(error: Exception, fault: Fault) -> None:
    """The nearest class in the table decides, so that refused access is permanent although it is a kind of unavailability."""
    assert fault is fault_of(error)


def test_every_class_of_error_has_a_fault() -> None:
    """No class of ours falls to the last row of the table, except the root itself."""
    kinds = [RidecastError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    ours = [kind for kind in kinds if kind.__module__ == "schemas.errors"]
    assert len(ours) > 12
    assert [RidecastError] == [kind for kind in ours if not FAULTS.keys() & set(kind.__mro__) - {BaseException}]
