"""A broker with TLS, logins and rights: what is needed at least, and how each missing thing is named."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dataflows.connectors.kafka import connection
from dataflows.connectors.kafka.cluster import Cluster, output_cluster
from dataflows.connectors.kafka.forecasts import KafkaForecasts
from dataflows.connectors.kafka.producer import KafkaRideSink
from dataflows.connectors.kafka.rides import KafkaRides
from dataflows.connectors.reachable import check_servers
from dataflows.connectors.rejects import KafkaRejects
from dataflows.connectors.sealing import Seals
from schemas.configuration.settings import Settings
from schemas.errors import AccessRefused, ConfigError, StoreUnavailable
from schemas.events.rides import NO_TIME, Reason, Rejected
from schemas.topics import CURSORS, FORECASTS, REJECTED
from tests.faults.seen import Seen
from tests.forecast_samples import sample_messages
from tests.services.certificates import Authority
from tests.services.committed import committed
from tests.services.identity import CLIENT, SECRET
from tests.services.process import free_port
from tests.services.secure_kafka import PASSWORD, PLAIN_PASSWORD, PLAIN_USER, USER, AclOperation, ResourceType, SecureKafkaServer

LOG = "region/nyc"
TOPIC, TRANSACTION = ResourceType.TOPIC, ResourceType.TRANSACTIONAL_ID
READ, WRITE, CREATE, DESCRIBE = AclOperation.READ, AclOperation.WRITE, AclOperation.CREATE, AclOperation.DESCRIBE

Right = tuple[AclOperation, ResourceType, str]


class Place:
    """The topics of one instance on the secured broker, made by its operator, and a client with few rights."""

    def __init__(self, server: SecureKafkaServer, seals: Seals) -> None:
        self.server, self.seals = server, seals
        self.rides, self.instance = server.fresh_topic(2), server.fresh_topic(0)
        self.cluster = cluster_of(server)
        for topic in (FORECASTS, CURSORS, REJECTED):
            assert connection.ensure_topic(server.operator_address, topic.name_of(self.instance), 1, dict(topic.config))

    def allow(self, *without: Right) -> None:
        """Grant the least rights, except some."""
        for right in (self.read_rides, *self.write_forecasts, self.write_rejects):
            if right not in without:
                self.server.allow(*right)

    @property
    def read_rides(self) -> Right:
        return READ, TOPIC, self.rides

    @property
    def write_forecasts(self) -> tuple[Right, ...]:
        cursors, forecasts = CURSORS.name_of(self.instance), FORECASTS.name_of(self.instance)
        transaction = (WRITE, TRANSACTION, f"ridecast-{self.instance}-nyc")
        return (WRITE, TOPIC, forecasts), (WRITE, TOPIC, cursors), (READ, TOPIC, cursors), transaction

    @property
    def write_rejects(self) -> Right:
        return WRITE, TOPIC, REJECTED.name_of(self.instance)

    def read(self) -> list[bytes]:
        """All rides, as the forecaster reads them."""
        source = KafkaRides(self.cluster, self.rides)
        found: list[bytes] = []
        try:
            source.identity()
            for partition in source.partitions():
                reader = source.open(partition, 0)
                give_up_at = time.monotonic() + 30
                while reader.position() < source.bounds(partition)[1] and time.monotonic() < give_up_at:
                    batch = reader.read(100, 0.2)
                    found += batch.values if batch is not None else []
                reader.close()
        finally:
            source.close()
        return found

    def publish(self) -> bool:
        """Publish one issue, as the publisher does."""
        sink = KafkaForecasts(self.cluster, self.instance, "nyc", patience_s=20.0)
        try:
            return sink.publish(sample_messages(0), LOG, 1)
        finally:
            sink.close()

    def reject(self) -> None:
        """Store one rejected event."""
        sink = KafkaRejects(self.cluster, self.seals, self.instance, patience_s=20.0)
        try:
            sink.write([Rejected(0, 7, NO_TIME, Reason.BAD_ID, b"x")])
        finally:
            sink.close()


def cluster_of(server: SecureKafkaServer, **changes: str) -> Cluster:
    """The secured cluster, as the settings describe it."""
    return output_cluster(Settings.from_env({"RIDECAST_KAFKA": server.address, **server.client(**changes)}))


@pytest.fixture
def place(kafka_secured: SecureKafkaServer, tmp_path: Path) -> Place:
    """Topics without rights."""
    return Place(kafka_secured, Seals(tmp_path / "rejects.key"))


def send(brokers: Cluster | str, topic: str) -> None:
    """Two ride events, one in each partition."""
    sink = KafkaRideSink(brokers, topic, 2, append_to=True)
    for partition in (0, 1):
        sink.append(partition, np.array([1_000_000]), [b"k"], [b"ride %d" % partition])
    sink.flush()


def test_the_least_rights_are_enough(place: Place) -> None:
    """Rides come in, forecasts and rejected events go out: with Read or Write on existing topics, and on the transactional id."""
    place.allow()
    send(place.server.operator_address, place.rides)
    assert [b"ride 0", b"ride 1"] == place.read()
    assert place.publish()
    assert not place.publish()  # the cursor was read
    place.reject()
    operator = place.server.operator_address
    assert 41 == len(committed(operator, FORECASTS.name_of(place.instance)) + committed(operator, CURSORS.name_of(place.instance)))
    (stored,) = KafkaRejects(operator, place.seals, place.instance).read()
    assert (7, b"x") == (stored.offset, stored.value)


@pytest.mark.parametrize(
    ("missing", "step", "said"),
    [
        (lambda place: place.read_rides, Place.read, "Describe on topic {rides}"),
        (lambda place: place.write_forecasts[0], Place.publish, "Describe on topic {instance}.demand.forecasts"),
        (lambda place: place.write_forecasts[3], Place.publish, "Write on transactional id ridecast-{instance}-nyc"),
        (lambda place: place.write_rejects, Place.reject, "Describe on topic {instance}.rides.rejected"),
    ],
    ids=["rides", "forecasts", "transaction", "rejects"],
)
def test_a_missing_right_is_named(
    place: Place, missing: Callable[[Place], Right], step: Callable[[Place], object], said: str, seen: Seen
) -> None:
    """Without a right the step fails at once with the user, the operation and the resource; granted, everything is there once."""
    place.allow(missing(place))
    right = said.format(rides=place.rides, instance=place.instance)
    started = time.monotonic()
    with pytest.raises(AccessRefused, match=re.escape(f"grant the user {USER} {right}")) as caught:
        step(place)
    assert time.monotonic() - started < 10
    seen.told(caught.value, f"grant the user {USER} {right}")
    place.server.allow(*missing(place))
    send(place.server.operator_address, place.rides)
    done, operator = step(place), place.server.operator_address
    if step is Place.publish:
        keys = [key for key, _ in committed(operator, FORECASTS.name_of(place.instance))]
        seen.same([key for key, _ in sample_messages(0)], keys, "forecasts")
    elif step is Place.reject:
        seen.same([7], [reject.offset for reject in KafkaRejects(operator, place.seals, place.instance).read()], "rejected event")
    else:
        assert [b"ride 0", b"ride 1"] == done
        seen.checked(2, "events")


@pytest.mark.parametrize(
    ("kind", "step"),
    [("demand.forecasts", Place.publish), ("ridecast.cursors", Place.publish), ("rides.rejected", Place.reject)],
)
def test_a_right_to_see_is_not_a_right_to_write(place: Place, kind: str, step: Callable[[Place], object]) -> None:
    """Where a topic may only be described, it is Write that is missing, and it is said without waiting."""
    topic = f"{place.instance}.{kind}"
    place.allow((WRITE, TOPIC, topic))
    place.server.allow(DESCRIBE, TOPIC, topic)
    started = time.monotonic()
    with pytest.raises(AccessRefused, match=re.escape(f"grant the user {USER} Write on topic {topic}")):
        step(place)
    assert time.monotonic() - started < 10


def test_a_right_to_see_is_not_a_right_to_read(place: Place) -> None:
    """A topic of rides that may only be described is refused by its first read."""
    place.server.allow(DESCRIBE, TOPIC, place.rides)
    send(place.server.operator_address, place.rides)
    with pytest.raises(AccessRefused, match=re.escape(f"grant the user {USER} Read on topic {place.rides}")):
        place.read()


def test_only_a_topic_that_is_missing_needs_the_right_to_create_it(kafka_secured: SecureKafkaServer) -> None:
    """A missing topic is created with the right, and without it the right is named."""
    topic, cluster = kafka_secured.fresh_topic(0), cluster_of(kafka_secured)
    kafka_secured.allow(DESCRIBE, TOPIC, topic)
    with pytest.raises(AccessRefused, match=re.escape(f"grant the user {USER} Create on topic {topic}")):
        connection.ensure_topic(cluster, topic, 1, {})
    kafka_secured.allow(CREATE, TOPIC, topic)
    assert connection.ensure_topic(cluster, topic, 1, {})
    assert not connection.ensure_topic(cluster, topic, 1, {})


def test_events_are_written_with_one_right(kafka_secured: SecureKafkaServer) -> None:
    """`import` and `simulate` need Write on the topic, and no other right."""
    topic = kafka_secured.fresh_topic(2)
    with pytest.raises(AccessRefused, match=re.escape(f"grant the user {USER} Describe on topic {topic}")):
        send(cluster_of(kafka_secured), topic)
    kafka_secured.allow(WRITE, TOPIC, topic)
    send(cluster_of(kafka_secured), topic)
    assert [(b"k", b"ride 0"), (b"k", b"ride 1")] == committed(kafka_secured.operator_address, topic)


def test_a_login_by_plain_and_from_a_file(kafka_secured: SecureKafkaServer, tmp_path: Path) -> None:
    """Properties come from a file as well as from variables, and a password from a file of its own."""
    topic = kafka_secured.fresh_topic(2)
    kafka_secured.allow(WRITE, TOPIC, topic, PLAIN_USER)
    (tmp_path / "password").write_text(f"{PLAIN_PASSWORD}\n")
    (tmp_path / "client.properties").write_text(
        f"# ours\nsecurity.protocol = sasl_ssl\nsasl.mechanism=PLAIN\nsasl.username={PLAIN_USER}\n"
        f"ssl.ca.location={kafka_secured.authority.certificate}\n"
    )
    settings = Settings.from_env(
        {
            "RIDECAST_KAFKA": kafka_secured.address,
            "RIDECAST_KAFKA_PROPERTIES": str(tmp_path / "client.properties"),
            "RIDECAST_KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "password"),
        }
    )
    send(output_cluster(settings), topic)
    assert 2 == len(committed(kafka_secured.operator_address, topic))


def oidc(server: SecureKafkaServer, secret: str = SECRET, url: str = "") -> Cluster:
    """The secured cluster with a login by a token of the identity provider."""
    given = {
        "SASL_MECHANISM": "OAUTHBEARER",
        "SASL_USERNAME": "",
        "SASL_PASSWORD": "",
        "SASL_OAUTHBEARER_METHOD": "oidc",
        "SASL_OAUTHBEARER_CLIENT_ID": CLIENT,
        "SASL_OAUTHBEARER_CLIENT_SECRET": secret,
        "SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": f"{url or server.identity.url}/token",
    }
    return cluster_of(server, **given)


def test_a_login_by_a_token(kafka_secured: SecureKafkaServer) -> None:
    """The client gets a token from the identity provider by itself and logs in with it."""
    topic = kafka_secured.fresh_topic(2)
    kafka_secured.allow(WRITE, TOPIC, topic, CLIENT)
    send(oidc(kafka_secured), topic)
    assert 2 == len(committed(kafka_secured.operator_address, topic))


def test_why_there_is_no_token_is_said(kafka_secured: SecureKafkaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong client secret and an identity provider that is away are the cause in the error, without the secret, and may pass."""
    monkeypatch.setattr(connection, "ANSWER_S", 3.0)
    for cluster in (oidc(kafka_secured, "not-the-secret"), oidc(kafka_secured, url=f"http://127.0.0.1:{free_port()}")):
        with pytest.raises(StoreUnavailable, match="last cause: Failed to acquire SASL OAUTHBEARER token") as caught:
            connection.ensure_topic(cluster, "x", 1, {})
        assert not isinstance(caught.value, AccessRefused)
        assert "not-the-secret" not in str(caught.value)


