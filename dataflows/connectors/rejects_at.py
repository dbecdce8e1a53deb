"""Where rejected events go, by the settings."""

from dataflows.connectors.sealing import seals_of
from dataflows.connectors.sinks import FileRejects, KafkaRejects, RejectSink
from schemas.settings import Settings


def open_rejects(settings: Settings) -> RejectSink:
    """Where rejected events go: a topic when outputs go to Kafka, else a file in home."""
    if settings.kafka:
        return KafkaRejects(settings.kafka, seals_of(settings), settings.instance)
    return FileRejects(settings.home / "rejects.sqlite", seals_of(settings))
