"""Settings: what can be configured, within which bounds, and where each value came from.

A shell calls `Settings.from_env(os.environ)` once and passes plain values on; nothing else reads the environment.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, cast

from schemas.configuration.addresses import masked, parse_address, secrets_in
from schemas.configuration.kafka_client import Property, properties_of
from schemas.configuration.setting import PREFIX, Setting, Value
from schemas.errors import ConfigError
from schemas.secrets import hide

KAFKA_PREFIX = "RIDECAST_KAFKA_"  # of variables that are properties of the Kafka client, unless they are settings
RIDES_KAFKA_PREFIX = "RIDECAST_RIDES_KAFKA_"
# Our variables that are not settings: where tests find data and keep downloads, what `demo`, the supervisor and the Bytewax
# runner pass to a process, and whether an error prints a traceback.
NOT_SETTINGS = (
    "RIDECAST_SHARED",
    "RIDECAST_CACHE",
    "RIDECAST_FEED_FROM",
    "RIDECAST_FEED_SPEEDUP",
    "RIDECAST_HEARTBEAT",
    "RIDECAST_REGIONS",
    "RIDECAST_TRACEBACK",
)

_HOST_PORT = r"(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}"
_TOPIC = r"[A-Za-z0-9._-]{1,249}"  # Kafka's own rule for topic names

SETTINGS: tuple[Setting, ...] = (
    Setting("home", "home", "", None, None, "directory of all embedded data: ledger, blobs, checkpoints", r".+", "a directory"),
    Setting(
        "instance",
        "local",
        "",
        None,
        None,
        "name used in log origins and transactional ids",
        r"[a-z][a-z0-9-]{0,31}",
        "a-z, 0-9, -; at most 32",
    ),
    Setting(
        "rides",
        "",
        "",
        None,
        None,
        "source of ride events",
        rf"(?:kafka://{_HOST_PORT}/{_TOPIC})|(?!\w+://).*",
        "a directory or kafka://HOST:PORT/TOPIC",
    ),
    Setting(
        "database",
        "",
        "",
        None,
        None,
        "ledger's database; empty: SQLite in home",
        r"(?:postgresql(?:\+pg8000)?://.+)?",
        "postgresql://...",
        secret=True,
    ),
    Setting("signing_key", "", "", None, None, "private key that signs checkpoints; empty: keys/checkpoint.key in home", r".*", "a file"),
    Setting("archive", "", "", None, None, "folder with archived entries and blobs; empty: nothing is archived", r".*", "a directory"),
    Setting("rejects_key", "", "", None, None, "key that encrypts rejected events; empty: keys/rejects.key in home", r".*", "a file"),
    Setting(
        "redis", "", "", None, None, "online store; empty: in memory", r"(?:(?:rediss?|unix)://.+)?", "redis://HOST:PORT/N", secret=True
    ),
    Setting(
        "kafka",
        "",
        "",
        None,
        None,
        "brokers for forecasts and rejects; empty: files",
        rf"(?:{_HOST_PORT}(?:,{_HOST_PORT})*)?",
        "HOST:PORT[,HOST:PORT]",
    ),
    Setting(
        "kafka_properties", "", "", None, None, "properties of the Kafka client, name=value; also RIDECAST_KAFKA_NAME", r".*", "a file"
    ),
    Setting(
        "rides_kafka_properties",
        "",
        "",
        None,
        None,
        "the same for the source of rides only; also RIDECAST_RIDES_KAFKA_NAME; if any is given, only these apply to it",
        r".*",
        "a file",
    ),
    Setting("mlflow", "", "", None, None, "MLflow tracking; empty: SQLite in home", r"(?:[a-z+0-9]+://.+)?", "a URL", secret=True),
    Setting("api_host", "127.0.0.1", "", None, None, "address that the API listens on", r"[A-Za-z0-9.:-]+", "a host or address"),
    Setting("api_port", 8000, "", 0, 65_535, "port that the API listens on; 0: any free one"),
    Setting("api_connections", 4_096, "", 16, 100_000, "most open connections to the API; beyond it the longest waiting is closed"),
    Setting("access_log", "off", "", None, None, "whether who read what is recorded in the log `access`", r"off|on", "off or on"),
    Setting("api_writes", "off", "", None, None, "whether clients of the API may write, such as acknowledge", r"off|on", "off or on"),
    Setting(
        "publish_backlog",
        "latest",
        "",
        None,
        None,
        "what a late publisher sends: the newest issue or every one",
        r"latest|all",
        "latest or all",
    ),
    Setting("idle_after_s", 5.0, "s", 0.1, 3_600, "idle time at the end of a partition before it is excused"),
    Setting("skew_s", 300, "s", 0, 86_400, "maximum lead of an event's time over its log time"),
    Setting("dedup_horizon_events", 4_000_000, "events", 1_000, 100_000_000, "offsets that deduplication looks back, over all partitions"),
    Setting("evidence_events", 10, "events", 1, 64, "new regions: events of a window that must reach a time before it cuts a slot"),
    Setting("evidence_window_events", 16, "events", 1, 256, "new regions: last accepted events of a partition in a window"),
    Setting("hold_s", 259_200, "s", 3_600, 31_536_000, "new regions: lead over the first open slot up to which every ride is counted"),
    Setting("batch_events", 5_000, "events", 1, 100_000, "events in one batch of a partition"),
    Setting("align_slots", 12, "slots", 1, 10_000, "maximum lead of one partition over the slowest"),
    Setting("progress_per_s", 4.0, "1/s", 0.1, 1_000, "maximum rate of progress reports per partition and region"),
    Setting("snapshot_every_s", 30.0, "s", 1, 86_400, "time between snapshots of a region's state"),
    Setting("forecast_budget_s", 5.0, "s", 0.01, 3_600, "processor time of a close after which its models rest for 12 slots"),
    Setting("read_timeout_s", 1.5, "s", 0.1, 60, "longest wait for PostgreSQL in the API, and for Redis everywhere"),
    Setting("write_timeout_s", 30.0, "s", 1, 3_600, "longest wait for PostgreSQL in processes that write, and in commands"),
    Setting("keep_forecasts_days", 400, "days", 1, 36_500, "age in event time at which `ledger expire` removes forecast chunks"),
    Setting("explain_slots", 36, "slots", 0, 10_000, "newest slots that the API explains; `ridecast explain` explains every one"),
    Setting("stale_after_slots", 3.0, "slots", 1, 100_000, "slots without a close after which forecasts are reported as stale"),
    Setting("unready_after_slots", 12.0, "slots", 1, 1_000_000_000, "slots without a close after which /v1/ready answers 503"),
    Setting(
        "log_level",
        "info",
        "",
        None,
        None,
        "lowest severity that is logged",
        r"debug|info|warning|error",
        "debug, info, warning or error",
    ),
    Setting("log_format", "text", "", None, None, "form of progress, logs and errors of a run", r"text|json", "text or json"),
    Setting("hang_after_s", 60.0, "s", 1, 3_600, "silence after which a process of a run is killed and started again"),
    Setting("wait_limit_s", 600.0, "s", 0, 604_800, "how long `run --until-end` waits for unavailable services; other runs never give up"),
)


@dataclass(frozen=True, slots=True)
class Explained:
    """A setting with its effective value; `source` is "default", "command line", or the name of the variable (of a file)."""

    setting: Setting
    value: Value
    source: str

    @property
    def shown(self) -> str:
        """The value for display, with passwords masked."""
        return masked(str(self.value)) if self.setting.secret else str(self.value)


@dataclass(frozen=True, slots=True)
class Settings:
    """Every value of `SETTINGS`, checked; one field per row, in the same order.

    Attributes:
        sources: Where each value came from, in the order of the rows.
        unknown: Variables with our prefix that are not settings: a typo, or another program's.
        kafka_client: Properties of the Kafka clients that write forecasts and rejects.
        rides_client: Properties of the Kafka client that reads rides.
    """

    home: Path
    instance: str
    rides: str
    database: str
    signing_key: str
    archive: str
    rejects_key: str
    redis: str
    kafka: str
    kafka_properties: str
    rides_kafka_properties: str
    mlflow: str
    api_host: str
    api_port: int
    api_connections: int
    access_log: Literal["off", "on"]
    api_writes: Literal["off", "on"]
    publish_backlog: Literal["latest", "all"]
    idle_after_s: float
    skew_s: int
    dedup_horizon_events: int
    evidence_events: int
    evidence_window_events: int
    hold_s: int
    batch_events: int
    align_slots: int
    progress_per_s: float
    snapshot_every_s: float
    forecast_budget_s: float
    read_timeout_s: float
    write_timeout_s: float
    keep_forecasts_days: int
    explain_slots: int
    stale_after_slots: float
    unready_after_slots: float
    log_level: str
    log_format: Literal["text", "json"]
    hang_after_s: float
    wait_limit_s: float
    sources: tuple[str, ...]
    unknown: tuple[str, ...]
    kafka_client: tuple[Property, ...] = ()
    rides_client: tuple[Property, ...] = ()

    @classmethod
    def from_env(cls, environ: Mapping[str, str], given: Mapping[str, object] | None = None) -> "Settings":
        """Settings from the environment, overridden by the command line.

        Args:
            environ: Variables, usually os.environ; an empty text counts as not set.
            given: Setting name to value; None means that the option was not given.
        Raises:
            ConfigError: a value is malformed or out of bounds, or a file cannot be read; the text names the variable or
                option. From then on no error shows a secret of the settings.

        >>> Settings.from_env({"RIDECAST_API_PORT": "8080"}).api_port
        8080
        >>> str(Settings.from_env({"RIDECAST_HOME": "a"}, {"home": "b"}).home)
        'b'
        """
        given = given or {}
        names = {setting.name for setting in SETTINGS}
        for name in given:
            if name not in names:
                raise ConfigError(f"setting: expected one of {', '.join(sorted(names))}, got {name!r}")
        values: dict[str, object] = {}
        sources: list[str] = []
        for setting in SETTINGS:
            if (option := given.get(setting.name)) is not None:
                value, source = setting.parse(str(option), where=f"--{setting.name.replace('_', '-')}"), "command line"
            elif text := environ.get(setting.variable):
                if setting.secret and environ.get(setting.file_variable):
                    raise ConfigError(f"{setting.variable}: expected only one of it and {setting.file_variable}, got both")
                value, source = setting.parse(text, where=setting.variable), setting.variable
            elif setting.secret and (path := environ.get(setting.file_variable)):
                value, source = setting.read_file(path), setting.file_variable
            else:
                value, source = setting.default, "default"
            values[setting.name] = Path(str(value)) if setting.name == "home" else value
            sources.append(source)
        known = {setting.variable for setting in SETTINGS} | set(NOT_SETTINGS)
        known |= {setting.file_variable for setting in SETTINGS if setting.secret}
        shared = properties_of(environ, KAFKA_PREFIX, str(values["kafka_properties"]), frozenset(known))
        own = properties_of(environ, RIDES_KAFKA_PREFIX, str(values["rides_kafka_properties"]), frozenset(known))
        unknown = tuple(sorted(name for name in environ if name.startswith(PREFIX) and name not in known and not _is_property(name)))
        settings = cls(**values, sources=tuple(sources), unknown=unknown, kafka_client=shared, rides_client=own or shared)  # type: ignore[arg-type]  # parse gives each row its type; a test compares them
        settings._hide_secrets()
        return settings

    def explain(self) -> tuple[Explained, ...]:
        """Every setting with its value and source, in the order of the table."""
        values = (
            cast(Value, str(value) if isinstance(value, Path) else value) for value in (getattr(self, field.name) for field in fields(self))
        )
        return tuple(Explained(setting, value, source) for setting, value, source in zip(SETTINGS, values, self.sources, strict=False))

    def _hide_secrets(self) -> None:
        """Remove the secrets of these settings from all errors and output from now on."""
        addresses = [str(getattr(self, setting.name)) for setting in SETTINGS if setting.secret]
        shown = [str(getattr(self, setting.name)) for setting in SETTINGS if not setting.secret]
        public = {*shown, *(word for text in addresses if text for word in parse_address(text).public())}
        properties = (*self.kafka_client, *self.rides_client)
        public |= {row.value for row in properties if not row.is_secret}
        for text in addresses:
            hide(*secrets_in(text) if text else (), public=public)
        hide(*(row.value for row in properties if row.is_secret), public=public)
        for row in properties:
            if not row.is_secret and "://" in row.value:
                hide(*secrets_in(row.value), public=public)


@dataclass(frozen=True, slots=True)
class KafkaPlace:
    """A topic on a broker; bootstrap is HOST:PORT."""

    bootstrap: str
    topic: str


def parse_rides(text: str) -> Path | KafkaPlace:
    """Parse the source of ride events: a directory, or a topic if the text starts with kafka://.

    Raises:
        ConfigError: empty, or a URL that is not kafka://HOST:PORT/TOPIC.

    >>> parse_rides("kafka://127.0.0.1:9092/rides.raw")
    KafkaPlace(bootstrap='127.0.0.1:9092', topic='rides.raw')
    """
    setting = setting_named("rides")
    if not text:
        raise ConfigError(f"--rides: expected {setting.expected}, got nothing", remedy=f"pass it or set {setting.variable}")
    setting.parse(text, where="--rides")
    if not text.startswith("kafka://"):
        return Path(text)
    bootstrap, topic = text.removeprefix("kafka://").split("/")
    return KafkaPlace(bootstrap, topic)


def setting_named(name: str) -> Setting:
    """The row of that name.

    Raises:
        ConfigError: there is no such setting.
    """
    for setting in SETTINGS:
        if setting.name == name:
            return setting
    raise ConfigError(f"setting: expected one of {', '.join(row.name for row in SETTINGS)}, got {name!r}")


def _is_property(variable: str) -> bool:
    return variable.startswith((KAFKA_PREFIX, RIDES_KAFKA_PREFIX))


__all__ = ["PREFIX", "SETTINGS", "Explained", "KafkaPlace", "Setting", "Settings", "masked", "parse_rides", "setting_named"]
