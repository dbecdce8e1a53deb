"""The table of topics: names, keys, schemas of values, and retention."""

from dataclasses import dataclass

from schemas.errors import UsageError

FOR_EVER = "-1"  # Kafka's value for no limit
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic.

    Attributes:
        name: As in the broker; `name_of` adds the instance.
        key: Contents of a message's key.
        schema: File in `schemas/avro`, without its ending.
        partitions: Number of partitions of a new topic.
        config: Broker settings for a new topic.
        shared: Whether all instances use the same topic; only rides are shared.
    """

    name: str
    key: str
    schema: str
    partitions: int
    config: tuple[tuple[str, str], ...]
    shared: bool = False

    def name_of(self, instance: str) -> str:
        """Name of the topic for one instance: the instance is a prefix, except for `local`.

        >>> FORECASTS.name_of("local"), FORECASTS.name_of("staging"), RIDES.name_of("staging")
        ('demand.forecasts', 'staging.demand.forecasts', 'rides.raw')
        """
        return self.name if self.shared or instance == "local" else f"{instance}.{self.name}"


RIDES = Topic(
    "rides.raw",
    key="ride id",
    schema="ride_event.v1",
    partitions=4,
    # Replay and deduplication reread rides: numbers can be replayed only as long as their rides are kept.
    config=(("cleanup.policy", "delete"), ("retention.ms", FOR_EVER), ("message.timestamp.type", "CreateTime")),
    shared=True,
)
REJECTED = Topic(
    "rides.rejected",
    key="source/partition/offset",
    schema="reject.v3",
    partitions=1,
    # Keyed, so that a reject written again replaces itself; deleted after seven days, because it may name a person.
    config=(("cleanup.policy", "compact,delete"), ("retention.ms", str(7 * DAY_MS))),
)
FORECASTS = Topic(
    "demand.forecasts",
    key="region/cell",  # and /measure, for a measure that is not its region's first
    schema="demand_forecast.v1",
    partitions=4,
    config=(("cleanup.policy", "compact,delete"), ("retention.ms", str(7 * DAY_MS))),
)
CURSORS = Topic(
    "ridecast.cursors",
    key="log",
    schema="publish_cursor.v3",
    partitions=1,
    config=(("cleanup.policy", "compact"), ("retention.ms", FOR_EVER)),
)

TOPICS: dict[str, Topic] = {topic.name: topic for topic in (RIDES, REJECTED, FORECASTS, CURSORS)}


def topic_named(name: str) -> Topic:
    """The topic of that name.

    Raises:
        UsageError: there is no such topic.

    >>> topic_named("demand.forecasts").key
    'region/cell'
    """
    if name not in TOPICS:
        raise UsageError(f"topic: expected one of {', '.join(TOPICS)}, got {name!r}")
    return TOPICS[name]
