"""Opens the store of rejected events that the settings select."""

from dataflows.connectors.kafka.cluster import output_cluster
from dataflows.connectors.sealing import seals_of
from dataflows.connectors.sinks import FileRejects, KafkaRejects, RejectSink
from schemas.configuration.settings import Settings


def open_rejects(settings: Settings) -> RejectSink:
    """The store of rejected events: a topic if outputs go to Kafka, else a file in home."""
    if settings.kafka:
        return KafkaRejects(output_cluster(settings), seals_of(settings), settings.instance)
    return FileRejects(settings.home / "rejects.sqlite", seals_of(settings))
