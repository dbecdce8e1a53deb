"""Delivery of alerts: to the real Alertmanager and to webhooks, at least once, in order, over outages."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from dataflows.connectors.alert_receivers import Alertmanager, Notice, Receiver, Webhook, read_receivers, signature
from dataflows.watch.deliver import Delivery
from dataflows.watch.hub import HubLog
from ledger.store.continuing import continue_log
from ledger.store.log import Ledger
from schemas.errors import ConfigError, StoreUnavailable
from schemas.records.records import ALERTS_LOG
from state.decide.alert_decisions import QUIET_US
from state.detect.signals import MACHINE, Severity, Signal
from tests.ledger.places import Place
from tests.services.alertmanager import AlertmanagerServer

NOW_S = 1_700_000_000.0
START_US = int(NOW_S) * 1_000_000 - 10 * QUIET_US


def signal(number: int, at_us: int, *, firing: bool = True) -> Signal:
    """A signal about the machine that nothing explains."""
    said = f"Probe {number} failed."
    return Signal("probe", f"odd {number}", "", f"part:{number}", MACHINE, MACHINE, at_us, Severity.WARNING, firing, 1.0, 0.5, "s", said)


def open_and_close(ledger: Ledger, numbers: range) -> None:
    """Alerts that open and are resolved."""
    hub = HubLog(ledger)
    hub.observe([signal(number, START_US) for number in numbers], {"": START_US})
    hub.observe([signal(number, START_US + 1, firing=False) for number in numbers], {"": START_US + 1})
    hub.observe([], {"": START_US + 1 + QUIET_US})
    assert [] == hub.hub.open


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    place = Place(tmp_path / "home")
    yield place.open()
    place.close()


class Noted:
    """A receiver that notes what another one accepts."""

    def __init__(self, inner: Receiver) -> None:
        self.name, self.inner, self.accepted = inner.name, inner, list[Notice]()

    def send(self, notice: Notice, now_s: float) -> None:
        """Pass on, then note."""
        self.inner.send(notice, now_s)
        self.accepted.append(notice)

    def remind(self, alerts: object, now_s: float) -> None:
        """Nothing."""


def test_nothing_is_lost_while_alertmanager_is_down(ledger: Ledger, tmp_path: Path, alertmanager_server: AlertmanagerServer) -> None:
    """50 alerts open and close while Alertmanager is down: all arrive, in order, none twice under one key, over a restart of ours."""
    noted = Noted(Alertmanager("am", f"http://{alertmanager_server.address}", "test"))
    delivery = Delivery(ledger, noted, tmp_path / "cursors", "test", lambda: NOW_S)
    alertmanager_server.kill()
    open_and_close(ledger, range(50))
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="receiver am: expected an answer"):
            delivery.step()
    alertmanager_server.start()
    assert 100 == Delivery(ledger, noted, tmp_path / "cursors", "test", lambda: NOW_S).step()
    assert 0 == Delivery(ledger, noted, tmp_path / "cursors", "test", lambda: NOW_S).step()
    assert (50, 50) == (alertmanager_server.received("firing"), alertmanager_server.received("resolved"))
    assert 100 == len({notice.key for notice in noted.accepted})
    assert [notice.index for notice in noted.accepted] == sorted(notice.index for notice in noted.accepted)
    for number in range(50):
        assert ["opened", "resolved"] == [n.transition for n in noted.accepted if n.alert.shown.kind == f"odd {number}"]


def test_alertmanager_shows_an_open_alert(ledger: Ledger, tmp_path: Path, alertmanager_server: AlertmanagerServer) -> None:
    """Alertmanager's own list has an open alert with its labels."""
    HubLog(ledger).observe([signal(1, START_US)], {"": START_US})
    Delivery(
        ledger, Alertmanager("am", f"http://{alertmanager_server.address}", "test"), tmp_path / "cursors", "test", lambda: NOW_S
    ).step()
    [shown] = json.loads(alertmanager_server.get("/api/v2/alerts")[1])
    assert ("odd 1", "warning", "test") == tuple(shown["labels"][name] for name in ("alertname", "severity", "instance"))


