"""How long a call to PostgreSQL or Redis may wait: a server that is suspended or unreachable never makes a process hang."""

import socket
from dataclasses import dataclass

from schemas.configuration.settings import Settings

CONNECT_S = 10.0  # a running server accepts a connection in milliseconds
CONNECTIONS = 20  # of one pool; PostgreSQL itself allows 100 by default, for all processes together
# A peer that vanished without a word is noticed after 10 + 3 * 5 seconds instead of the system's two hours.
KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the connections to one server.

    Attributes:
        connect_s: Time for a new connection until the server has accepted it.
        answer_s: Time for the answer to one request, and for a free connection of the pool.
        connections: Number of open connections.
    """

    connect_s: float
    answer_s: float
    connections: int = CONNECTIONS


WRITING = Limits(CONNECT_S, 30.0)
LISTENING = Limits(2.0, 2.0)  # wake-ups only save time: their reader looks by itself every second


def writing_limits(settings: Settings) -> Limits:
    """For processes that write, and for commands: an append may wait for another writer."""
    return Limits(min(CONNECT_S, settings.write_timeout_s), settings.write_timeout_s)


def reading_limits(settings: Settings) -> Limits:
    """For processes whose clients wait: the API, and the online store."""
    return Limits(settings.read_timeout_s, settings.read_timeout_s)


def notice_silence(connected: socket.socket, limits: Limits) -> None:
    """Let the system end a TCP connection whose peer no longer answers, where the system can."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in keepalive_options().items():
        connected.setsockopt(socket.IPPROTO_TCP, option, value)
    unanswered = getattr(socket, "TCP_USER_TIMEOUT", None)
    if unanswered is not None:
        connected.setsockopt(socket.IPPROTO_TCP, unanswered, int(1000 * max(limits.answer_s, CONNECT_S)))


def keepalive_options() -> dict[int, int]:
    """The options of KEEPALIVE that this system has, by their numbers."""
    return {getattr(socket, name): value for name, value in KEEPALIVE.items() if hasattr(socket, name)}
