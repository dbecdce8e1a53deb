"""Errors say what to do about them in one form."""

import pickle

import pytest

from schemas.errors import ConfigError, NotFound, RidecastError


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
