"""The publisher as a process: one `Publisher` per region, one sink per region, one online store; and the spool of the home."""

import time

from dataflows.connectors.kafka.forecasts import KafkaForecasts
from dataflows.connectors.sinks import FileForecasts, ForecastSink
from dataflows.stream.publish import PAUSE_S, POLL_S, Publisher
from dataflows.stream.spooled import SpoolDuty
from dataflows.stream.stores import Stores, open_stores
from ledger.views.follow import Stop
from ledger.views.online.protocol import OnlineStore
from ledger.views.online.redis import RedisStore
from ledger.views.regions import bootstrap_of
from schemas.regions import region_from_json
from schemas.settings import Settings


def open_forecasts(settings: Settings, region: str) -> ForecastSink:
    """Where a region's forecasts go: a topic, or files in home."""
    return KafkaForecasts(settings.kafka, settings.instance, region) if settings.kafka else FileForecasts(settings.home / "forecasts")


def open_online_store(settings: Settings) -> OnlineStore | None:
    """Redis if it is set; without it the API keeps its own store, so the publisher has none to refresh."""
    if not settings.redis:
        return None
    import redis

    return RedisStore(redis.Redis.from_url(settings.redis), settings.instance)


def run_publisher(settings: Settings, regions: list[str], stop: Stop, *, drain: bool) -> None:
    """Publish until told to stop, or with `drain` until all that is recorded now is published."""
    stores = open_stores(settings)
    spool = SpoolDuty(stores, time.monotonic)
    try:
        publishers = [_publisher(stores, region) for region in regions]
        while not stop.is_set():
            published = sum(publisher.step() for publisher in publishers)
            spooled = spool.step()
            if not (published or spooled) and drain:
                return
            stop.wait(0.0 if drain else PAUSE_S if published and settings.publish_backlog == "latest" else POLL_S)
    finally:
        spool.close()
        stores.close()


def _publisher(stores: Stores, region_name: str) -> Publisher:
    settings = stores.settings
    region = region_from_json(bootstrap_of(stores.ledger, region_name).definition, where=region_name)
    sink = open_forecasts(settings, region.id)
    return Publisher(stores.ledger, stores.blobs, sink, open_online_store(settings), region, settings.publish_backlog)
