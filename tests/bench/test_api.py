"""How fast newest forecasts are answered, against a bare Starlette application that returns the same bytes.

Both run behind the same server with the same settings, each in a process of its own, and are measured in turn in one
run, so that the ratios depend little on the machine and on what else it does.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.api.town import build_town
from tests.tree import ROOT

ROWS, COLUMNS = 50, 62  # 3,100 cells, as many as New York has
ROUNDS, ROUND_S = 8, 0.6
PATH = "/v1/regions/nyc/forecasts"

OURS = """
import logging, os, threading
from api.serve import serve
from schemas.configuration.settings import Settings
serve(Settings.from_env(os.environ), ["nyc"], threading.Event())
"""
BARE = """
import os, sys, threading
from pathlib import Path
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from api.connections import Connections
from api.serve import bind, limited_server

def route(file):
    data = file.read_bytes()
    async def same(request):
        return Response(data, 304 if file.name == "304" else 200, {"etag": "a"}, "application/json")
    return Route("/" + file.name, same)

app = Starlette(routes=[route(file) for file in Path(sys.argv[1]).iterdir()])
listener = bind("127.0.0.1", int(os.environ["RIDECAST_API_PORT"]))
limited_server(app, Connections(4_096), "warning", threading.Event()).run(sockets=[listener])
"""


@contextmanager
def running(program: str, *words: str, home: Path) -> Iterator[int]:
    """The port of a server that runs as a process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {**os.environ, "RIDECAST_HOME": str(home), "RIDECAST_API_PORT": str(port), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", program, *words], env=environment)
    try:
        deadline_s = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/", timeout=5)
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline_s
                time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


def request_for(path: str, **headers: str) -> bytes:
    """The bytes of a GET; headers with _ for -."""
    lines = [f"GET {path} HTTP/1.1", "host: ridecast", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


async def _client(port: int, requests: Sequence[bytes], until_s: float) -> int:
    """How many answers one keep-alive connection gets until a time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    count = 0
    while time.perf_counter() < until_s:
        writer.write(requests[count % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        assert status in (200, 304), head
        if status == 200:
            length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
        count += 1
    writer.close()
    return count


async def _rate(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> float:
    started_s = time.perf_counter()
    counts = await asyncio.gather(*(_client(port, requests, started_s + seconds) for _ in range(connections)))
    return sum(counts) / (time.perf_counter() - started_s)


def rates(ours: tuple[int, Sequence[bytes]], bare: tuple[int, Sequence[bytes]], connections: int) -> tuple[float, float]:
    """Answers per second of both, the best of some rounds taken in turn."""
    best = [0.0, 0.0]
    for number in range(ROUNDS + 1):
        for at, (port, requests) in enumerate((ours, bare)):
            found = asyncio.run(_rate(port, requests, connections, ROUND_S if number else 0.3))
            best[at] = max(best[at], found if number else 0.0)  # The first round warms up.
    return best[0], best[1]


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_answers_keep_up_with_a_bare_application(tmp_path: Path) -> None:
    """One cell >= 0.5, all cells >= 0.7 and 304 >= 0.7 of the rate of bare Starlette, on one connection and on sixteen."""
    home, files = tmp_path / "home", tmp_path / "files"
    files.mkdir()
    town = build_town(home, slots=3, rows=ROWS, columns=COLUMNS)
    town.ledger.close()
    town.blobs.close()
    with running(OURS, home=home) as port:
        url = f"http://127.0.0.1:{port}"
        deadline_s = time.monotonic() + 60
        while httpx.get(f"{url}{PATH}").status_code != 200 and time.monotonic() < deadline_s:
            time.sleep(0.1)
        cell, *more = [row["cell"] for row in httpx.get(f"{url}{PATH}").json()["forecasts"]]
        others = {"another cell each time": [request_for(f"{PATH}?cell={name}") for name in more]}  # nothing to repeat
        etag = httpx.get(f"{url}{PATH}").headers["etag"]
        asked = {
            "one cell": (request_for(f"{PATH}?cell={cell}"), 0.5),
            "another cell each time": (request_for(f"{PATH}?cell={cell}"), 0.5),
            "one cell, one horizon": (request_for(f"{PATH}?cell={cell}&horizon_min=15"), 0.5),
            "all cells": (request_for(PATH), 0.7),
            "all cells, gzip": (request_for(PATH, accept_encoding="gzip"), 0.7),
            "304": (request_for(PATH, if_none_match=etag), 0.7),
        }
        (files / "304").write_bytes(b"")
        for name, (request, _) in asked.items():
            if name != "304":
                path = request.split()[1].decode()
                encoding = "gzip" if b"gzip" in request else "identity"
                with httpx.stream("GET", f"{url}{path}", headers={"accept-encoding": encoding}) as response:
                    (files / name.replace(" ", "-").replace(",", "")).write_bytes(b"".join(response.iter_raw()))
        with running(BARE, str(files), home=home) as bare_port:
            below = []
            for name, (request, floor) in asked.items():
                plain = request_for("/" + name.replace(" ", "-").replace(",", ""))
                for connections in (1, 16):
                    ours, bare = rates((port, [request, *others.get(name, [])]), (bare_port, [plain]), connections)
                    print(
                        f"\n{name}, {connections} connections: {ours:,.0f}/s, bare {bare:,.0f}/s, ratio {ours / bare:.2f} (floor {floor})",
                        end="",
                    )
                    if ours / bare < floor:
                        below.append((name, connections, round(ours / bare, 2)))
        assert [] == below
