"""The API as a process: opens what the settings name, serves until SIGTERM, closes what it opened."""

import errno
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Sequence

import uvicorn

from api.app import create_app
from ledger.formats.keys import Verifier
from ledger.store.blobs import Blobs
from ledger.store.key_files import PUBLIC_KEY, read_verifier
from ledger.store.log import Ledger
from ledger.store.opening import open_ledger
from ledger.views.online.follow_store import StoreFollower
from ledger.views.online.memory import MemoryStore
from ledger.views.online.protocol import OnlineStore
from ledger.views.online.redis import RedisStore
from schemas.errors import ConfigError, RidecastError
from schemas.settings import Settings

log = logging.getLogger(__name__)

DRAIN_S = 5  # how long an open request may take to end after SIGTERM


def serve(settings: Settings, regions: Sequence[str]) -> None:
    """Serve until SIGTERM or Ctrl-C, then return.

    Raises:
        RidecastError: the port is in use or the address is not ours; a store does not open.
    """
    listener = bind(settings.api_host, settings.api_port)
    stop = threading.Event()
    ledger, blobs = open_to_read(settings)
    threads: list[threading.Thread] = []
    try:
        store = open_store(settings)
        if not settings.redis:
            follower = StoreFollower(ledger, blobs, store, regions)
            threads.append(threading.Thread(target=follower.run, args=(stop,), name="store follower"))
        app = create_app(ledger, blobs, store, regions, settings, time.time)
        config = uvicorn.Config(
            app,
            log_level=settings.log_level,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
        for thread in threads:
            thread.start()
        log.info("listening at http://%s:%d", *listener.getsockname()[:2])
        with handled_signals():
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        stop.set()
        for thread in threads:
            if thread.is_alive():
                thread.join()
        listener.close()
        blobs.close()
        ledger.close()


class handled_signals:
    """While open, SIGTERM and SIGINT do nothing of their own.

    uvicorn takes both, shuts down, and then raises them again for whoever listened before; without this,
    a clean stop would look like a death by signal.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __enter__(self) -> None:
        self._before = [signal.signal(number, lambda *_: None) for number in self.SIGNALS]

    def __exit__(self, *_: object) -> None:
        for number, handler in zip(self.SIGNALS, self._before, strict=True):
            signal.signal(number, handler)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; with port 0 the system picks one.

    Raises:
        RidecastError: the port is in use.
        ConfigError: the address is not one of this machine, or the port needs more rights.
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
                "stop the program that uses it, or choose another with --port or RIDECAST_API_PORT"
            ) from cause
        raise ConfigError(
            f"api_host, api_port: expected an address of this machine, got {host}:{port}: {os.strerror(cause.errno or 0)}"
        ) from cause
    return listener


def open_to_read(settings: Settings) -> tuple[Ledger, Blobs]:
    """The ledger and the blobs that the settings name: the API never sees the private key."""

    def public_key() -> Verifier | None:
        return read_verifier(settings.home / PUBLIC_KEY)

    return open_ledger(
        settings.home, settings.database, settings.archive, instance=settings.instance, clock=time.monotonic, signer=public_key
    )


def open_store(settings: Settings) -> OnlineStore:
    """Redis if it is set, else a store in this process."""
    if not settings.redis:
        return MemoryStore()
    import redis

    return RedisStore(redis.Redis.from_url(settings.redis), settings.instance)
