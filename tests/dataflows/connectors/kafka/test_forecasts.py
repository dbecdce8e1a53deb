"""Exactly-once publishing to Kafka: a second publisher, a killed one, a broker that goes down."""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dataflows.connectors.kafka import confirmed, connection as ours
from dataflows.connectors.kafka.forecasts import KafkaForecasts
from dataflows.connectors.rejects import KafkaRejects
from dataflows.connectors.sealing import Seals
from schemas.errors import Fenced, StoreUnavailable
from schemas.events.rides import NO_TIME, Reason, Rejected
from schemas.forecasts.messages import decode_demand_forecast
from tests.faults.seen import Seen
from tests.forecast_samples import sample_messages
from tests.services.committed import committed
from tests.services.kafka import KafkaServer
from tests.services.process import free_port

Topics = Callable[..., str]

LOG = "region/nyc"
ROOT = Path(__file__).resolve().parents[4]
CELLS = 400


def issues_seen(bootstrap: str, instance: str) -> dict[object, int]:
    """How many messages of each issue a read-committed consumer sees."""
    seen: dict[object, int] = {}
    for _, value in committed(bootstrap, f"{instance}.demand.forecasts"):
        index = decode_demand_forecast(value or b"")["log_index"]
        seen[index] = seen.get(index, 0) + 1
    return seen


def test_a_stale_publisher_is_fenced(kafka: str, kafka_topic: Topics) -> None:
    """A publisher that was replaced can publish nothing more, and its successor is not disturbed."""
    instance = kafka_topic(0)
    stale, new = KafkaForecasts(kafka, instance, "nyc"), KafkaForecasts(kafka, instance, "nyc")
    stale.publish(sample_messages(0), LOG, 1)
    assert new.cursor(LOG) == 1
    with pytest.raises(Fenced, match=f"publisher ridecast-{instance}-nyc: another publisher has taken over"):
        stale.publish(sample_messages(1), LOG, 2)
    assert new.publish(sample_messages(1), LOG, 2)
    assert issues_seen(kafka, instance) == {0: 40, 1: 40}
    stale.close()
    new.close()


