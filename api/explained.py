"""Explanations that were given, and the models and matrices that more of them are made from: the latest few, in memory."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ledger.views.region_view import RegionView
from schemas.events.rides import Float32s
from schemas.forecasts.chunks import ForecastColumns
from state.models.reasons import Explained

KEPT_MODELS, KEPT_ISSUES, KEPT_ANSWERS = 4, 8, 2_000  # some 10 MB of trees, 20 MB of matrices, 20 MB of answers

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Latest(Generic[K, V]):
    """The values used last, at most so many; any thread may ask."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, key: K) -> V | None:
        """The value of a key; None if it is not held."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of a key, made if it is not held; what raises is not held."""
        found = self.find(key)
        if found is None:
            found = make()
            with self._lock:
                self._held[key] = found
                while len(self._held) > self._most:
                    self._held.popitem(last=False)
        return found


@dataclass(frozen=True, slots=True)
class Question:
    """Which number is to be explained. A view is equal to itself only: of another ledger the answer may be another."""

    view: RegionView
    measure: str
    cell: int
    target_us: int
    horizon: int


class Explanations:
    """Explanations that were given, and what more of them are made from."""

    def __init__(self) -> None:
        self.answers: Latest[Question, bytes] = Latest(KEPT_ANSWERS)
        self.models: Latest[bytes, Explained] = Latest(KEPT_MODELS)
        self.columns: Latest[bytes, ForecastColumns] = Latest(KEPT_ISSUES)
        self.matrices: Latest[bytes, Float32s] = Latest(KEPT_ISSUES)
