"""`ridecast` on a broker with TLS, logins and rights, from the ride events to forecasts and rejected events."""

from pathlib import Path

from confluent_kafka import Producer

from dataflows.connectors.kafka import connection
from schemas.topics import CURSORS, FORECASTS, REJECTED
from tests.ridecast.calls import ridecast
from tests.ridecast.conftest import REGION, UNTIL
from tests.services.committed import committed
from tests.services.secure_kafka import PASSWORD, USER, AclOperation, ResourceType, SecureKafkaServer

INSTANCE = "secured"
TOPIC = ResourceType.TOPIC


def test_the_whole_path_with_least_rights(kafka_secured: SecureKafkaServer, tmp_path: Path) -> None:
    """Simulated rides, one of them broken, reach a home; forecasts and the rejected event come out; a missing right ends the run, named."""
    rides, operator = kafka_secured.fresh_topic(4), kafka_secured.operator_address
    names = {topic: topic.name_of(INSTANCE) for topic in (FORECASTS, CURSORS, REJECTED)}
    for topic, name in names.items():
        connection.ensure_topic(operator, name, 1, dict(topic.config))
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    env = kafka_secured.client(SASL_PASSWORD="", SASL_PASSWORD_FILE=str(tmp_path / "password"))
    env |= {"RIDECAST_KAFKA": kafka_secured.address, "RIDECAST_INSTANCE": INSTANCE, "RIDECAST_HOME": "home"}
    source = f"kafka://{kafka_secured.address}/{rides}"
    run = ("run", "--rides", source, "--region", REGION, "--until-end")

    kafka_secured.allow(AclOperation.WRITE, TOPIC, rides)
    size = ("--days", 3, "--rides-per-day", 300, "--seed", 7)
    done = ridecast("simulate", "--region", REGION, *size, "--kafka", kafka_secured.address, "--topic", rides, cwd=tmp_path, env=env)
    assert (0, []) == (done.status, done.lines)
    producer = Producer({"bootstrap.servers": operator})
    producer.produce(rides, b"no ride", b"key", partition=0)
    assert 0 == producer.flush(30)

    kafka_secured.allow(AclOperation.READ, TOPIC, rides)
    done = ridecast("bootstrap", "--rides", source, "--region", REGION, "--until", UNTIL, cwd=tmp_path, env=env)
    assert 1 == done.status
    assert f"grant the user {USER} Describe on topic {names[REJECTED]}" in done.err
    kafka_secured.allow(AclOperation.WRITE, TOPIC, names[REJECTED])
    assert 0 == ridecast("bootstrap", "--rides", source, "--region", REGION, "--until", UNTIL, cwd=tmp_path, env=env).status

    kafka_secured.allow(AclOperation.WRITE, TOPIC, names[FORECASTS])
    kafka_secured.allow(AclOperation.WRITE, TOPIC, names[CURSORS])
    kafka_secured.allow(AclOperation.READ, TOPIC, names[CURSORS])
    done = ridecast(*run, cwd=tmp_path, env=env)
    transaction = f"ridecast-{INSTANCE}-{REGION}"
    assert 1 == done.status
    assert f"grant the user {USER} Write on transactional id {transaction}" in done.err
    kafka_secured.allow(AclOperation.WRITE, ResourceType.TRANSACTIONAL_ID, transaction)
    done = ridecast(*run, cwd=tmp_path, env=env)
    assert (0, []) == (done.status, done.lines)
    assert PASSWORD not in done.err

    forecasts = committed(operator, names[FORECASTS])
    assert {key.decode().split("/")[0] for key, _ in forecasts} == {REGION}
    assert 1 == len(committed(operator, names[CURSORS]))
    assert 1 == len({key for key, _ in committed(operator, names[REJECTED])})
