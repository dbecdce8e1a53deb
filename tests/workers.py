"""Several workers run the tests at once (`-n 2`): each has ports of its own, and a test marked `alone` has the machine for itself.

Every test holds a lock while it runs. Most share it. A test that is marked takes it alone: it waits until the tests of
the other workers have ended, and holds back their next ones, since it measures time that another test would change.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

SHARED = pytest.StashKey[tempfile.TemporaryDirectory[str]]()
TURNS = pytest.StashKey["Turns"]()
FOLDER = "turns"  # of the input of a worker


class Turns:
    """Locks in a folder that all workers share."""

    def __init__(self, folder: Path) -> None:
        self._gate, self._room = ((folder / name).open("w") for name in ("gate", "room"))

    @contextmanager
    def turn(self, *, alone: bool) -> Iterator[None]:
        """Wait for the turn of a test, and hold it."""
        # Who waits to be alone keeps the gate, or workers that go on sharing the room would keep it out for ever.
        with held(self._gate, fcntl.LOCK_EX):
            fcntl.flock(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the files."""
        self._gate.close()
        self._room.close()


@contextmanager
def held(file: IO[str], how: int) -> Iterator[None]:
    """Hold a lock."""
    fcntl.flock(file, how)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def share(ports: range, environment: Mapping[str, str] = os.environ) -> range:
    """The ports that this worker may use, so that a server that is down for a while does not lose its port to another worker.

    >>> share(range(20_000, 20_010), {"PYTEST_XDIST_WORKER": "gw1", "PYTEST_XDIST_WORKER_COUNT": "2"})
    range(20001, 20010, 2)
    >>> share(range(20_000, 20_010), {})
    range(20000, 20010)
    """
    if not (name := environment.get("PYTEST_XDIST_WORKER", "")):
        return ports
    count = int(environment["PYTEST_XDIST_WORKER_COUNT"])
    return ports[int(name.removeprefix("gw")) % count :: count]  # a worker that replaces a crashed one has a higher number


# Hooks, for tests/conftest.py.


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker where the locks are; only the process that starts workers calls it."""
    stash = node.config.stash
    if SHARED not in stash:
        stash[SHARED] = tempfile.TemporaryDirectory(prefix="ridecast-turns-")
    node.workerinput[FOLDER] = stash[SHARED].name


def pytest_sessionstart(session: pytest.Session) -> None:
    """Open the locks, in a worker."""
    if folder := getattr(session.config, "workerinput", {}).get(FOLDER):
        session.config.stash[TURNS] = Turns(Path(folder))


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around the time limit of a test, which is not for waiting
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Run a test when it is its turn."""
    turns = item.config.stash.get(TURNS, None)
    if turns is None:
        return (yield)
    with turns.turn(alone=item.get_closest_marker("alone") is not None):
        return (yield)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Close the locks, in a worker."""
    if (turns := session.config.stash.get(TURNS, None)) is not None:
        turns.close()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder, in the process that started the workers."""
    if (shared := config.stash.get(SHARED, None)) is not None:
        shared.cleanup()
