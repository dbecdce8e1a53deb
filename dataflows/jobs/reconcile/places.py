"""How each place is opened from the settings of a home; a text instead of a place says why there is nothing to compare."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager

from dataflows.connectors.kafka.cluster import output_cluster
from dataflows.jobs.reconcile.registry import RegistryPlace
from dataflows.jobs.reconcile.snapshots import SnapshotPlace
from dataflows.jobs.reconcile.topic import TopicPlace
from dataflows.stream.stores import Stores
from ledger.store.limits import writing_limits
from ledger.views.online.connect import open_redis
from ledger.views.reconcile.differences import ComparedPlace, PlaceName
from ledger.views.reconcile.issues import LedgerIssues
from ledger.views.reconcile.online import OnlinePlace
from ledger.views.reconcile.redis_hash import RedisHashes
from schemas.regions import Region

OnStep = Callable[[int, int], None]
OpenPlace = Callable[[Stores, Sequence[Region], Sequence[str], OnStep], AbstractContextManager[ComparedPlace | str]]


@contextmanager
def open_online(stores: Stores, regions: Sequence[Region], known: Sequence[str], on_step: OnStep) -> Iterator[ComparedPlace | str]:
    """Redis, if it is configured."""
    settings = stores.settings
    if not settings.redis:
        yield "no Redis is configured: the API reads the ledger itself"
        return
    client = open_redis(settings.redis, writing_limits(settings))
    try:
        yield OnlinePlace(LedgerIssues(stores.ledger, stores.blobs), RedisHashes(client, settings.instance), regions, known, on_step)
    finally:
        client.close()


@contextmanager
def open_topic(stores: Stores, regions: Sequence[Region], known: Sequence[str], on_step: OnStep) -> Iterator[ComparedPlace | str]:
    """The topic of forecasts, if Kafka is configured."""
    settings = stores.settings
    if not settings.kafka:
        yield "no Kafka is configured: forecasts are published as files"
        return
    with closing(TopicPlace(stores.ledger, stores.blobs, output_cluster(settings), settings.instance, regions, known, on_step)) as place:
        yield place


@contextmanager
def open_registered(stores: Stores, regions: Sequence[Region], known: Sequence[str], on_step: OnStep) -> Iterator[ComparedPlace | str]:
    """MLflow."""
    yield RegistryPlace(stores, regions, on_step)


@contextmanager
def open_snapshots(stores: Stores, regions: Sequence[Region], known: Sequence[str], on_step: OnStep) -> Iterator[ComparedPlace | str]:
    """The snapshots in the blob store."""
    yield SnapshotPlace(stores, regions, on_step=on_step)


OPENERS: Mapping[PlaceName, OpenPlace] = {
    PlaceName.ONLINE: open_online,
    PlaceName.TOPIC: open_topic,
    PlaceName.REGISTRY: open_registered,
    PlaceName.SNAPSHOTS: open_snapshots,
}
