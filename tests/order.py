"""In which order tests run, shuffled to find one that needs another before it; and which need a server."""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest

T = TypeVar("T")

# Names of fixtures in tests/services/fixtures.py begin so; some suites have them as parameters.
SERVERS = {"alertmanager", "kafka", "postgres", "redis"}


def shuffled(items: Sequence[T], module_of: Callable[[T], str], seed: int) -> list[T]:
    """The items in an order that only the seed decides: modules shuffled, then the items within each.

    Modules stay together, so that what a module prepares once is not prepared for every test.

    >>> shuffled(["a1", "a2", "b1", "b2", "c1"], lambda name: name[0], 3)
    ['b1', 'b2', 'c1', 'a1', 'a2']
    """
    chance = random.Random(seed)
    modules: dict[str, list[T]] = {}
    for item in items:
        modules.setdefault(module_of(item), []).append(item)
    names = sorted(modules)
    chance.shuffle(names)
    for name in names:
        chance.shuffle(modules[name])
    return [item for name in names for item in modules[name]]


def needs_server(item: pytest.Item) -> bool:
    """Whether a test asks for a real server, by a fixture or by the parameter of one."""
    names = {name.partition("_")[0] for name in getattr(item, "fixturenames", ())}
    call = getattr(item, "callspec", None)
    return not SERVERS.isdisjoint(names | ({str(value) for value in call.params.values()} if call else set()))
