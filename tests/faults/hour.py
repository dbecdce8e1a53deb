"""A live hour on real servers in which things change and go away, and the same hour without that: worlds, runs and the API's answers."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np

from dataflows.jobs.learn import train_region
from schemas.events.codec import encode_event
from schemas.records.records import PartitionsChanged
from tests.services.process import Server
from tests.simulation.live import LiveTopic, Producer, last_closed
from tests.simulation.moved import records_at
from tests.simulation.runs import Place, last_words, settle, start_run, wait_until
from tests.simulation.world import MIN_US, PLACES, START_SLOT, START_US, Entry, World, make_region
from tests.state.counting.plain_slots import Event

RIDES_PER_MIN = 150.0
HOUR_MIN = 60.0
END_MIN = HOUR_MIN + 2.5  # half a slot more, so that the last slot of the hour closes
LATEST_MIN = 60.0  # no ride is reported later than that
NEVER_S = 3_600.0  # no partition is excused: every slot closes by the logs alone, however long a server is away
AWAY_S = 3.0
ENDS_WITHIN_S = 8.0
LIMIT_S = 180.0
MOST_ROWS = 2_500  # of a training


def make_hour(seed: int, grown_min: float) -> World:
    """An hour of many rides: to two partitions, and to three from some minute on.

    Some rides are reported late, some twice within a few events, as a producer does that retries.
    """
    rng = np.random.default_rng(seed)
    found: list[list[tuple[int, bytes, Event]]] = [[], [], []]
    times = np.sort(rng.uniform(-5 * MIN_US, END_MIN * MIN_US, rng.poisson(RIDES_PER_MIN * (END_MIN + 5))))
    for number, at_us in enumerate((START_US + times.astype(np.int64) // 1_000 * 1_000).tolist()):
        late_s = rng.choice([rng.uniform(0, 20), rng.uniform(300, 1_500)], p=[0.97, 0.03])
        logged_at_us = at_us + int(late_s * 1_000) * 1_000
        partition = number % (3 if logged_at_us >= START_US + grown_min * MIN_US else 2)
        place = PLACES[min(int(rng.zipf(1.6)) - 1, len(PLACES) - 1)]
        fields = {"event_id": f"requested-{number}", "ride_id": f"ride-{number}", "kind": "requested", "region": "small"}
        value = encode_event({**fields, "occurred_at": at_us, "lat": place[0], "lon": place[1]})
        for again_us in (0, 1_000_000) if rng.random() < 0.02 else (0,):
            found[partition].append((logged_at_us + again_us, value, Event(-1, number, at_us, place)))
    logs = []
    for log in found:
        log.sort(key=lambda entry: entry[0])
        logs.append(
            tuple(
                Entry(logged_at_us, value, Event(offset, event.event_id, event.at_us, event.cell_at))
                for offset, (logged_at_us, value, event) in enumerate(log)
            )
        )
    return World(seed, make_region(), tuple(logs))


def teach(place: Place) -> None:
    """Train and promote a model, so that forecasts follow from what was counted before."""
    stores = place.open()
    train_region(stores, place.world.region, promote=True, reason="for the hour", most_rows=MOST_ROWS)
    stores.close()


class LiveHour:
    """A run with its supervisor on a topic that is fed, and that gets a third partition.

    Args:
        grown_min: When it does; half a slot after a slot's end, so that the record falls at the same slot in every run.
        words: Further words of the command.
        settings: Of the run.
    """

    def __init__(
        self, world: World, bootstrap: str, topic: str, grown_min: float, folder: Path, processes: int, *words: str, **settings: object
    ) -> None:
        self.grown_min = grown_min
        self.log = LiveTopic(bootstrap, topic, 2)
        self.producer = Producer(world, self.log)
        self.place: Place = settle(world, folder, rides=self.log.rides, idle_after_s=NEVER_S, **settings)
        teach(self.place)
        self.process = start_run(self.place, processes, *words)

    @property
    def said(self) -> str:
        """What the run has printed."""
        return (self.place.home / "run.log").read_text("utf-8", "replace")

    def wait(self, happened: Callable[[], bool], what: str) -> None:
        """Wait for something while the run runs."""
        try:
            wait_until(lambda: self.process.poll() is not None or happened(), LIMIT_S, what=what)
            assert self.process.poll() is None, f"{what}: the run has ended"
        except AssertionError as cause:
            raise AssertionError(f"{cause}; closed: {last_closed(self.place)}; output:\n{last_words(self.place)}") from cause

    def feed(self, until_min: float, pause_s: float = 0.0) -> None:
        """Feed what is logged before a minute, and wait until every slot that can close is closed."""
        partitions = (0, 1) if until_min <= self.grown_min else (0, 1, 2)
        self.producer.feed(until_min if until_min < END_MIN else END_MIN + LATEST_MIN, partitions, pause_s)
        slot = START_SLOT + int(until_min // 5) - 1
        self.wait(lambda: (last := self.last_slot()) is not None and last >= slot, f"slot {slot} of minute {until_min:g}")
        assert self.last_slot() == slot

    def last_slot(self) -> int | None:
        """The newest closed slot."""
        last = last_closed(self.place)
        return last.slot if last else None

    def grow(self, pause_s: float = 0.0) -> None:
        """Add the partition, feed on with it, and wait until the run has recorded it."""
        self.feed(self.grown_min, pause_s)
        self.log.grow(3)
        self.producer.feed(self.grown_min + 2, (0, 1, 2), pause_s)
        self.wait(lambda: any(isinstance(record, PartitionsChanged) for record in records_at(self.place)), "the new partition's record")

    def stop(self) -> None:
        """End it with SIGTERM."""
        self.process.terminate()
        assert self.process.wait(ENDS_WITHIN_S) == 0, last_words(self.place)

    def kill(self) -> None:
        """Leave nothing of it, whatever has happened."""
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(Exception):
                self.process.wait(ENDS_WITHIN_S)
        self.process.kill()
        self.process.wait()


@contextmanager
def fed_on(hour: LiveHour, until_min: float, pause_s: float) -> Iterator[None]:
    """Feed in a thread meanwhile; afterwards every slot that can close must close."""
    failed: list[BaseException] = []

    def feed() -> None:
        try:
            hour.producer.feed(until_min, (0, 1) if until_min <= hour.grown_min else (0, 1, 2), pause_s)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        thread.join(LIMIT_S)
    assert [] == failed
    assert not thread.is_alive()
    hour.feed(until_min)


def away(server: Server, *, killed: bool) -> None:
    """Stop or kill a server, and start it again after some seconds."""
    time.sleep(1.0)
    server.kill() if killed else server.stop()
    time.sleep(AWAY_S)
    server.start()


class Asker:
    """Asks the API all the time, as its clients do.

    Attributes:
        answers: How often each path was answered with each status.
        bad: Answers that no document announces.
        states: What `/v1/health` has said.
    """

    def __init__(self, port: int) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.bad: list[str] = []
        self.states: Counter[str] = Counter()
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=5)
        self._stop = threading.Event()
        self._served = False
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Asker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()
        self._thread.join(30)
        self._client.close()

    @property
    def served(self) -> bool:
        """Whether forecasts have been answered."""
        return self._served

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            for path in ("/v1/live", "/v1/health", "/v1/regions/small/forecasts", "/v1/ledger/region/small/entries/1"):
                try:
                    self._note(path, self._client.get(path))
                except httpx.HTTPError as error:
                    if self._served:  # before that the process may not listen yet
                        self.bad.append(f"{path}: {error!r}")

    def _note(self, path: str, answer: httpx.Response) -> None:
        self.answers[path, answer.status_code] += 1
        if path == "/v1/health":
            self.states[str(answer.json().get("status"))] += 1
        if path.endswith("/forecasts") and answer.status_code == 200:
            self._served = True
            if not isinstance(answer.json().get("age_s"), int):
                self.bad.append(f"{path}: without age: {answer.text[:200]}")
        elif path.endswith("/forecasts") and self._served:
            self.bad.append(f"{path}: {answer.status_code} {answer.text[:200]}")
        if self._served and (answer.status_code not in (200, 503) or (answer.status_code == 503 and "retry-after" not in answer.headers)):
            self.bad.append(f"{path}: {answer.status_code} {answer.text[:200]}")
        if path == "/v1/live" and answer.status_code != 200:
            self.bad.append(f"{path}: {answer.status_code}")


def shuffled_faults(seed: int, faults: Sequence[str]) -> list[str]:
    """The faults in an order that the seed decides."""
    order = list(faults)
    random.Random(seed).shuffle(order)
    return order
