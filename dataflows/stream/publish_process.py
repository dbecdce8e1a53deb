"""The publisher process: one `Publisher` and one sink per region, the online store, and the appender of the home's spool."""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

from dataflows.connectors.kafka.cluster import output_cluster
from dataflows.connectors.kafka.forecasts import KafkaForecasts
from dataflows.connectors.sinks import FileForecasts, ForecastSink
from dataflows.stream.publish import Publisher, publishing_turn, run_publishers
from dataflows.stream.spooled import SpoolDuty
from dataflows.stream.stores import Stores, open_stores
from ledger.store.limits import reading_limits
from ledger.views.follow import Stop
from ledger.views.online.connect import open_redis
from ledger.views.online.follow_store import StoreFollower
from ledger.views.online.protocol import OnlineStore
from ledger.views.online.redis import RedisStore
from ledger.views.regions import region_of
from schemas.configuration.settings import Settings
from schemas.records.records import region_log


def open_forecasts(settings: Settings, region: str) -> ForecastSink:
    """The sink of a region's forecasts: a topic, or files in the home."""
    return (
        KafkaForecasts(output_cluster(settings), settings.instance, region)
        if settings.kafka
        else FileForecasts(settings.home / "forecasts")
    )


def open_online_store(settings: Settings) -> OnlineStore | None:
    """Redis if it is configured; else None, because the API keeps its own store."""
    if not settings.redis:
        return None
    return RedisStore(open_redis(settings.redis, reading_limits(settings)), settings.instance)


def run_publisher(settings: Settings, regions: list[str], stop: Stop, *, drain: bool) -> None:
    """Publish until `stop` is set, or with `drain` until everything recorded so far is published."""
    stores = open_stores(settings)
    spool = SpoolDuty(stores, time.monotonic)
    try:
        publishers = [_publisher(stores, region) for region in regions]
        with _online_store_filled(stores, regions, drain=drain):
            run_publishers(stores.ledger, publishers, stop, drain=drain, beside=spool.step)
    finally:
        spool.close()
        stores.close()


@contextmanager
def _online_store_filled(stores: Stores, regions: Sequence[str], *, drain: bool) -> Iterator[None]:
    """Fill the online store, if there is one, in a thread: publishing never waits for it. With `drain`, fill it once, at the end."""
    store = open_online_store(stores.settings)
    if store is None:
        yield
        return
    follower = StoreFollower(stores.ledger, stores.blobs, store, regions, random.random)
    if drain:
        yield
        follower.attempt()
        return
    ended = threading.Event()
    thread = threading.Thread(target=follower.run, args=(ended,), name="online store")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _publisher(stores: Stores, region_name: str) -> Publisher:
    settings = stores.settings
    region = region_of(stores.ledger, region_name)
    sink = open_forecasts(settings, region.id)
    turn = partial(publishing_turn, stores.ledger, region_log(region.id)) if settings.kafka else nullcontext
    return Publisher(stores.ledger, stores.blobs, sink, region, settings.publish_backlog, turn)
