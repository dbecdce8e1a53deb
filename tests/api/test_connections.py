"""A server keeps its limits: how many connections, how long each may be silent or slow, and how much it logs."""

import asyncio
import logging
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import connections
from api.answers import PIECE_BYTES, PiecewiseResponse
from api.connections import LARGEST_HEAD_BYTES, Connections, Sparse, places
from api.serve import bind, limited_server

HEAD = b"GET / HTTP/1.1\r\nhost: ridecast\r\n"
LARGE = bytes(8 << 20)  # more than the system's buffers hold


async def small(request: Request) -> Response:
    """A few bytes, after the body of the request."""
    return Response(b"hello" + await request.body())


async def large(request: Request) -> Response:
    """Eight megabytes."""
    return PiecewiseResponse(LARGE)


async def slow(request: Request) -> Response:
    """An answer that takes a moment."""
    await asyncio.sleep(1.0)
    return Response(b"slow")


@contextmanager
def serving(limits: Connections) -> Iterator[tuple[str, int]]:
    """The address of a server within these limits, in a thread."""
    routes = [Route("/", small, methods=["GET", "POST"]), Route("/large", large), Route("/slow", slow)]
    listener, stop = bind("127.0.0.1", 0), threading.Event()
    server = limited_server(Starlette(routes=routes), limits, "warning", stop)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[:2]
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def ask(place: tuple[str, int], request: bytes = HEAD + b"\r\n") -> bytes:
    """Everything that one connection receives until it is closed or silent for a second."""
    with socket.create_connection(place, 5) as connection:
        connection.sendall(request)
        return received(connection)


def received(connection: socket.socket, silent_s: float = 1.0) -> bytes:
    """What a connection receives until it is closed or silent."""
    connection.settimeout(silent_s)
    found = b""
    with suppress(TimeoutError, ConnectionResetError):
        while part := connection.recv(65_536):
            found += part
    return found


def closed_within(connection: socket.socket, limit_s: float) -> bool:
    """Whether the server closes a connection in time."""
    connection.settimeout(limit_s)
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
    return True


@pytest.mark.alone
def test_a_keep_alive_answer_is_one_packet_at_once() -> None:
    """Fifty answers on one connection take milliseconds each: head and body leave together, and no acknowledgement is waited for."""
    with serving(Connections(16)) as place, socket.create_connection(place, 5) as connection:
        started_s = time.monotonic()
        for _ in range(50):
            connection.sendall(HEAD + b"\r\n")
            found = connection.recv(65_536)
            assert found.startswith(b"HTTP/1.1 200 OK\r\n")
            assert found.endswith(b"\r\n\r\nhello")
        assert time.monotonic() - started_s < 1.0  # 2 s with 40 ms each


BODY = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc"


@pytest.mark.alone
@pytest.mark.parametrize("sent", [b"", HEAD, BODY], ids=["silent", "head", "body"])
def test_a_request_that_is_never_complete_is_ended(sent: bytes) -> None:
    """A connection without a complete request is closed at its limit; one that has begun a request is told 408."""
    with serving(Connections(16, request_s=0.5)) as place, socket.create_connection(place, 5) as connection:
        connection.sendall(sent)
        found = received(connection, 3.0)
        assert found.startswith(b"HTTP/1.1 408 ") if sent else not found


@pytest.mark.alone
def test_bytes_that_trickle_do_not_extend_the_limit() -> None:
    """The limit counts from the first byte of a request, not from the last."""
    with serving(Connections(16, request_s=1.0)) as place, socket.create_connection(place, 5) as connection:
        started_s = time.monotonic()
        with suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - started_s < 4:
                connection.sendall(b"G")
                time.sleep(0.1)
        assert time.monotonic() - started_s < 3


def test_a_head_in_single_bytes_is_read() -> None:
    """A request whose bytes come one by one is answered, also on a connection that has been idle, and with a body."""
    with serving(Connections(10)) as place, socket.create_connection(place, 5) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request, body in ((HEAD + b"\r\n", b"hello"), (HEAD.replace(b"GET", b"POST") + b"content-length: 2\r\n\r\nyo", b"helloyo")):
            for byte in request:
                client.sendall(bytes([byte]))
                time.sleep(0.002)
            answer = client.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answer.endswith(body)


