"""The publisher process: one `Publisher` and one sink per region, the online store, and the appender of the home's spool."""

import time

from dataflows.connectors.kafka.cluster import output_cluster
from dataflows.connectors.kafka.forecasts import KafkaForecasts
from dataflows.connectors.sinks import FileForecasts, ForecastSink
from dataflows.stream.publish import Publisher, run_publishers
from dataflows.stream.spooled import SpoolDuty
from dataflows.stream.stores import Stores, open_stores
from ledger.views.follow import Stop
from ledger.views.online.connect import open_redis
from ledger.views.online.protocol import OnlineStore
from ledger.views.online.redis import RedisStore
from ledger.views.regions import region_of
from schemas.settings import Settings


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
    return RedisStore(open_redis(settings.redis), settings.instance)


def run_publisher(settings: Settings, regions: list[str], stop: Stop, *, drain: bool) -> None:
    """Publish until `stop` is set, or with `drain` until everything recorded so far is published."""
    stores = open_stores(settings)
    spool = SpoolDuty(stores, time.monotonic)
    try:
        publishers = [_publisher(stores, region) for region in regions]
        run_publishers(stores.ledger, publishers, stop, drain=drain, beside=spool.step)
    finally:
        spool.close()
        stores.close()


def _publisher(stores: Stores, region_name: str) -> Publisher:
    settings = stores.settings
    region = region_of(stores.ledger, region_name)
    sink = open_forecasts(settings, region.id)
    return Publisher(stores.ledger, stores.blobs, sink, open_online_store(settings), region, settings.publish_backlog)
