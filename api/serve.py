"""The API process: opens the configured stores, serves until told to stop, closes them."""

import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn

from api.access import AccessCounter
from api.app import create_app
from ledger.formats.keys import Verifier
from ledger.store.blobs import Blobs
from ledger.store.key_files import PUBLIC_KEY, read_verifier
from ledger.store.log import Ledger
from ledger.store.opening import open_ledger
from ledger.store.spool import FOLDER, WRITER_ID_BYTES, Spool
from ledger.views.follow import Stop
from ledger.views.online.follow_store import StoreFollower
from ledger.views.online.memory import MemoryStore
from ledger.views.online.protocol import OnlineStore
from ledger.views.online.redis import RedisStore
from schemas.errors import ConfigError, RidecastError
from schemas.settings import Settings

log = logging.getLogger(__name__)

DRAIN_S = 5  # time for open requests to finish after the stop


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
        store = open_store(settings)
        if not settings.redis:
            follower = StoreFollower(ledger, blobs, store, regions)
            threads.append(threading.Thread(target=follower.run, args=(ended,), name="store follower"))
        spool = Spool(settings.home / FOLDER, os.urandom(WRITER_ID_BYTES)) if "on" in (settings.access_log, settings.api_writes) else None
        accesses = AccessCounter(spool, regions, time.time) if spool is not None and settings.access_log == "on" else None
        if accesses is not None:
            threads.append(threading.Thread(target=accesses.run, args=(ended,), name="accesses"))
        app = create_app(ledger, blobs, store, regions, settings, time.time, accesses, spool)
        config = uvicorn.Config(
            app,
            log_level=settings.log_level,
            log_config=None,  # its lines go where all others of this process go
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
        for thread in threads:
            thread.start()
        log.info("listening at http://%s:%d", *listener.getsockname()[:2])
        StoppableServer(config, stop).run(sockets=[listener])
    finally:
        ended.set()
        for thread in threads:
            if thread.is_alive():
                thread.join()
        listener.close()
        blobs.close()
        ledger.close()


class StoppableServer(uvicorn.Server):
    """A server that finishes open requests and exits when an event is set; it handles no signals."""

    def __init__(self, config: uvicorn.Config, stop: Stop) -> None:
        super().__init__(config)
        self._stop = stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._stop.is_set()


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; with port 0 the system chooses one.

    Raises:
        RidecastError: the port is in use.
        ConfigError: the address is not one of this machine, or the port needs more permissions.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as cause:
        listener.close()
        if cause.errno == errno.EADDRINUSE:
            raise RidecastError(
                f"api_port: expected a free port, got {port}, which is in use at {host}; "
                "stop the program that uses it, or set another with --port or RIDECAST_API_PORT"
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
        settings.home, settings.database, settings.archive, instance=settings.instance, clock=time.monotonic, signer=public_key
    )


def open_store(settings: Settings) -> OnlineStore:
    """Redis if configured, else a store in this process."""
    if not settings.redis:
        return MemoryStore()
    import redis

    return RedisStore(redis.Redis.from_url(settings.redis), settings.instance)
