"""The API as a process: it says where it listens, stops cleanly on SIGTERM, and names what is in its way."""

import gc
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from api.serve import COLLECT_AFTER, bind, collect_rarely
from ledger.store.spool import read_segment, segment_paths
from schemas.errors import ConfigError, RidecastError
from schemas.records.record_codec import decode
from schemas.records.records import AccessesCounted, Acknowledged
from tests.api.town import build_town

PROGRAM = """
import logging, os
from api.serve import serve
from dataflows.stream.stopping import stop_on_signals
from schemas.configuration.settings import Settings
logging.basicConfig(level="INFO")
serve(Settings.from_env(os.environ), ["nyc"], stop_on_signals())
"""


def test_a_port_in_use_is_named() -> None:
    """The message says which port, and how to choose another."""
    with bind("127.0.0.1", 0) as held:
        port = held.getsockname()[1]
        with pytest.raises(RidecastError, match=rf"port {port} is already in use.*RIDECAST_API_PORT"):
            bind("127.0.0.1", port)


def test_an_address_of_another_machine_is_named() -> None:
    """192.0.2.0/24 belongs to nobody (RFC 5737)."""
    with pytest.raises(ConfigError, match=r"address of this machine, got 192\.0\.2\.1"):
        bind("192.0.2.1", 8000)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_serves_the_recorded_town_and_stops_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """Without Redis the process fills its own store; a signal ends it with status 0."""
    town = build_town(tmp_path, slots=2)
    town.ledger.close()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "RIDECAST_HOME": str(tmp_path), "RIDECAST_API_PORT": str(port), "PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        body = _ask(f"http://127.0.0.1:{port}/v1/health")
        assert body["status"] == "ok"
        process.send_signal(number)
        assert process.wait(15) == 0
        assert process.stderr is not None
        said = process.stderr.read()
        assert f"listening at http://127.0.0.1:{port}" in said
        assert "Traceback" not in said
    finally:
        process.kill()
        process.communicate()


def test_a_process_without_the_key_spools_and_never_appends(tmp_path: Path) -> None:
    """What the API has to say is in the spool when it ends; ledger, checkpoints and keys are untouched."""
    town = build_town(tmp_path, slots=2)
    town.ledger.close()
    town.blobs.close()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.suffix in (".txt", ".key", ".pub")}
    assert not list(tmp_path.rglob("*.key"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "RIDECAST_HOME": str(tmp_path), "RIDECAST_API_PORT": str(port), "PYTHONPATH": str(Path.cwd())}
    environment |= {"RIDECAST_ACCESS_LOG": "on", "RIDECAST_API_WRITES": "on"}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stderr=subprocess.DEVNULL)
    try:
        _ask(f"http://127.0.0.1:{port}/v1/live")
        given = {"log": "region/nyc", "index": 1, "outcome": "handled"}
        assert 202 == httpx.post(f"http://127.0.0.1:{port}/v1/acknowledgements", json=given).status_code
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(15)
    finally:
        process.kill()
        process.wait()
    records = [decode(payload) for path in segment_paths(tmp_path / "spool") for payload in read_segment(path).payloads]
    assert 1 == sum(isinstance(record, Acknowledged) for record in records)
    rows = [row for record in records if isinstance(record, AccessesCounted) for row in record.counts]
    assert ("anonymous", "acknowledge", "", 202, 1) in [(row.subject, row.operation, row.region, row.status, row.count) for row in rows]
    assert {"access.sqlite", "alerts.sqlite"}.isdisjoint(path.name for path in tmp_path.rglob("*"))
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.suffix in (".txt", ".key", ".pub")}


def _ask(url: str) -> dict[str, object]:
    deadline = time.monotonic() + 30
    while True:
        try:
            answer = httpx.get(url)
            if answer.status_code == 200:
                return dict(answer.json())
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, f"{url} does not answer"
        time.sleep(0.1)


def test_full_collections_are_rare() -> None:
    """What exists at the start is not looked at again by the garbage collector, and connections set off full collections rarely."""
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    try:
        collect_rarely()
        assert gc.get_freeze_count() > frozen + 10_000
        assert gc.get_threshold() == COLLECT_AFTER
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