def test_a_fenced_publisher_is_fenced_if_its_client_lost_the_error(
    kafka: str, kafka_topic: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flush that fails without an error is a failed transaction; aborting it then reports the fencing."""
    instance = kafka_topic(0)
    stale, new = KafkaForecasts(kafka, instance, "nyc"), KafkaForecasts(kafka, instance, "nyc")
    stale.publish(sample_messages(0), LOG, 1)
    assert new.cursor(LOG) == 1

    def forgetful(producer: object, give_up_at: float) -> None:
        with confirmed.fatal_errors():
            raise SystemError("<method 'flush' of 'cimpl.Producer' objects> returned NULL without setting an exception")

    with monkeypatch.context() as patched:
        patched.setattr(confirmed, "flush", forgetful)
        with pytest.raises(Fenced, match="another publisher has taken over"):
            stale.publish(sample_messages(1), LOG, 2)
    assert new.publish(sample_messages(1), LOG, 2)
    assert issues_seen(kafka, instance) == {0: 40, 1: 40}
    new.close()


def test_another_system_error_is_not_a_fatal_error() -> None:
    """Only the interpreter's message for a lost exception counts as a fatal error."""
    with pytest.raises(SystemError, match="something else"), confirmed.fatal_errors():
        raise SystemError("something else")


def test_publishers_of_two_regions_do_not_fence_each_other(kafka: str, kafka_topic: Topics) -> None:
    """Each region has its own transactional id, so that one publisher fences only its own predecessor."""
    instance = kafka_topic(0)
    nyc, tehran = KafkaForecasts(kafka, instance, "nyc"), KafkaForecasts(kafka, instance, "tehran")
    for index in range(3):
        assert nyc.publish(sample_messages(index), LOG, index + 1)
        assert tehran.publish(sample_messages(10 + index), "region/tehran", index + 1)
    assert issues_seen(kafka, instance) == dict.fromkeys((0, 1, 2, 10, 11, 12), 40)
    nyc.close()
    tehran.close()


def test_an_aborted_issue_is_never_seen(kafka: str, kafka_topic: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a message of an issue is not delivered, the issue is aborted and published again as a whole."""
    instance = kafka_topic(0)
    sink = KafkaForecasts(kafka, instance, "nyc")
    failures = [2]
    check = confirmed.Reports.check

    def failing(self: confirmed.Reports, expected: int) -> None:
        if failures[0]:
            failures[0] -= 1
            expected += 1
        check(self, expected)

    monkeypatch.setattr(confirmed.Reports, "check", failing)
    assert sink.publish(sample_messages(0), LOG, 1)
    assert failures == [0]
    assert issues_seen(kafka, instance) == {0: 40}
    sink.close()


def test_a_lost_answer_to_a_commit_is_resolved_by_the_cursor(kafka: str, kafka_topic: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that succeeded although its answer was lost is not repeated."""
    from confluent_kafka import KafkaError, KafkaException

    instance = kafka_topic(0)
    sink = KafkaForecasts(kafka, instance, "nyc")
    sink.cursor(LOG)
    persist = KafkaForecasts._persist
    lost = [True]

    def losing(self: KafkaForecasts, step: Callable[[float], None], give_up_at: float) -> None:
        persist(self, step, give_up_at)
        if step.__name__ == "commit_transaction" and lost.pop() if lost else False:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    monkeypatch.setattr(KafkaForecasts, "_persist", losing)
    assert sink.publish(sample_messages(0), LOG, 1)
    assert lost == []
    assert sink.publish(sample_messages(1), LOG, 2)
    assert issues_seen(kafka, instance) == {0: 40, 1: 40}
    sink.close()


def test_a_restart_of_the_broker_is_waited_for(kafka_server: KafkaServer, seen: Seen) -> None:
    """A broker that is killed and restarted delays forecasts but loses none: each is there once."""
    instance = kafka_server.fresh_topic(0)
    sink = KafkaForecasts(kafka_server.address, instance, "nyc")
    assert sink.publish(sample_messages(0), LOG, 1)
    kafka_server.kill()
    kafka_server.start()
    assert sink.publish(sample_messages(1), LOG, 2)
    assert sink.publish(sample_messages(2), LOG, 3)
    seen.same({0: 40, 1: 40, 2: 40}, issues_seen(kafka_server.address, instance), "messages")
    sink.close()


def test_a_broker_that_stays_down_is_reported(kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch, seen: Seen) -> None:
    """After its timeout publishing raises; once the broker is back the issue is published, once."""
    instance = kafka_server.fresh_topic(0)
    sink = KafkaForecasts(kafka_server.address, instance, "nyc", patience_s=3.0)
    assert sink.publish(sample_messages(0), LOG, 1)
    kafka_server.kill()
    monkeypatch.setattr(ours, "ANSWER_S", 1.0)
    with pytest.raises(StoreUnavailable, match=f"Kafka at {kafka_server.address}: ") as caught:
        sink.publish(sample_messages(1), LOG, 2)
    seen.told(caught.value, "Kafka at 127.0.0.1:")
    kafka_server.start()
    monkeypatch.setattr(ours, "ANSWER_S", 20.0)
    again = KafkaForecasts(kafka_server.address, instance, "nyc")
    again.publish(sample_messages(1), LOG, 2)
    seen.same({0: 40, 1: 40}, issues_seen(kafka_server.address, instance), "messages")
    sink.close()
    again.close()


def test_no_broker_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The errors of sinks name the address that does not answer."""
    monkeypatch.setattr(ours, "ANSWER_S", 1.0)
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(StoreUnavailable, match=f"Kafka at {address}: creating topic demand.forecasts"):
        KafkaForecasts(address, "local", "nyc").cursor(LOG)
    with pytest.raises(StoreUnavailable, match=f"Kafka at {address}: creating topic rides.rejected"):
        KafkaRejects(address, Seals(tmp_path / "rejects.key")).write([Rejected(0, 0, NO_TIME, Reason.BAD_ID, b"")])


def test_rejects_that_no_broker_confirms_are_an_error(kafka_server: KafkaServer, tmp_path: Path, seen: Seen) -> None:
    """A reject without a delivery report does not count as stored; written again, each is read once."""
    seals, instance = Seals(tmp_path / "rejects.key"), kafka_server.fresh_topic(0)
    rejects = [Rejected(0, 0, NO_TIME, Reason.BAD_ID, b"a"), Rejected(0, 1, NO_TIME, Reason.BAD_ID, b"b")]
    sink = KafkaRejects(kafka_server.address, seals, instance, patience_s=2.0)
    sink.write(rejects[:1])
    kafka_server.kill()
    with pytest.raises(StoreUnavailable, match=r"writing to .*rides\.rejected") as caught:
        sink.write(rejects[1:])
    seen.told(caught.value, "rides.rejected")
    kafka_server.start()
    again = KafkaRejects(kafka_server.address, seals, instance)
    again.write(rejects)
    seen.same([(0, b"a"), (1, b"b")], [(reject.offset, reject.value) for reject in again.read()], "rejected events")
    again.close()


PUBLISHER = """
import sys
from dataflows.connectors.kafka.forecasts import KafkaForecasts
from tests.forecast_samples import sample_messages
bootstrap, instance, until = sys.argv[1], sys.argv[2], int(sys.argv[3])
sink = KafkaForecasts(bootstrap, instance, "nyc")
for index in range(sink.cursor("region/nyc"), until):
    sink.publish(sample_messages(index, 400), "region/nyc", index + 1)
    print(index, flush=True)
"""


def start_publisher(bootstrap: str, instance: str, until: int) -> subprocess.Popen[str]:
    """Start a publisher in its own process."""
    words = [sys.executable, "-c", PUBLISHER, bootstrap, instance, str(until)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_forecast_is_seen_once_wherever_the_publisher_is_killed(kafka: str, kafka_topic: Topics, seed: int) -> None:
    """Killed at random moments and started again, a publisher leaves every issue complete and once, and no open transaction."""
    chance = random.Random(seed)
    instance, issues = kafka_topic(0), 60
    for _ in range(3):
        child = start_publisher(kafka, instance, issues)
        assert child.stdout is not None
        # Some kills come after a few issues, some during the start; neither falls on a step boundary.
        for _ in range(chance.randrange(0, 12)):
            child.stdout.readline()
        time.sleep(chance.uniform(0, 0.06))
        child.kill()
        child.wait()
        child.stdout.close()
    last = start_publisher(kafka, instance, issues)
    last.communicate(timeout=60)
    assert last.returncode == 0
    assert issues_seen(kafka, instance) == dict.fromkeys(range(issues), CELLS)
