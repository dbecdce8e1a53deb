"""The API as a process over a recorded town, for tests that freeze its stores or press it with connections."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from ledger.store.blobs import open_blobs
from ledger.store.log import open_database
from ledger.views.online.protocol import OnlineStore
from tests.api.town import Town
from tests.ledger.exports import SIGNER
from tests.tree import ROOT

FORECASTS, HISTORY = "/v1/regions/nyc/forecasts", "/v1/regions/nyc/cells/{}/history"
PROGRAM = """
import logging, os
from api.serve import serve
from dataflows.stream.stopping import stop_on_signals
from schemas.configuration.settings import Settings
logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
serve(Settings.from_env(os.environ), ["nyc"], stop_on_signals())
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers by lower-case name, and body."""

    status_code: int
    headers: dict[str, str]
    text: str

    def json(self) -> dict[str, Any]:
        """The body as an object."""
        found = json.loads(self.text)
        assert isinstance(found, dict)
        return found


@dataclass(frozen=True, slots=True)
class Served:
    """A running API.

    Attributes:
        url: Its address.
        port: Of that address.
        pid: Of the process.
        log: File with all that it wrote.
    """

    url: str
    port: int
    pid: int
    log: Path

    def get(self, path: str, timeout_s: float = 15.0) -> Answer:
        """The answer to a GET on a connection of its own; plain, because the start of an httpx client takes 30 ms of CPU."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, headers, answer.read().decode())

    def wait_for(self, path: str, member: str, value: object, limit_s: float = 20.0) -> dict[str, object]:
        """The first answer with 200 whose member has a value."""
        deadline_s, last = time.monotonic() + limit_s, "nothing"
        while time.monotonic() < deadline_s:
            try:
                answer = self.get(path)
                if answer.status_code == 200 and answer.json().get(member) == value:
                    return dict(answer.json())
                last = answer.text[:300]
            except OSError as cause:
                last = str(cause)
            time.sleep(0.1)
        raise AssertionError(f"{path}: expected {member} to become {value!r}, last got {last}; log: {self.log.read_text()[-2_000:]}")


@contextmanager
def served(home: Path, **settings: str) -> Iterator[Served]:
    """An API over a home, ready to answer; `settings` are variables without their prefix."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    given = {f"RIDECAST_{name.upper()}": value for name, value in settings.items()}
    environment = {**os.environ, "RIDECAST_HOME": str(home), "RIDECAST_API_PORT": str(port), "PYTHONPATH": str(ROOT), **given}
    log = home / "api.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stderr=output, stdout=output)
    try:
        api = Served(f"http://127.0.0.1:{port}", port, process.pid, log)
        api.wait_for("/v1/health", "status", "ok", 60)
        api.wait_for(FORECASTS, "region", "nyc", 60)
        yield api
        process.terminate()
        assert 0 == process.wait(8), log.read_text()[-2_000:]
    finally:
        process.kill()
        process.wait()


def copy_town(town: Town, home: Path, url: str) -> None:
    """Copy a town into PostgreSQL, entry by entry and blob by blob."""
    ledger = open_database(url, home / "checkpoints", instance="local", clock=lambda: 0.0, signer=SIGNER)
    blobs = open_blobs(home, url)
    for log in town.ledger.logs():
        ledger.append(log, 0, [stored.payload for stored in town.ledger.read(log, 0)])
    for digest in town.blobs.digests():
        blobs.put(town.blobs.get(digest), town.blobs.retention(digest))
    ledger.flush()
    blobs.close()
    ledger.close()


def fill(store: OnlineStore, town: Town) -> None:
    """Put the town's newest issue into a store."""
    issue = town.store.get("nyc", "pickups")
    assert issue is not None
    store.put(issue)
