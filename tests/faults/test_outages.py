"""Servers that go away while a run uses them: the run waits, says so, answers meanwhile, and ends with nothing lost or double.

| fault | expected | test |
|---|---|---|
| database restarted, then suspended | forecaster waits and goes on; API process stays | `test_servers_come_and_go` |
| broker killed for longer than one try | the same; each try announced | `test_servers_come_and_go` |
| a child suspended | noticed, killed, restarted, said | `test_a_suspended_child_is_replaced` |
| SIGTERM under load | all processes gone within 8 s | `test_a_signal_ends_everything_under_load` |
| SIGTERM twice with a suspended child | all gone at once | `test_a_second_signal_ends_everything_at_once` |
| as process 1 | SIGTERM obeyed, no process left | `test_a_run_as_process_1` |
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.faults.seen import Seen
from tests.ridecast.calls import environment
from tests.services.kafka import KafkaServer
from tests.services.postgres import PostgresServer
from tests.services.process import free_port
from tests.simulation.live import LiveTopic, Producer, caught_up, last_closed
from tests.simulation.reference import assert_live
from tests.simulation.runs import Place, closed_slots, last_words, payloads_at, settle, start_run, wait_until
from tests.simulation.world import make_world

SEED = 11
ALL = (0, 1, 2)
ENDS_WITHIN_S = 8.0


def children_of(process: subprocess.Popen[bytes]) -> dict[str, psutil.Process]:
    """Running children of a run by role."""
    found: dict[str, psutil.Process] = {}
    for child in psutil.Process(process.pid).children():
        with suppress(psutil.Error):
            words = child.cmdline()
            if "worker" in words:
                found[words[words.index("--tied") + 1]] = child
    return found


def said(place: Place) -> str:
    """All that a run has reported."""
    return (place.home / "run.log").read_text("utf-8")


def gone(processes: Iterator[psutil.Process] | list[psutil.Process]) -> bool:
    """Whether none of them runs."""
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def healthy(port: int) -> bool:
    """Whether the API process answers, whatever it says."""
    with suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}/v1/health", timeout=15).status_code < 600
    return False


@pytest.mark.long
@pytest.mark.timeout(600)
def test_servers_come_and_go(
    kafka_server: KafkaServer, postgres_server: PostgresServer, postgres_url: str, tmp_path: Path, seen: Seen
) -> None:
    """Database and broker go away and come back in one live run: it waits and says so, the API process stays, every slot is right."""
    print(f"seed {SEED}")
    world, port = make_world(SEED, hours=4), free_port()
    log = LiveTopic(kafka_server.address, kafka_server.fresh_topic(3), 3)
    place = settle(world, tmp_path / "place", rides=log.rides, idle_after_s=0.7, database=postgres_url, api_port=port, hang_after_s=10)
    producer = Producer(world, log)
    run = start_run(place, 1)
    try:
        producer.feed(60, ALL)
        wait_until(lambda: caught_up(place, producer), what="the first hour")
        wait_until(lambda: healthy(port), what="the API")
        api = children_of(run)["api"]
        postgres_server.stop()
        time.sleep(1.7)
        postgres_server.start()
        producer.feed(100, ALL)
        wait_until(lambda: caught_up(place, producer), what="the slots after the database's restart")
        kafka_server.kill()
        wait_until(lambda: said(place).count("forecaster ended with status 5: Kafka at") >= 2, what="two tries without a broker")
        assert healthy(port)
        kafka_server.start()
        producer.feed(160, ALL)
        wait_until(lambda: caught_up(place, producer), what="the slots after the broker's restart")
        postgres_server.pause()
        time.sleep(15)
        postgres_server.resume()
        producer.feed(10_000, ALL)
        wait_until(lambda: caught_up(place, producer), what="the slots after the database was suspended")
        assert run.poll() is None
        assert api.is_running()
        run.send_signal(signal.SIGTERM)
        assert run.wait(ENDS_WITHIN_S) == 0
    except AssertionError as cause:
        raise AssertionError(f"{cause}; output:\n{last_words(place)}") from cause
    finally:
        run.kill()
        run.wait()
    assert_nothing_lost(place, seen)
    seen.told(said(place), "; restarting in ")


def assert_nothing_lost(place: Place, seen: Seen) -> None:
    """Every slot that was closed equals the reference's."""
    found, stores = closed_slots(payloads_at(place)), place.open()
    assert_live(place.world, found, stores)
    stores.close()
    seen.checked(len(found), "slots equal to the reference")


@pytest.fixture
def fed(tmp_path: Path) -> Place:
    """A settled place with all rides in files, whose run notices a hang within seconds."""
    return settle(make_world(SEED, hours=2), tmp_path / "place", api_port=free_port(), hang_after_s=8)


