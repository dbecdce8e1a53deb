"""kill -9 of any process of a run at seeded moments, and the conditions at its end."""

import contextlib
import random
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import fastavro
import psutil

from dataflows.stream.stores import Stores
from ledger.check.verify import verify_log
from schemas.forecasts.chunks import unpack_blob
from schemas.forecasts.messages import decode_demand_forecast, encode_demand_forecasts
from schemas.records.record_codec import decode
from schemas.records.records import ForecastIssued
from schemas.topics import FORECASTS
from tests.services.committed import committed
from tests.simulation.reference import assert_rejects_kept
from tests.simulation.runs import LOG, Place, last_words, payloads, start_run, watching

VICTIMS = ("forecast", "forecast", "publish", "supervisor", "everything")
RUN_LIMIT_S = 240.0  # from one kill to the next moment, on a machine that is busy with other tests


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run with kills compares with one without.

    Attributes:
        kills: Moments at which something was killed.
        lost, duplicated: Forecast messages that a consumer missed, or saw more than once.
        identical: Whether the region's log has the same payloads.
    """

    kills: int
    lost: int
    duplicated: int
    identical: bool

    def __str__(self) -> str:
        return f"kills={self.kills} lost={self.lost} duplicated={self.duplicated} identical={self.identical}"


def run_with_kills(place: Place, seed: int, kills: int, expected: list[bytes]) -> Outcome:
    """Run to the end under kills, each followed by a restart if the run as a whole did not survive it.

    Args:
        place: Bootstrapped, with publish_backlog=all.
        seed: Determines moments, victims, batch sizes and process counts.
        expected: Payloads of an uninterrupted run.
    Raises:
        AssertionError: the run does not finish, its ledger does not verify, or rejects are missing.
    """
    chance = random.Random(seed)
    moments = sorted(chance.randint(1, len(expected) - 1) for _ in range(kills))
    family = Family(place, chance)
    print(f"seed {seed}: kills at entries {moments}")
    try:
        with watching(place) as size:
            for moment in moments:
                if chance.random() < 0.2:
                    family.wait(lambda: False, chance.uniform(0.0, 3.0))  # at any point, including its start
                else:
                    family.wait(lambda at=moment: size() >= at, RUN_LIMIT_S)
                    time.sleep(chance.uniform(0.0, 0.03))
                family.kill(chance.choice(VICTIMS))
            family.finish()
    finally:
        family.kill("everything")
    stores = place.open()
    try:
        report = verify_log(stores.ledger, LOG, stores.blobs)
        assert tuple(report.problems) == ()
        assert_rejects_kept(place.world, stores)
        wanted, found = due(stores), published(stores)
        return Outcome(kills, (wanted - found).total(), (found - wanted).total(), payloads(stores.ledger) == expected)
    finally:
        stores.close()


class Family:
    """A run: its supervisor and its children, some of which may be killed."""

    def __init__(self, place: Place, chance: random.Random) -> None:
        self._place, self._chance = place, chance
        self._known: dict[int, psutil.Process] = {}
        self._start()

    def _start(self) -> None:
        processes, batch_events = self._chance.randint(1, 3), self._chance.choice((7, 64, 5_000))
        self._run = start_run(self._place, processes, "--until-end", "--no-api", publish_backlog="all", batch_events=batch_events)
        self._known = {}

    def wait(self, happened: "object", limit_s: float) -> None:
        """Wait for a moment, starting the run again if it has ended before; gives up silently at the limit if nothing is awaited."""
        assert callable(happened)
        give_up_at = time.monotonic() + limit_s
        while not happened():
            if time.monotonic() > give_up_at:
                assert limit_s < RUN_LIMIT_S, f"nothing moved for {limit_s:g} s; output:\n{last_words(self._place)}"
                return
            self._restart_if_over()
            time.sleep(0.01)

    def kill(self, victim: str) -> None:
        """kill -9 to the supervisor, to one child, or to all at once."""
        running = self._alive()
        if victim == "everything":
            chosen = running
        elif victim == "supervisor":
            chosen = [process for process in running if process.pid == self._run.pid]
        else:
            children = [process for process in running if victim in _words(process)]
            chosen = [self._chance.choice(children)] if children else running
        for process in chosen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if any(process.pid == self._run.pid for process in chosen):
            self._run.wait()
            # Children without a supervisor must end by themselves.
            _, left = psutil.wait_procs(running, timeout=60)
            assert left == [], f"outlived their supervisor: {left}; output:\n{last_words(self._place)}"

    def finish(self) -> None:
        """Run it to its end, with a restart if it was killed."""
        give_up_at = time.monotonic() + RUN_LIMIT_S
        while self._run.poll() != 0:
            self._restart_if_over()
            assert time.monotonic() < give_up_at, f"not at its end; output:\n{last_words(self._place)}"
            time.sleep(0.02)

    def _restart_if_over(self) -> None:
        if self._run.poll() is not None:
            self._start()

    def _alive(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            top = psutil.Process(self._run.pid)
            return [top, *top.children(recursive=True)]
        return []


def _words(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return list(process.cmdline())
    return []


# --- what was published ----------------------------------------------------------------------------

Message = tuple[bytes, str]  # the entry's index and the cell, with the cell's forecast


def due(stores: Stores) -> Counter[str]:
    """The messages of every recorded issue, which a consumer must have seen."""
    found: Counter[str] = Counter()
    for stored in stores.ledger.scan(LOG, kind=ForecastIssued):
        record = decode(stored.payload, ForecastIssued)
        columns = unpack_blob(stores.blobs.get(record.blob)).columns(record.horizons_min)
        found.update(_as_text(decode_demand_forecast(value)) for _, value in encode_demand_forecasts(columns, record, stored.index, 6))
    return found


def published(stores: Stores) -> Counter[str]:
    """The messages that a consumer sees that reads committed, or that are in the files."""
    settings = stores.settings
    if settings.kafka:
        messages = committed(settings.kafka, FORECASTS.name_of(settings.instance), 90.0)
        return Counter(_as_text(decode_demand_forecast(value)) for _, value in messages if value is not None)
    found: Counter[str] = Counter()
    for path in sorted((settings.home / "forecasts" / LOG.replace("/", "__")).glob("*.avro")):
        with path.open("rb") as file:
            found.update(_as_text(fields) for fields in fastavro.reader(file))  # type: ignore[arg-type]  # records are dicts here
    return found


def _as_text(fields: dict[str, object]) -> str:
    at = fields["target"]
    if isinstance(at, datetime):
        fields = fields | {"target": round(at.timestamp() * 1e6)}
    return repr(sorted(fields.items()))
