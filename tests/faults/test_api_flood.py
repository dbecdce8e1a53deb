"""Two thousand slow connections and sixty hanging requests beside an API: others are served at once, memory and log stay small."""

import itertools
import socket
import statistics
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
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
HEALTH_S = 0.05  # median
MOST_WORK_S = 0.15  # 99 %: one or two turns of the event loop, in each of which all 2,000 connections may have something to read
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


def flood(api: Served, ending: Event, held: "Synchronized[int]", opened: "Synchronized[int]") -> None:
    """Keep 2,000 slow connections and sixty hanging requests open until the API ends, in a process of its own."""
    places(2 * SLOW)
    hanging: list[socket.socket] = []
    slow: list[socket.socket] = []
    try:
        for number in itertools.count():
            if len(slow) < SLOW and (connection := open_slow(api, number)) is not None:
                slow.append(connection)
                opened.value += 1
            if number % 200 == 0 or len(slow) >= SLOW:
                slow = trickle(slow)
                hanging = hang(api, hanging)
                held.value = len(slow)
                time.sleep(0.1)
    except (AssertionError, OSError):
        if not ending.is_set():
            raise


def worked_s(pid: int) -> float:
    """Seconds of processor time that the main thread of a process has used: where requests are read and answered."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def timed(work: Callable[[], object]) -> float:
    """Seconds that a function takes."""
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def all_but_one_percent(seconds: list[float]) -> float:
    """The time within which 99 of 100 are."""
    return sorted(seconds)[int(0.99 * len(seconds))]


@pytest.mark.long
@pytest.mark.parametrize("most", ["4096", "500"], ids=["within the bound", "beyond the bound"])
def test_two_thousand_slow_connections(
    town: Town, tmp_path: Path, most: str, postgres_url: str, postgres_server: PostgresServer, seen: Seen
) -> None:
    """With 2,000 slow connections and sixty requests that hang in a frozen database, health takes 50 ms and forecasts are served."""
    copy_town(town, tmp_path, postgres_url)
    settings = {"api_connections": most, "api_writes": "on", "database": postgres_url}
    spawn = get_context("spawn")
    ending, held, opened = spawn.Event(), spawn.Value("i", 0), spawn.Value("i", 0)
    with served(tmp_path, **settings) as api, httpx.Client(base_url=api.url, timeout=5) as client:
        served_before = client.get(f"{FORECASTS}?top=5").json()["forecasts"]
        postgres_server.pause()
        before = largest = psutil.Process(api.pid).memory_info().rss
        flooding = spawn.Process(target=flood, args=(api, ending, held, opened), daemon=True)
        flooding.start()
        health_s: list[float] = []
        own_s: list[float] = []  # what the API worked from request to response, also for others: other programs hardly change it
        until_s = time.monotonic() + FLOOD_S
        while time.monotonic() < until_s:
            before_s = worked_s(api.pid)
            health_s.append(timed(lambda: client.get("/v1/health").json()["checks"]))
            own_s.append(worked_s(api.pid) - before_s)
            assert 200 == client.get(f"{FORECASTS}?top=5").status_code
            assert 200 == api.get("/v1/live").status_code  # on a new connection
            largest = max(largest, psutil.Process(api.pid).memory_info().rss)
            time.sleep(0.02)
        assert flooding.is_alive()
        served_after = client.get(f"{FORECASTS}?top=5").json()["forecasts"]
        seen.same([str(one) for one in served_before], [str(one) for one in served_after], "forecasts")
        seen.told(api.log.read_text(), "ledger does not answer")
        log_bytes = api.log.stat().st_size
        median_ms, most_ms = 1000 * statistics.median(health_s), 1000 * all_but_one_percent(health_s)
        print(
            f"\n{SLOW} slow connections, bound {most}: {opened.value} opened, {held.value} held at the end; {len(health_s)} times health: "
            f"median {median_ms:.1f} ms, 99 % {most_ms:.1f} ms, in which the API worked {1000 * statistics.median(own_s):.1f} and "
            f"{1000 * all_but_one_percent(own_s):.1f} ms; memory +{(largest - before) >> 20} MB; log {log_bytes} bytes"
        )
        assert opened.value > SLOW
        assert statistics.median(health_s) < HEALTH_S
        assert all_but_one_percent(own_s) < MOST_WORK_S
        assert largest - before < MOST_GROWTH_BYTES
        assert log_bytes < MOST_LOG_BYTES
        ending.set()
        # The flood goes on, and the database stays frozen, while the process is told to end, for which `served` gives it 8 s.
    flooding.kill()
    flooding.join()


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