@pytest.mark.parametrize("role", ["forecast", "publish", "api"])
def test_a_suspended_child_is_replaced(fed: Place, role: str, seen: Seen) -> None:
    """Each kind of process that is suspended is replaced by a new one, with a line that says which, why and what next."""
    run = start_run(fed, 1)
    try:
        wait_until(lambda: last_closed(fed) is not None and healthy(port_of(fed)), what="a slot and an answer")
        first = children_of(run)[role]
        time.sleep(2)
        first.suspend()
        name = {"forecast": "forecaster", "publish": "publisher"}.get(role, role)
        wait_until(lambda: f" WARNING run: {name} did not respond for " in said(fed), what="the line")
        wait_until(lambda: role in children_of(run) and children_of(run)[role].pid != first.pid, what="another process")
        run.send_signal(signal.SIGTERM)
        assert run.wait(ENDS_WITHIN_S) == 0
    except AssertionError as cause:
        raise AssertionError(f"{cause}; output:\n{last_words(fed)}") from cause
    finally:
        run.kill()
        run.wait()
    [line] = [line for line in said(fed).splitlines() if "did not respond" in line]
    assert "and was killed; restarting in 0." in line
    seen.told(line, "did not respond for ")
    assert_nothing_lost(fed, seen)


def port_of(place: Place) -> int:
    """Port of a place's API."""
    return int(place.environment["RIDECAST_API_PORT"])


@pytest.mark.alone
def test_a_signal_ends_everything_under_load(fed: Place, seen: Seen) -> None:
    """SIGTERM in the middle of a replay at full speed ends all processes within 8 s, with nothing killed."""
    run = start_run(fed, 2)
    try:
        wait_until(lambda: last_closed(fed) is not None, what="a slot")
        children = list(children_of(run).values())
        begun = time.monotonic()
        run.send_signal(signal.SIGTERM)
        assert run.wait(ENDS_WITHIN_S) == 0
        assert time.monotonic() - begun < ENDS_WITHIN_S
        assert gone(children)
    except AssertionError as cause:
        raise AssertionError(f"{cause}; output:\n{last_words(fed)}") from cause
    finally:
        run.kill()
        run.wait()
    assert "did not stop in time" not in said(fed)
    assert_nothing_lost(fed, seen)


@pytest.mark.alone
def test_a_second_signal_ends_everything_at_once(fed: Place, seen: Seen) -> None:
    """While the first SIGTERM waits for a suspended child, a second one kills all processes, and the exit code says so."""
    run = start_run(fed, 1)
    try:
        # A child that has not begun its work would be ended by the signal itself.
        wait_until(lambda: len(children_of(run)) == 3 and last_closed(fed) is not None, what="the children at work")
        children = list(children_of(run).values())
        children_of(run)["forecast"].suspend()
        run.send_signal(signal.SIGTERM)
        time.sleep(1.0)
        assert run.poll() is None
        begun = time.monotonic()
        run.send_signal(signal.SIGTERM)
        assert run.wait(2.0) == 128 + signal.SIGTERM
        assert time.monotonic() - begun < 2.0
        wait_until(lambda: gone(children), what="the children's end")
    except AssertionError as cause:
        raise AssertionError(f"{cause}; output:\n{last_words(fed)}") from cause
    finally:
        run.kill()
        run.wait()
    seen.told(said(fed), "killed by a second SIGTERM")
    again = start_run(fed, 1)
    try:
        wait_until(lambda: len(children_of(again)) == 3, what="the children of the next run")
        again.send_signal(signal.SIGTERM)
        assert again.wait(ENDS_WITHIN_S) == 0
    finally:
        again.kill()
        again.wait()
    assert_nothing_lost(fed, seen)


def test_a_run_as_process_1(fed: Place, tmp_path: Path, seen: Seen) -> None:
    """As process 1 of a container a run tells its service manager its life, obeys SIGTERM and leaves no process."""
    path = str(tmp_path / "notify")
    words = [sys.executable, "-m", "ridecast", "run", "--region", str(fed.region)]
    variables = environment(**fed.environment, NOTIFY_SOCKET=path, WATCHDOG_USEC="2000000", RIDECAST_LOG_FORMAT="json")
    variables.pop("WATCHDOG_PID", None)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified, (fed.home / "run.log").open("ab") as output:
        notified.bind(path)
        notified.settimeout(60)
        outer = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *words],
            env=variables,
            cwd=fed.home,
            stdout=output,
            stderr=output,
        )
        try:
            told: list[str] = []
            while not any(line.startswith("READY=1") for line in told):
                told += notified.recv(4096).decode().splitlines()
            wait_until(lambda: last_closed(fed) is not None, what="a slot")
            [first] = psutil.Process(outer.pid).children()
            inside = [first, *first.children(recursive=True)]
            first.send_signal(signal.SIGTERM)
            assert outer.wait(ENDS_WITHIN_S + 2) == 0
            notified.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    told += notified.recv(4096).decode().splitlines()
        finally:
            outer.kill()
            outer.wait()
    assert gone(inside)
    assert "WATCHDOG=1" in told
    seen.told("\n".join(told), "STOPPING=1")
    assert_nothing_lost(fed, seen)
    lines = [json.loads(line) for line in said(fed).splitlines()]
    assert {"run", "api"} <= {line["process"] for line in lines}
    assert all(line.keys() >= {"time", "level", "process", "message"} for line in lines)
    assert os.getpid() != 1