def test_a_head_in_pieces_has_a_largest_size() -> None:
    """A head that grows by a few bytes at a time and never ends a line is refused, not kept."""
    with serving(Connections(10)) as place, socket.create_connection(place, 5) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setblocking(False)
        answer = b""
        for number in range(2 * LARGEST_HEAD_BYTES // 50):
            with suppress(OSError):
                client.send(b"GET /" if not number else b"a" * 50)
            time.sleep(0.0005)
            with suppress(OSError):
                answer += client.recv(4_096)
            if answer:
                break
        assert answer.startswith(b"HTTP/1.1 400 ")


def test_the_longest_waiting_connection_makes_room() -> None:
    """With all places taken by silent connections a new client is served, and the oldest of them is closed."""
    with serving(Connections(16)) as place:
        silent = [socket.create_connection(place, 5) for _ in range(16)]
        time.sleep(0.3)
        assert b"hello" in ask(place)
        assert closed_within(silent[0], 2)
        assert not closed_within(silent[-1], 0.3)
        for connection in silent:
            connection.close()


def test_a_client_is_refused_when_all_others_are_being_answered() -> None:
    """Without a waiting connection to close, the new one gets 503 with a time to try again."""
    with serving(Connections(4)) as place:
        busy = [socket.create_connection(place, 5) for _ in range(4)]
        for connection in busy:
            connection.sendall(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
        time.sleep(0.3)
        refused = ask(place)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 2" in refused
        for connection in busy:
            assert b"slow" in received(connection, 2.0)
            connection.close()


def test_a_client_that_does_not_read_is_cut_off() -> None:
    """A response that is not read is held in pieces, and ends with its connection at its limit."""
    limits = Connections(16, response_s=0.5)
    with serving(limits) as place, socket.create_connection(place, 5) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.sendall(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
        time.sleep(2.0)
        assert len(received(connection)) < len(LARGE)
        assert 0 == limits.open


def test_only_so_many_slow_readers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the slowest reader is cut off, so that what waits to be sent is bounded."""
    monkeypatch.setattr(connections, "MOST_SLOW_READERS", 3)
    limits = Connections(64)
    with serving(limits) as place:
        readers = [socket.create_connection(place, 5) for _ in range(8)]
        for reader in readers:
            reader.sendall(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
        time.sleep(1.0)
        assert 3 == limits.open == len(limits.slow)
        for reader in readers:
            reader.close()


def test_a_large_response_arrives_whole() -> None:
    """Sent in pieces, it is the same response."""
    with serving(Connections(16)) as place:
        found = ask(place, b"GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    head, _, body = found.partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(LARGE) in head
    assert (LARGE, True) == (body, len(LARGE) > 2 * PIECE_BYTES)


def test_pipelined_requests_are_all_answered() -> None:
    """Two requests in one packet get two answers, each whole."""
    with serving(Connections(16)) as place:
        found = ask(place, (HEAD + b"\r\n") * 2)
    assert (2, 2) == (found.count(b"HTTP/1.1 200 OK"), found.count(b"\r\n\r\nhello"))


def test_bad_requests_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A hundred broken requests are a hundred 400s and a few lines."""
    with serving(Connections(16)) as place, caplog.at_level(logging.WARNING):
        answers = [ask(place, b"no http\r\n\r\n") for _ in range(20)]
    assert all(answer.startswith(b"HTTP/1.1 400 ") for answer in answers)
    lines = [record.getMessage() for record in caplog.records if "Invalid HTTP request" in record.getMessage()]
    assert 1 <= len(lines) <= 10
    assert any("is not shown" in line for line in lines)


def test_a_message_is_let_through_a_few_times() -> None:
    """The filter counts by the message before its arguments are filled in, and says when it begins to drop."""
    sparse = Sparse(most=3)
    said = []
    for number in range(10):
        record = logging.LogRecord("a", logging.WARNING, "", 0, "from %d", (number,), None)
        if sparse.filter(record):
            said.append(record.getMessage())
    assert ["from 0", "from 1", "from 2 (the same for the next 10 s is not shown)"] == said


def test_places_leave_descriptors_for_the_stores(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The limit of open files is raised as far as it may be; what does not fit is given up in words."""
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 100_000))
    assert (4_096, [(4_352, 100_000)]) == (places(4_096), raised)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 1_024))
    with caplog.at_level(logging.WARNING):
        assert 768 == places(4_096)
    assert "ulimit -n" in caplog.text
