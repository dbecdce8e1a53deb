"""Values that are computed once for each state of the data."""

import threading
import time

import pytest

from api.once import Once


def test_a_value_is_made_once_for_each_version() -> None:
    """The same version gives the kept value, another one is made and replaces it, and names do not meet."""
    once, made = Once(), list[str]()

    def make(what: str) -> str:
        made.append(what)
        return what

    for name, version in (("a", 1), ("a", 1), ("b", 1), ("a", 2), ("a", 2), ("a", 1)):
        assert f"{name}{version}" == once.get(name, version, lambda: make(f"{name}{version}"))  # noqa: B023
    assert ["a1", "b1", "a2", "a1"] == made


def test_clients_that_ask_together_share_one_value() -> None:
    """While one thread makes a value the others wait for it."""
    once, made, found = Once(), list[int](), list[int]()

    def make() -> int:
        time.sleep(0.05)
        made.append(1)
        return len(made)

    threads = [threading.Thread(target=lambda: found.append(once.get("a", 1, make))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ([1], [1] * 8) == (made, found)


def test_what_failed_is_tried_again() -> None:
    """An error reaches who asked, and keeps nothing."""
    once = Once()

    def fail() -> int:
        raise ValueError("no store")

    with pytest.raises(ValueError, match="no store"):
        once.get("a", 1, fail)
    assert 7 == once.get("a", 1, lambda: 7)
