"""The publisher as a process: one `Publisher` per region, one sink per region, one online store."""

import signal
import threading
from types import FrameType

from dataflows.house import House, open_house
from dataflows.kafka.forecasts import KafkaForecasts
from dataflows.publish import PAUSE_S, POLL_S, Publisher
from dataflows.resume import bootstrap_of
from dataflows.sinks import FileForecasts, ForecastSink
from schemas.regions import region_from_json
from schemas.settings import Settings
from state.store.protocol import OnlineStore
from state.store.redis import RedisStore


def open_forecasts(settings: Settings, region: str) -> ForecastSink:
    """Where a region's forecasts go: a topic, or files in home."""
    return KafkaForecasts(settings.kafka, settings.instance, region) if settings.kafka else FileForecasts(settings.home / "forecasts")


def open_online_store(settings: Settings) -> OnlineStore | None:
    """Redis if it is set; without it the API keeps its own store, so the publisher has none to refresh."""
    if not settings.redis:
        return None
    import redis

    return RedisStore(redis.Redis.from_url(settings.redis), settings.instance)


def run_publisher(settings: Settings, regions: list[str], *, drain: bool) -> None:
    """Publish until told to stop, or with `drain` until all that is recorded now is published."""
    stop = threading.Event()

    def ask(signum: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    house = open_house(settings)
    try:
        publishers = [_publisher(house, region) for region in regions]
        while not stop.is_set():
            published = sum(publisher.step() for publisher in publishers)
            if not published and drain:
                return
            stop.wait(0.0 if drain else PAUSE_S if published and settings.publish_backlog == "latest" else POLL_S)
    finally:
        house.close()


def _publisher(house: House, region_name: str) -> Publisher:
    settings = house.settings
    region = region_from_json(bootstrap_of(house.ledger, region_name).definition, where=region_name)
    sink = open_forecasts(settings, region.id)
    return Publisher(house.ledger, house.blobs, sink, open_online_store(settings), region, settings.publish_backlog)