def test_a_log_that_was_continued_is_told_from_its_cut(tmp_path: Path) -> None:
    """A delivery that runs while the log of alerts loses entries and is continued tells all later ones, under keys of their own."""
    place = Place(tmp_path / "home")
    ledger = place.open()
    HubLog(ledger).observe([signal(1, START_US)], {"": START_US})
    kept = ledger.head(ALERTS_LOG).size
    HubLog(ledger).observe([signal(2, START_US)], {"": START_US})
    noted = Noted(Silent())
    told = Delivery(ledger, noted, tmp_path / "cursors", "test", lambda: NOW_S)
    assert 2 == told.step()
    place.close()
    place.set_back(kept, ALERTS_LOG)
    ledger = place.open()
    told = Delivery(ledger, noted, tmp_path / "cursors", "test", lambda: NOW_S)
    assert 0 == told.step()
    continue_log(ledger, ALERTS_LOG, "restored from a copy")
    HubLog(ledger).observe([signal(2, START_US)], {"": START_US})
    assert 1 == told.step()
    assert 0 == told.step() == Delivery(ledger, noted, tmp_path / "cursors", "test", lambda: NOW_S).step()
    assert ["odd 1", "odd 2", "odd 2"] == [notice.alert.shown.kind for notice in noted.accepted]
    assert 3 == len({notice.key for notice in noted.accepted})
    place.close()


class Silent:
    """A receiver that accepts everything."""

    name = "silent"

    def send(self, notice: Notice, now_s: float) -> None:
        """Nothing."""

    def remind(self, alerts: object, now_s: float) -> None:
        """Nothing."""


class Hook(HTTPServer):
    """A webhook's receiver: notes what comes and answers with a status."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HookHandler)
        self.status, self.came = 500, list[tuple[dict[str, str], bytes]]()


class HookHandler(BaseHTTPRequestHandler):
    """Answers of the hook."""

    def do_POST(self) -> None:
        """Note and answer."""
        assert isinstance(self.server, Hook)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.came.append((dict(self.headers), body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A hook that answers 500 at first."""
    server = Hook()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_failing_webhook_gets_everything_later_and_blocks_nobody(ledger: Ledger, tmp_path: Path, hook: Hook) -> None:
    """A hook that answers 500 keeps its place, another is told meanwhile; repeats have the same key and a right signature."""
    failing = Webhook("failing", f"http://127.0.0.1:{hook.server_port}/a", "test", b"secret")
    delivery = Delivery(ledger, failing, tmp_path / "cursors", "test", lambda: NOW_S)
    other = Hook()
    other.status = 204
    thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    healthy = Delivery(
        ledger, Webhook("healthy", f"http://127.0.0.1:{other.server_port}", "test", b"s"), tmp_path / "cursors", "test", lambda: NOW_S
    )
    open_and_close(ledger, range(3))
    stop = threading.Event()
    running = threading.Thread(target=delivery.run, args=(stop, lambda: 0.0))
    running.start()
    assert 6 == healthy.step()
    other.shutdown()
    thread.join()
    other.server_close()
    while len(hook.came) < 2:
        stop.wait(0.02)
    hook.status = 200
    while len({headers["Idempotency-Key"] for headers, _ in hook.came}) < 6:
        stop.wait(0.02)
    stop.set()
    running.join()
    keys = [headers["Idempotency-Key"] for headers, _ in hook.came]
    assert keys[0] == keys[1]
    assert [json.loads(body)["key"] for _, body in hook.came] == keys
    for headers, body in hook.came:
        assert headers["Ridecast-Signature"] == signature(b"secret", headers["Ridecast-Timestamp"], body)


def test_receivers_are_read_from_a_file(tmp_path: Path) -> None:
    """A file of receivers is checked row by row, and what is wrong is named."""
    (tmp_path / "secret").write_text("abc\n", "utf-8")
    path = tmp_path / "receivers.json"
    rows = [{"name": "am", "kind": "alertmanager", "url": "http://a:9093"}]
    rows += [{"name": "hook", "kind": "webhook", "url": "https://b/c", "secret_file": "secret"}]
    path.write_text(json.dumps({"receivers": rows}), "utf-8")
    assert ["am", "hook"] == [one.name for one in read_receivers(path, "test")]
    for change, said in (
        ({"kind": "pager"}, "kind: expected"),
        ({"url": "ftp://x"}, "url: expected"),
        ({"name": "../x"}, "name: expected"),
    ):
        path.write_text(json.dumps({"receivers": [rows[0] | change]}), "utf-8")
        with pytest.raises(ConfigError, match=said):
            read_receivers(path, "test")
