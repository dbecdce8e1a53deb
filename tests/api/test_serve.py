"""The API as a process: it says where it listens, stops cleanly on SIGTERM, and names what is in its way."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from api.serve import bind
from schemas.errors import ConfigError, RidecastError
from tests.api.town import build_town

PROGRAM = """
import logging, os
from api.serve import serve
from dataflows.stream.stopping import stop_on_signals
from schemas.settings import Settings
logging.basicConfig(level="INFO")
serve(Settings.from_env(os.environ), ["nyc"], stop_on_signals())
"""


def test_a_port_in_use_is_named() -> None:
    """The message says which port, and how to choose another."""
    with bind("127.0.0.1", 0) as held:
        port = held.getsockname()[1]
        with pytest.raises(RidecastError, match=rf"expected a free port, got {port}.*RIDECAST_API_PORT"):
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
        body = _ask(f"http://127.0.0.1:{port}/v1/ready")
        assert body["status"] == "ready"
        process.send_signal(number)
        assert process.wait(15) == 0
        assert process.stderr is not None
        said = process.stderr.read()
        assert f"listening at http://127.0.0.1:{port}" in said
        assert "Traceback" not in said
    finally:
        process.kill()
        process.communicate()


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
