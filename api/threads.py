"""Threads for requests that wait for a store: few, with a bound on waiting requests and a time limit for each.

A thread that hangs in a store cannot be stopped, only left behind. A request that is left behind keeps its place until
its thread returns, so a store that hangs costs at most `THREADS` threads, and every further request is refused at once.
Requests that are answered from memory never come here.
"""

import asyncio
import math
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar, cast

from api.breaker import Breaker
from api.problems import Problem
from schemas.errors import StoreUnavailable

T = TypeVar("T")

THREADS = 16  # more do not help: Python runs one at a time, and a store has its own limit of connections
WAITING = 48  # at 10 ms a request, half a second of work
LIMIT_S = 10.0  # the slowest request, a week of old history of a cell, takes about one second
SUSPECT_S = 1.5  # from here on a request waits only while its stores answer others
LOOK_AGAIN_S = 0.1
RETRY_AFTER_S = 2
IDLE_S = 30.0  # a thread without work for so long ends


def _always(_: float) -> bool:
    return True


class StoreThreads:
    """Runs functions that may wait for a store; used from one event loop.

    Args:
        answered_since: Whether the stores answered anything that was asked since a time, monotonic seconds.
        heard_since: Whether an answer of theirs came since a time, whenever it was asked for; by default the same.
        threads: Most threads; each is started when it is first needed.
        waiting: Most requests that wait for a thread.
        limit_s: Longest time from the request to its answer.
    """

    def __init__(
        self,
        answered_since: Callable[[float], bool] = _always,
        *,
        threads: int = THREADS,
        waiting: int = WAITING,
        limit_s: float = LIMIT_S,
        heard_since: Callable[[float], bool] | None = None,
    ) -> None:
        self._answered_since, self._threads, self._waiting, self._limit_s = answered_since, threads, waiting, limit_s
        self._breaker = Breaker(random.random, time.monotonic, heard_since or answered_since)
        self._jobs: dict[Future[object], Callable[[], object]] = {}  # that wait for a thread, oldest first
        self._started = 0
        self._open = 0  # requests that wait for a thread or have one, also those that were left behind
        self._changed = threading.Condition()

    @property
    def open(self) -> int:
        """Requests that wait for a thread or have one."""
        return self._open

    async def run(self, work: Callable[[], T]) -> T:
        """The result of a function, computed in a thread.

        Raises:
            Problem: 503 when too many requests wait, or when the stores do not answer in time.
        """
        if refused_s := self._breaker.refused_s():
            raise _unavailable("store-slow", "the stores did not answer a moment ago; try again", math.ceil(refused_s))
        started_s = time.monotonic()
        wrapped = asyncio.wrap_future(self._submit(work))
        done, _ = await asyncio.wait({wrapped}, timeout=min(SUSPECT_S, self._limit_s))
        while not done:
            if time.monotonic() - started_s >= self._limit_s or not self._answered_since(started_s):
                wrapped.cancel()  # If it still waits for a thread, it will not run.
                self._note(started_s)
                raise _unavailable("store-slow", "a store needed for this response did not answer in time; try again")
            done, _ = await asyncio.wait({wrapped}, timeout=LOOK_AGAIN_S)
        if isinstance(wrapped.exception(), StoreUnavailable):
            self._note(started_s)
        else:
            self._breaker.succeeded()
        return cast(T, wrapped.result())

    def _note(self, started_s: float) -> None:
        """A request failed: it is not the request's fault if the stores answered nobody else either."""
        if not self._answered_since(started_s):
            self._breaker.failed()

    def _submit(self, work: Callable[[], object]) -> Future[object]:
        future: Future[object] = Future()
        with self._changed:
            if self._open >= self._threads + self._waiting:
                raise _unavailable("busy", "too many requests wait for the stores; try again")
            self._open += 1
            self._jobs[future] = work
            starts = self._started < min(self._open, self._threads)
            self._started += starts
            self._changed.notify()
        future.add_done_callback(self._release)
        if starts:
            # A daemon: a thread that hangs in a store must not keep the process from ending.
            threading.Thread(target=self._work, name="store", daemon=True).start()
        return future

    def _release(self, future: Future[object]) -> None:
        with self._changed:
            self._jobs.pop(future, None)
            self._open -= 1

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: self._jobs, IDLE_S):
                    self._started -= 1
                    return
                future = next(iter(self._jobs))
                work = self._jobs.pop(future)
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as cause:  # Whatever a handler raises belongs to its request.
                    future.set_exception(cause)
            del future, work  # else the last answer stays in memory until the next request


def _unavailable(name: str, detail: str, retry_after_s: int = RETRY_AFTER_S) -> Problem:
    return Problem(503, name, detail, headers={"retry-after": str(retry_after_s)})
