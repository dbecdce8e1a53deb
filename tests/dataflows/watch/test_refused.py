"""A notice that a receiver refuses for good: recorded and skipped, so that later ones get through."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from dataflows.connectors.alert_receivers import Refused, Webhook, read_receivers
from dataflows.watch.deliver import MOST_REFUSALS, Delivery
from dataflows.watch.places import listed_receivers
from ledger.store.log import Ledger
from schemas.errors import ConfigError, StoreUnavailable
from tests.dataflows.watch.test_deliver import NOW_S, open_and_close
from tests.ledger.places import Place


class Picky(HTTPServer):
    """Refuses notices of some transitions with a status, and notes those that it accepts."""

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), PickyHandler)
        self.status, self.attempts, self.accepted = status, list[str](), list[str]()


class PickyHandler(BaseHTTPRequestHandler):
    """Answers of the picky receiver; status 0 closes the connection without an answer."""

    def do_POST(self) -> None:
        """Refuse what opens, accept the rest."""
        assert isinstance(self.server, Picky)
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.attempts.append(said["key"])
        opened = said["transition"] == "opened"
        if opened and not self.server.status:
            return
        self.send_response(self.server.status if opened else 200)
        self.end_headers()
        if opened and self.server.status != 200:
            self.wfile.write(b"no \x1b[31msuch\nfield\x07")
        else:
            self.server.accepted.append(said["key"])

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def picky(request: pytest.FixtureRequest) -> Iterator[Picky]:
    """A receiver that refuses with the status of the test."""
    server = Picky(request.param)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    place = Place(tmp_path / "home")
    yield place.open()
    place.close()


class Hurry(threading.Event):
    """A stop that nobody waits for, set after some waits."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self.left = waits

    def wait(self, timeout: float | None = None) -> bool:
        """Count, and return at once."""
        self.left -= 1
        if self.left <= 0:
            self.set()
        return self.is_set()


def delivery_to(picky: Picky, ledger: Ledger, folder: Path) -> Delivery:
    """The delivery to it, as after a start."""
    return Delivery(ledger, Webhook("hook", f"http://127.0.0.1:{picky.server_port}", "test", b"s"), folder, "test", lambda: NOW_S)


@pytest.mark.parametrize("picky", [400, 404], indirect=True)
def test_a_notice_that_is_refused_is_skipped_after_ten_attempts(picky: Picky, ledger: Ledger, tmp_path: Path) -> None:
    """Attempts are counted over a restart; then the refusal is recorded without control characters, and later notices arrive."""
    folder = tmp_path / "told"
    delivery = delivery_to(picky, ledger, folder)
    open_and_close(ledger, range(1))
    delivery.run(Hurry(MOST_REFUSALS - 1), lambda: 0.0)
    [row] = listed_receivers(ledger, folder)
    assert (MOST_REFUSALS - 1, 2, 0) == (len(picky.attempts), row["undelivered"], row["refused"])
    assert f"receiver hook: expected status 2xx, got {picky.status}: no [31msuch field" == row["error"]
    delivery_to(picky, ledger, folder).run(Hurry(2), lambda: 0.0)
    [row] = listed_receivers(ledger, folder)
    assert (MOST_REFUSALS + 1, 1) == (len(picky.attempts), len(picky.accepted))
    assert (0, None, "", 1) == (row["undelivered"], row["failing_since"], row["error"], row["refused"])
    assert isinstance(row["last_refused"], list)
    assert ["opened"] == [one["transition"] for one in row["last_refused"]]


@pytest.mark.parametrize("picky", [0, 302, 408, 425, 429, 503], indirect=True)
def test_a_notice_that_may_be_accepted_later_is_kept(picky: Picky, ledger: Ledger, tmp_path: Path) -> None:
    """A server that is busy, sends elsewhere, or closes connections is asked as long as it takes: nothing is skipped."""
    folder = tmp_path / "told"
    delivery = delivery_to(picky, ledger, folder)
    open_and_close(ledger, range(1))
    delivery.run(Hurry(2 * MOST_REFUSALS), lambda: 0.0)
    [row] = listed_receivers(ledger, folder)
    assert (2, 0, 2 * MOST_REFUSALS) == (row["undelivered"], row["refused"], row["failures"])
    picky.status = 200
    delivery.run(Hurry(1), lambda: 0.0)
    assert 2 == len(picky.accepted)
    [row] = listed_receivers(ledger, folder)
    assert (0, 0, "") == (row["undelivered"], row["failures"], row["error"])


@pytest.mark.parametrize("url", ["http://host:99999", "http://host:x", "http://[::1", "http://a b/", "http://hôte/", "http://host:0"])
def test_an_address_that_no_request_can_have_is_refused(url: str, tmp_path: Path) -> None:
    """A port out of bounds, a broken IPv6 address, a space and letters beyond ASCII are errors of the file."""
    path = tmp_path / "receivers.json"
    path.write_text(json.dumps({"receivers": [{"name": "am", "kind": "alertmanager", "url": url}]}), "utf-8")
    with pytest.raises(ConfigError, match="receiver am: url: expected http"):
        read_receivers(path, "test")


def test_a_label_that_is_too_long_fails_the_notice_alone(ledger: Ledger, tmp_path: Path) -> None:
    """A host that cannot be encoded is a failed attempt, and does not end the thread of its receiver."""
    delivery = Delivery(ledger, Webhook("hook", f"http://{'a' * 70}.org", "test", b"s"), tmp_path / "told", "test", lambda: NOW_S)
    open_and_close(ledger, range(1))
    with pytest.raises(StoreUnavailable, match="receiver hook: expected an answer") as caught:
        delivery.step()
    assert not isinstance(caught.value, Refused)


def test_a_damaged_place_is_named(ledger: Ledger, tmp_path: Path) -> None:
    """A place that holds no JSON is an error that says which file, and what to do."""
    hook = Webhook("hook", "http://127.0.0.1:9", "test", b"s")
    (tmp_path / "hook.json").write_text("{", "utf-8")
    with pytest.raises(ConfigError, match=r"hook\.json: expected a receiver's place.*delete it"):
        Delivery(ledger, hook, tmp_path, "test", lambda: NOW_S)
