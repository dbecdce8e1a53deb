"""Two thousand slow connections and sixty hanging requests beside an API: others are served at once, memory and log stay small."""

import itertools
import socket
import statistics
import time
from pathlib import Path

import httpx
import psutil
import pytest

from api.connections import places
from tests.api.town import Town
from tests.faults.api_process import FORECASTS, Served, copy_town, served
from tests.faults.seen import Seen
from tests.services.postgres import PostgresServer

SLOW, HANGING = 2_000, 60
ENTRY = "/v1/ledger/region/nyc/entries/3"  # read from the ledger at each request
HEALTH_S = 0.05
MOST_GROWTH_BYTES = 150 << 20
MOST_LOG_BYTES = 200_000
FLOOD_S = 25.0  # longer than a slow request may take, so that connections are closed and come again


def open_slow(api: Served, number: int) -> socket.socket | None:
    """One connection of a slow client: silent, in the middle of its head, of its body, or not reading its answer."""
    beginnings = (
        b"",
        b"GET /v1/regions/nyc/forecasts HTTP/1.1\r\nhost: a\r\nx-slow: ",
        b"POST /v1/acknowledgements HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{",
        b"GET /v1/regions/nyc/forecasts HTTP/1.1\r\nhost: a\r\n\r\n" * 3,
    )
    try:
        connection = socket.create_connection(("127.0.0.1", api.port), 5)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.sendall(beginnings[number % len(beginnings)])
        connection.setblocking(False)
    except OSError:
        return None
    return connection


def hang(api: Served, hanging: list[socket.socket]) -> list[socket.socket]:
    """Keep sixty requests open that need the frozen database: those that were answered are asked again."""
    still = []
    for connection in hanging:
        try:
            answer = connection.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 503 "), answer[:200]
            connection.close()
        except BlockingIOError:
            still.append(connection)
    while len(still) < HANGING:
        connection = socket.create_connection(("127.0.0.1", api.port), 5)
        connection.sendall(f"GET {ENTRY} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        connection.setblocking(False)
        still.append(connection)
    return still


def trickle(connections: list[socket.socket]) -> list[socket.socket]:
    """Send one more byte on each; returns those that are still open."""
    still = []
    for connection in connections:
        try:
            connection.send(b"a")
            still.append(connection)
        except BlockingIOError:
            still.append(connection)
        except OSError:
            connection.close()
    return still


@pytest.mark.long
@pytest.mark.parametrize("most", ["4096", "500"], ids=["within the bound", "beyond the bound"])
def test_two_thousand_slow_connections(
    town: Town, tmp_path: Path, most: str, postgres_url: str, postgres_server: PostgresServer, seen: Seen
) -> None:
    """With 2,000 slow connections and sixty requests that hang in a frozen database, health takes 50 ms and forecasts are served."""
    places(2 * SLOW)  # of this process
    copy_town(town, tmp_path, postgres_url)
    settings = {"api_connections": most, "api_writes": "on", "database": postgres_url}
    with served(tmp_path, **settings) as api, httpx.Client(base_url=api.url, timeout=5) as client:
        served_before = client.get(f"{FORECASTS}?top=5").json()["forecasts"]
        postgres_server.pause()
        hanging: list[socket.socket] = []
        before = psutil.Process(api.pid).memory_info().rss
        numbers = itertools.count()
        slow: list[socket.socket] = []
        health_s: list[float] = []
        until_s = time.monotonic() + FLOOD_S
        largest = before
        while time.monotonic() < until_s:
            while len(slow) < SLOW:
                opened = open_slow(api, next(numbers))
                if opened is None:
                    break
                slow.append(opened)
            slow = trickle(slow)
            hanging = hang(api, hanging)
            for _ in range(3):
                started_s = time.monotonic()
                assert "checks" in client.get("/v1/health").json()
                health_s.append(time.monotonic() - started_s)
                assert 200 == client.get(f"{FORECASTS}?top=5").status_code
                assert 200 == api.get("/v1/live").status_code  # on a new connection
            largest = max(largest, psutil.Process(api.pid).memory_info().rss)
        served_after = client.get(f"{FORECASTS}?top=5").json()["forecasts"]
        seen.same([str(one) for one in served_before], [str(one) for one in served_after], "forecasts")
        seen.told(api.log.read_text(), "ledger does not answer")
        held, opened_all = len(slow), next(numbers)
        log_bytes = api.log.stat().st_size
        print(
            f"\n{SLOW} slow connections, bound {most}: {opened_all} opened, {held} held at the end; health median "
            f"{1000 * statistics.median(health_s):.1f} ms, 99 % {1000 * sorted(health_s)[int(0.99 * len(health_s))]:.1f} ms; "
            f"memory +{(largest - before) >> 20} MB; log {log_bytes} bytes"
        )
        assert statistics.median(health_s) < HEALTH_S
        assert largest - before < MOST_GROWTH_BYTES
        assert log_bytes < MOST_LOG_BYTES
        # Both stay open, and the database stays frozen, while the process is told to end, for which `served` gives it 8 s.
    for connection in (*slow, *hanging):
        connection.close()


def test_accept_errors_do_not_fill_the_log(growing_town: Town, tmp_path: Path, seen: Seen) -> None:
    """A process without free descriptors answers those whom it has, writes a few lines, and accepts again when it can."""
    with served(tmp_path) as api, httpx.Client(base_url=api.url, timeout=5) as client:
        assert 200 == client.get("/v1/live").status_code
        before = api.get(FORECASTS).json()["forecasts"]
        process = psutil.Process(api.pid)
        limits = process.rlimit(psutil.RLIMIT_NOFILE)
        process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + 20, limits[1]))
        silent = [socket.socket() for _ in range(200)]
        for connection in silent:
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", api.port))
        until_s = time.monotonic() + 4
        while time.monotonic() < until_s:
            assert 200 == client.get("/v1/live").status_code
            time.sleep(0.2)
        process.rlimit(psutil.RLIMIT_NOFILE, limits)
        for connection in silent:
            connection.close()
        deadline_s = time.monotonic() + 10
        while True:
            try:
                assert 200 == api.get("/v1/live", 2).status_code
                break
            except OSError:
                assert time.monotonic() < deadline_s
        text = api.log.read_text()
        seen.told(text, "socket.accept() out of system resource")
        seen.same([str(one) for one in before], [str(one) for one in api.get(FORECASTS).json()["forecasts"]], "forecasts")
        assert len(text) < 50_000