def test_a_wrong_password_is_said(kafka_secured: SecureKafkaServer, monkeypatch: pytest.MonkeyPatch, seen: Seen) -> None:
    """The client reports only that it timed out; the error has its last cause, is permanent, and shows no password."""
    monkeypatch.setattr(connection, "ANSWER_S", 3.0)
    cluster = cluster_of(kafka_secured, SASL_PASSWORD="wrong-password")
    with pytest.raises(AccessRefused, match="last cause: SASL authentication error: Authentication failed") as caught:
        connection.ensure_topic(cluster, "x", 1, {})
    assert "wrong-password" not in str(caught.value)
    seen.told(caught.value, "last cause: SASL authentication error: Authentication failed")
    settings = Settings.from_env({"RIDECAST_KAFKA": kafka_secured.address, **kafka_secured.client(SASL_PASSWORD="wrong-password")})
    monkeypatch.setattr("dataflows.connectors.reachable.ANSWER_S", 3.0)
    with pytest.raises(AccessRefused, match=r"RIDECAST_KAFKA: expected a server at .* Authentication failed"):
        check_servers(settings)


def test_a_wrong_authority_is_said(kafka_secured: SecureKafkaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Seen) -> None:
    """A broker whose certificate another authority signed is not trusted, and the error says which property to look at."""
    monkeypatch.setattr(connection, "ANSWER_S", 3.0)
    other = Authority(tmp_path, "another authority")
    with pytest.raises(StoreUnavailable, match=r"certificate verify failed: .*ssl\.ca\.location") as caught:
        connection.ensure_topic(cluster_of(kafka_secured, SSL_CA_LOCATION=str(other.certificate)), "x", 1, {})
    seen.told(caught.value, "certificate verify failed")


def test_a_property_that_the_client_refuses_is_said(kafka_secured: SecureKafkaServer, tmp_path: Path) -> None:
    """An unknown name and a missing file are errors of usage that name the property and where it was given."""
    with pytest.raises(ConfigError, match=r'No such configuration property: "sals\.mechanism".*from RIDECAST_KAFKA_SALS_MECHANISM'):
        connection.ensure_topic(cluster_of(kafka_secured, SALS_MECHANISM="PLAIN"), "x", 1, {})
    with pytest.raises(ConfigError, match=r"ssl\.ca\.location failed") as caught:
        connection.ensure_topic(cluster_of(kafka_secured, SSL_CA_LOCATION=str(tmp_path / "none")), "x", 1, {})
    assert PASSWORD not in str(caught.value)
