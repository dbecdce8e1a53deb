"""Apache Kafka for the tests: one KRaft broker, its jars from Maven Central, kept in a cache directory."""

import fcntl
import hashlib
import itertools
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.services.process import Server, ServiceError, free_port, listening, program

VERSION = "4.2.0"
POM = Path(__file__).with_name("kafka_pom.xml")
JAR_DIGESTS = Path(__file__).with_name("kafka_jars.sha256")

# A small heap, no second compiler: ready in 3 s instead of 5 on 2 cores, and tests are too short to need it.
JVM = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djava.awt.headless=true")

# The controller lets a killed broker register again only when its session has timed out: 3 s instead of 9.
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={directory}/data
num.partitions=4
auto.create.topics.enable=false
log.retention.ms=-1
log.index.size.max.bytes=1048576
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""

LOGGING = """
status = warn
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %m (%c)%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""


class KafkaServer(Server):
    """One broker, which is its own controller; after a kill and restart it still has its topics."""

    name = "kafka"
    start_limit_s = 90.0

    def __init__(self) -> None:
        super().__init__()
        self.controller_port = free_port()
        self.numbers = itertools.count(1)

    def prepare(self) -> None:
        """Fetch the jars if they are not in the cache, and format the storage."""
        (self.directory / "server.properties").write_text(self.properties(), "utf-8")
        (self.directory / "log4j2.properties").write_text(LOGGING, "utf-8")
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        words = [
            *self._java(),
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={cluster}",
            "-c",
            "server.properties",
            *self.format_options(),
        ]
        done = subprocess.run(words, capture_output=True, text=True, cwd=self.directory, check=False)
        if done.returncode:
            raise ServiceError(f"kafka: storage could not be formatted: {(done.stderr or done.stdout).strip().splitlines()[-1:]}")

    def properties(self) -> str:
        """The broker's properties."""
        return PROPERTIES.format(port=self.port, controller_port=self.controller_port, directory=self.directory)

    def format_options(self) -> list[str]:
        """More options for formatting the storage."""
        return []

    def command(self) -> list[str]:
        """The broker's main class on the cached jars."""
        return [*self._java(), "kafka.Kafka", "server.properties"]

    def ready(self) -> bool:
        """Whether it lists its topics: it listens before it serves."""
        if not listening(self.port):
            return False
        try:
            return bool(self.admin().list_topics(timeout=5).brokers)
        except KafkaException:
            return False

    def admin(self) -> AdminClient:
        """A client for topics; logs nothing while the broker is down."""
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def fresh_topic(self, partitions: int = 4, config: dict[str, str] | None = None) -> str:
        """Make a topic that no other test uses, with unlimited retention.

        Args:
            partitions: 0 returns only a name and creates no topic.
            config: Topic settings, added to retention.ms=-1.
        """
        name = f"test-{next(self.numbers)}"
        if partitions:
            topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config={"retention.ms": "-1", **(config or {})})
            admin = self.admin()  # referenced until the answer: it is cancelled with its client
            for made in admin.create_topics([topic], operation_timeout=30).values():
                made.result(30)
            self._wait_for_leaders(admin, name, partitions)
        return name

    def _wait_for_leaders(self, admin: AdminClient, name: str, partitions: int) -> None:
        # The controller creates the topic before the broker's metadata includes it.
        deadline = time.monotonic() + 30
        while True:
            known = admin.list_topics(name, timeout=10).topics[name]
            if known.error is None and [part.leader for part in known.partitions.values()] == [1] * partitions:
                return
            if time.monotonic() > deadline:
                raise ServiceError(f"kafka: topic {name}: expected {partitions} partitions with a leader, got {known}")
            time.sleep(0.02)

    def _java(self) -> list[str]:
        java = program("java", "apt-get install default-jre-headless")
        return [java, *JVM, "-Dlog4j2.configurationFile=log4j2.properties", "-cp", f"{jars()}/*"]


def cache_directory() -> Path:
    """Cache of the tests' downloads: RIDECAST_CACHE, or a folder of the user's cache."""
    return Path(os.environ.get("RIDECAST_CACHE") or Path.home() / ".cache" / "ridecast-tests")


def jars() -> Path:
    """Directory with the broker's jars, fetched once; several test runs may ask at the same time.

    Raises:
        ServiceError: mvn is missing or failed, or a jar does not have its recorded digest.
    """
    cache = cache_directory()
    target = cache / f"kafka-{VERSION}"
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=cache) as workplace:
                _fetch(Path(workplace))
                check_digests(Path(workplace) / "jars", JAR_DIGESTS)
                (Path(workplace) / "jars").rename(target)
    return target


def _fetch(workplace: Path) -> None:
    mvn = program("mvn", "apt-get install maven")
    shutil.copy(POM, workplace / "pom.xml")
    words = [mvn, "-q", "-B", "-C", "dependency:copy-dependencies", f"-DoutputDirectory={workplace / 'jars'}"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=workplace, check=False)
    if done.returncode:
        raise ServiceError(f"kafka: mvn could not fetch {VERSION}: {' | '.join((done.stdout + done.stderr).strip().splitlines()[:2])}")


def check_digests(folder: Path, listing: Path) -> None:
    """Compare files with a listing as sha256sum writes it.

    Raises:
        ServiceError: a file is missing, unknown or different; the message names it.
    """
    expected = {name: digest for digest, name in (line.split() for line in listing.read_text("utf-8").splitlines())}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    for name in sorted(expected.keys() | found.keys()):
        told, came = expected.get(name, "no such file"), found.get(name, "no such file")
        if told != came:
            raise ServiceError(f"{listing.name}: {name}: expected {told}, got {came}")
