"""The API process: opens the configured stores, serves until told to stop, closes them."""

import asyncio
import errno
import gc
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from api.access import AccessCounter
from api.app import application
from api.connections import IDLE_S, LARGEST_HEAD_BYTES, Connections, Sparse, places, protocol_for
from api.context import ApiContext
from api.watcher import Watcher
from ledger.formats.keys import Verifier
from ledger.store.blobs import Blobs
from ledger.store.key_files import PUBLIC_KEY, read_verifier
from ledger.store.limits import reading_limits
from ledger.store.log import Ledger
from ledger.store.opening import open_ledger
from ledger.store.spool import FOLDER, WRITER_ID_BYTES, Spool
from ledger.views.follow import Stop
from ledger.views.online.connect import open_redis
from ledger.views.online.protocol import OnlineStore
from ledger.views.online.redis import RedisStore
from schemas.configuration.settings import Settings
from schemas.errors import ConfigError, RidecastError
from schemas.records.records import RUNS_LOG

log = logging.getLogger(__name__)

DRAIN_S = 5  # time for open requests to finish after the stop
THREAD_S = 1.0  # time for each background thread to finish after that
ACCEPTED_AT_ONCE = 8  # asyncio accepts as many before it looks at other connections; with its first request each takes milliseconds
BACKLOG = 1_024  # connections that the system holds until they are accepted
SWEEP_TICKS = 5  # of 0.1 s
COLLECT_AFTER = (700, 10, 100)  # a full collection for 700,000 new objects, as of 15,000 connections, instead of 70,000


def serve(settings: Settings, regions: Sequence[str], stop: Stop) -> None:
    """Serve until told to stop, then return.

    Raises:
        RidecastError: the port is in use or the address is not of this machine; a store does not open.
    """
    listener = bind(settings.api_host, settings.api_port)
    ended = threading.Event()  # set also when the server fails
    ledger, blobs = open_to_read(settings)
    threads: list[threading.Thread] = []
    try:
        spool = _spool(settings, ledger) if "on" in (settings.access_log, settings.api_writes) else None
        accesses = AccessCounter(spool, regions, time.time) if spool is not None and settings.access_log == "on" else None
        if accesses is not None:
            threads.append(threading.Thread(target=accesses.run, args=(ended,), name="accesses"))
        context = ApiContext(ledger, blobs, open_store(settings), regions, settings, time.time, accesses, spool)
        context.watch()
        context.probes.start(ended)
        ending = Ending(stop)
        # Daemons, here and elsewhere: what hangs in a store must not keep the process from ending.
        threads.append(threading.Thread(target=ending.guard(Watcher(context).run), args=(ended,), name="watcher", daemon=True))
        server = limited_server(application(context), Connections(places(settings.api_connections)), settings.log_level, ending)
        collect_rarely()
        for thread in threads:
            thread.start()
        log.info("listening at http://%s:%d", *listener.getsockname()[:2])
        server.run(sockets=[listener])
        ending.raise_failure()
    finally:
        ended.set()
        for thread in threads:
            if thread.is_alive():
                thread.join(THREAD_S)
        listener.close()
        if not any(thread.is_alive() for thread in threads):  # else a store hangs, and closing it would hang too
            blobs.close()
            ledger.close()


def _spool(settings: Settings, ledger: Ledger) -> Spool:
    return Spool(settings.home / FOLDER, os.urandom(WRITER_ID_BYTES), ledger=ledger.head(RUNS_LOG))


def collect_rarely() -> None:
    """Keep full collections of garbage short and rare: each stops every request.

    Most of what exists at the start stays until the end, so the collector need not look at it again. New connections set off
    full collections: with 2,000 of them open each took up to 0.16 s of CPU time, every few hundred connections.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


class Ending:
    """The stop of the process, also when a background thread fails: an API whose data no longer changes must not live on.

    Args:
        stop: The caller's.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._failure: Exception | None = None

    def is_set(self) -> bool:
        """Whether to end."""
        return self._failure is not None or self._stop.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """As of `Stop`."""
        return self._stop.wait(timeout) or self.is_set()

    def guard(self, run: Callable[[Stop], None]) -> Callable[[Stop], None]:
        """The function, whose failure ends the process."""

        def guarded(ended: Stop) -> None:
            try:
                run(ended)
            except Exception as cause:  # `raise_failure` raises it in the main thread.
                self._failure = cause

        return guarded

    def raise_failure(self) -> None:
        """Raise what a guarded function raised."""
        if self._failure is not None:
            raise self._failure


def limited_server(app: ASGIApp, connections: Connections, log_level: str, stop: Stop) -> "StoppableServer":
    """A server of an application within the limits of connections."""
    config = uvicorn.Config(
        app,
        http=protocol_for(connections),
        ws="none",
        log_config=None,  # else uvicorn writes in a format of its own, past our handlers
        log_level=log_level,
        access_log=False,
        lifespan="off",
        server_header=False,
        backlog=ACCEPTED_AT_ONCE,
        timeout_keep_alive=IDLE_S,
        h11_max_incomplete_event_size=LARGEST_HEAD_BYTES,
        timeout_graceful_shutdown=DRAIN_S,
    )
    for name in ("asyncio", "uvicorn.error"):
        noisy = logging.getLogger(name)
        noisy.filters = [kept for kept in noisy.filters if not isinstance(kept, Sparse)]
        noisy.addFilter(Sparse())
    return StoppableServer(config, stop, connections)


class StoppableServer(uvicorn.Server):
    """A server that finishes open requests and exits when an event is set; it handles no signals.

    Args:
        config: uvicorn's.
        stop: Ends it.
        connections: Limits that `config.http` applies, if it does.
    """

    def __init__(self, config: uvicorn.Config, stop: Stop, connections: Connections | None = None) -> None:
        super().__init__(config)
        self._stop, self._connections = stop, connections

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(BACKLOG)  # asyncio has set it to what it accepts at once

    async def on_tick(self, counter: int) -> bool:
        if self._connections is not None and counter % SWEEP_TICKS == 0:
            self._connections.sweep(asyncio.get_running_loop().time())
        return await super().on_tick(counter) or self._stop.is_set()


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; with port 0 the system chooses one.

    Raises:
        RidecastError: the port is in use.
        ConfigError: the address is not one of this machine, or the port needs more permissions.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only on sockets that say that they are TCP. Without it the second packet of a response waits
    # for the acknowledgement of the first, 40 ms on Linux.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as cause:
        listener.close()
        if cause.errno == errno.EADDRINUSE:
            raise RidecastError(
                f"port {port} is already in use at {host}; stop the program that uses it, or set another with --port or RIDECAST_API_PORT"
            ) from cause
        raise ConfigError(
            f"api_host, api_port: expected an address of this machine, got {host}:{port}: {os.strerror(cause.errno or 0)}"
        ) from cause
    return listener


def open_to_read(settings: Settings) -> tuple[Ledger, Blobs]:
    """The configured ledger and blobs, read-only: the API never reads the private key."""

    def public_key() -> Verifier | None:
        return read_verifier(settings.home / PUBLIC_KEY)

    return open_ledger(
        settings.home,
        settings.database,
        settings.archive,
        instance=settings.instance,
        clock=time.monotonic,
        signer=public_key,
        limits=reading_limits(settings),
    )


def open_store(settings: Settings) -> OnlineStore | None:
    """Redis if configured."""
    if not settings.redis:
        return None
    return RedisStore(open_redis(settings.redis, reading_limits(settings)), settings.instance)
