"""Values that take a store seconds to answer: computed once for each state of the data, however many clients ask."""

import threading
from collections.abc import Callable, Hashable
from typing import TypeVar, cast

T = TypeVar("T")


class Once:
    """Keeps the newest value of each name. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}
        self._kept: dict[Hashable, tuple[Hashable, object]] = {}

    def get(self, name: Hashable, version: Hashable, make: Callable[[], T]) -> T:
        """The value of a name; whoever asks while it is made waits for it.

        Args:
            name: What it is a value of; names must be few, since each keeps one value.
            version: Changes when the value may.
            make: Makes it; what it raises is raised, and the next one tries again.
        """
        with self._lock:
            making = self._making.setdefault(name, threading.Lock())
        with making:
            kept = self._kept.get(name)
            if kept is None or kept[0] != version:
                kept = self._kept[name] = version, make()
            return cast(T, kept[1])
