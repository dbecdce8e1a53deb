"""Limits of connections that uvicorn does not have: how many, how long they may be silent, and how long they may be slow.

A connection *waits* from its first byte, or its beginning, until a request is complete; it *answers* until the response
is written; then it is *idle*. When all places are taken, the connection that has waited longest gives its place to the
new one, so that thousands of half-open connections do not keep others out; then the one that has been idle longest.
"""

import asyncio
import logging
import resource
import time
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger(__name__)

REQUEST_S = 10.0  # from the first byte of a request, or from the connection, to the last byte of the request
IDLE_S = 30  # between two requests; proxies keep connections for about as long
RESPONSE_S = 30.0  # a client reads too slowly if the response is not through its connection by then
MOST_SLOW_READERS = 256  # each holds at most `api.answers.PIECE_BYTES` twice in memory
LARGEST_HEAD_BYTES = 16_384  # a query of 1,000 cells takes 8 KB
FEW_BYTES = 64  # of a slow client; shorter than the first packet of one that speaks another protocol
MOST_UNREAD_BYTES = 1_024  # of a head, until it is parsed although no line ended
SPARE_DESCRIPTORS = 256  # for the stores, the spool and log files
JOINED_BYTES = 65_536  # up to here a response is one write; a larger one is not copied for that

REFUSED = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\ncontent-type: application/problem+json\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%s"
)
TOO_MANY = (
    b'{"type":"urn:ridecast:problem:too-many-connections","title":"Service Unavailable","status":503,'
    b'"detail":"too many open connections; try again"}'
)
TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connections:
    """The open connections of one server; used from its event loop.

    Args:
        most: Most connections.
        request_s, response_s: Time limits.
    """

    def __init__(self, most: int, *, request_s: float = REQUEST_S, response_s: float = RESPONSE_S) -> None:
        self.most, self.request_s, self.response_s = most, request_s, response_s
        self.open = 0
        self.waiting: dict[LimitedProtocol, None] = {}  # whose request is not complete, longest waiting first
        self.idle: dict[LimitedProtocol, None] = {}  # between two requests, longest idle first
        self.slow: dict[LimitedProtocol, float] = {}  # whose client does not read -> since when, slowest first

    def make_room(self) -> bool:
        """Close the longest waiting connection if all places are taken, else the longest idle; false if all are answering."""
        if self.open < self.most:
            return True
        oldest = next(iter(self.waiting), None) or next(iter(self.idle), None)
        if oldest is not None:
            oldest.abort()
        return oldest is not None

    def sweep(self, now_s: float) -> None:
        """Close connections that are past a limit; to be called about twice a second."""
        for connection in [c for c in self.waiting if c.reads_too_long(now_s - self.request_s)]:
            connection.give_up()
        for connection in [c for c, since_s in self.slow.items() if now_s - since_s > self.response_s]:
            connection.abort()

    def forget(self, connection: "LimitedProtocol") -> None:
        """A connection is being closed."""
        for group in (self.waiting, self.idle, self.slow):
            group.pop(connection, None)

    def add_slow(self, connection: "LimitedProtocol", now_s: float) -> None:
        """A client has stopped reading; the slowest one is cut off when there are too many."""
        self.slow[connection] = now_s
        if len(self.slow) > MOST_SLOW_READERS:
            next(iter(self.slow)).abort()


class LimitedProtocol(H11Protocol):
    """uvicorn's protocol within the limits of `Connections`; see `protocol_for`."""

    limits: ClassVar[Connections]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        self._since_s = self.loop.time()
        self._unread = 0
        self._counted = self.limits.make_room()
        if not self._counted:
            transport.write(REFUSED % (len(TOO_MANY), TOO_MANY))
            transport.close()
            self.transport = transport
            return
        self.limits.open += 1
        self.limits.waiting[self] = None
        super().connection_made(OneWrite(transport))  # type: ignore[arg-type]  # has what the base class uses of a transport

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._counted:
            return
        self._counted = False
        self.limits.open -= 1
        self.limits.forget(self)
        super().connection_lost(exc)
        self.cycle = None  # type: ignore[assignment]  # it refers to this object: without the loop, no collection is needed to free both

    def data_received(self, data: bytes) -> None:
        if not self._counted:
            return
        if self in self.limits.idle:  # the first byte of the next request
            del self.limits.idle[self]
            self.limits.waiting[self] = None
            self._since_s = self.loop.time()
        elif len(data) < FEW_BYTES and b"\n" not in data and self in self.limits.waiting and self.conn.their_state is h11.IDLE:
            self._unread += len(data)
            if self._unread < MOST_UNREAD_BYTES:  # No line ends here, so parsing would find nothing new.
                self.conn.receive_data(data)
                return
        self._unread = 0
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        if self.conn.their_state in (h11.DONE, h11.MUST_CLOSE):
            self.limits.waiting.pop(self, None)
            self.limits.idle.pop(self, None)  # a request that came before the last one was answered
        elif self in self.limits.idle and self.conn.trailing_data[0]:
            del self.limits.idle[self]
            self.limits.waiting[self] = None

    def on_response_complete(self) -> None:
        self._since_s = self.loop.time()
        self.limits.waiting.pop(self, None)
        if self._counted:
            self.limits.idle[self] = None
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.limits.add_slow(self, self.loop.time())

    def resume_writing(self) -> None:
        self.limits.slow.pop(self, None)
        super().resume_writing()

    def reads_too_long(self, since_s: float) -> bool:
        """Whether the request that is being read began before a time; idle connections have a timer of their own."""
        return self._since_s < since_s

    def give_up(self) -> None:
        """Close with 408, or without a word if the client has sent nothing."""
        answering = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        begun = bool(self.conn.trailing_data[0]) or self.conn.their_state is h11.SEND_BODY
        if begun and not answering:
            self.transport.write(TIMED_OUT)
        self.transport.close()
        self.limits.forget(self)

    def abort(self) -> None:
        """Close at once."""
        self.limits.forget(self)
        self.transport.abort()


class OneWrite:
    """A transport that sends the head of a response together with its body: one packet instead of two.

    Args:
        transport: The connection's own.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self.is_closing = transport.is_closing  # called for each request

    def write(self, data: bytes) -> None:
        """Send, unless it is the head of a final response: that waits for the first part of the body."""
        if not self._head and data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 1"):
            self._head = data
            return
        head, self._head = self._head, b""
        if not head:
            self._transport.write(data)
        elif len(data) <= JOINED_BYTES:
            self._transport.write(head + data)
        else:
            self._transport.write(head)
            self._transport.write(data)

    def close(self) -> None:
        """Send what waits, then close."""
        head, self._head = self._head, b""
        if head:
            self._transport.write(head)
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def protocol_for(connections: Connections) -> type[LimitedProtocol]:
    """A protocol class whose connections share these limits."""
    return type("LimitedProtocol", (LimitedProtocol,), {"limits": connections})


def places(wanted: int) -> int:
    """How many connections this process may hold; raises the limit of open files as far as it may.

    Without the spare descriptors accepting and opening stores would fail with EMFILE under load.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    allowed = max(16, soft - SPARE_DESCRIPTORS)
    log.warning("api_connections: expected at most %d with a limit of %d open files (ulimit -n), got %d", allowed, soft, wanted)
    return allowed


class Sparse(logging.Filter):
    """Lets a message through a few times in ten seconds, and then says how often it came.

    A broken or hostile client otherwise fills the disk: one line for each connection, a trace for each failed accept.

    Args:
        most: Of the same message, before its arguments are filled in, in one interval.
    """

    EVERY_S = 10.0
    KINDS = 100  # different messages that are counted at a time

    def __init__(self, most: int = 5) -> None:
        super().__init__()
        self._most = most
        self._counts: dict[str, int] = {}
        self._until_s = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to let it through."""
        now_s = time.monotonic()
        if now_s >= self._until_s:
            self._counts, self._until_s = {}, now_s + self.EVERY_S
        kind = str(record.msg)[:200]
        if kind not in self._counts and len(self._counts) >= self.KINDS:
            return False
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if count == self._most:
            record.msg, record.args = f"{record.getMessage()} (the same for the next {self.EVERY_S:.0f} s is not shown)", None
        return count <= self._most
