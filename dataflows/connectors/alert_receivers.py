"""Where alerts are sent: Alertmanager's v2 API, and webhooks that are signed. One call sends one notice, or raises.

A webhook gets `Idempotency-Key`, the same however often a notice is sent, `Ridecast-Timestamp`, seconds since 1970, and
`Ridecast-Signature`, "v1=" and the HMAC-SHA256 of the timestamp, a dot and the body, in hexadecimal.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from schemas.errors import ConfigError, StoreUnavailable
from schemas.times import iso
from state.decide.alert_document import as_json
from state.decide.alerts import Alert

TIMEOUT_S = 10.0
LONGEST_REASON = 200  # characters of a refusal that are kept
WORTH_WAITING = (408, 425, 429)  # of the 4xx: too slow, too early, too many


class Refused(StoreUnavailable):
    """A receiver says with a status of 4xx that it does not take this notice, and repeating it is unlikely to help."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One transition of an alert.

    Attributes:
        key: The same whenever it is sent.
        index: Of its entry in the log of alerts.
        transition: opened, changed or resolved.
        before: The alert before it; None if it opened.
        alert: The alert after it.
    """

    key: str
    index: int
    transition: str
    before: Alert | None
    alert: Alert


class Receiver(Protocol):
    """Somebody who is told of alerts."""

    name: str

    def send(self, notice: Notice, now_s: float) -> None:
        """Send one notice.

        Raises:
            Refused: the receiver does not take this notice.
            StoreUnavailable: it was not accepted.
        """
        ...

    def remind(self, alerts: Sequence[Alert], now_s: float) -> None:
        """Say again which alerts are open; receivers that need no reminder do nothing.

        Raises:
            StoreUnavailable: it was not accepted.
        """
        ...


class Alertmanager:
    """Alertmanager's v2 API; an alert whose labels change ends under the old ones and begins under the new.

    Args:
        url: Its base, such as http://127.0.0.1:9093.
        instance: The label that tells several homes apart.
    """

    def __init__(self, name: str, url: str, instance: str) -> None:
        self.name, self._url, self._instance = name, url.rstrip("/") + "/api/v2/alerts", instance

    def send(self, notice: Notice, now_s: float) -> None:
        """As `Receiver.send`."""
        said = []
        if notice.before is not None and self._labels(notice.before) != self._labels(notice.alert):
            said.append(self._alert(notice.before, now_s, over=True))
        said.append(self._alert(notice.alert, now_s, over=notice.transition == "resolved"))
        self._post(said)

    def remind(self, alerts: Sequence[Alert], now_s: float) -> None:
        """Without it Alertmanager takes alerts as resolved after its `resolve_timeout`."""
        if alerts:
            self._post([self._alert(alert, now_s, over=False) for alert in alerts])

    def _post(self, alerts: Sequence[Mapping[str, object]]) -> None:
        post(self.name, self._url, json.dumps(alerts).encode(), {})

    def _labels(self, alert: Alert) -> dict[str, str]:
        shown = alert.shown
        named = {"region": shown.region, "subject": shown.subject, "instance": self._instance, "alert": alert.id}
        return {"alertname": shown.kind, "severity": shown.severity} | {name: value for name, value in named.items() if value}

    def _alert(self, alert: Alert, now_s: float, *, over: bool) -> dict[str, object]:
        shown = alert.shown
        cited = ", ".join(f"{one.log} {one.first} to {one.last}" for one in shown.evidence)
        made: dict[str, object] = {
            "labels": self._labels(alert),
            "annotations": {"summary": shown.message, "signals": str(len(shown.signals)), "evidence": cited},
            "startsAt": iso(min(shown.first_us, int(now_s * 1_000_000))),
        }
        return made | ({"endsAt": datetime.fromtimestamp(now_s, UTC).isoformat()} if over else {})


class Webhook:
    """A signed webhook.

    Args:
        secret: Signs the notices; the receiver knows it too.
    """

    def __init__(self, name: str, url: str, instance: str, secret: bytes) -> None:
        self.name, self._url, self._instance, self._secret = name, url, instance, secret

    def send(self, notice: Notice, now_s: float) -> None:
        """As `Receiver.send`."""
        said = {"version": 1, "instance": self._instance, "key": notice.key, "index": notice.index, "transition": notice.transition}
        body = json.dumps(said | {"alert": as_json(notice.alert, iso)}).encode()
        at_s = str(int(now_s))
        headers = {"Idempotency-Key": notice.key, "Ridecast-Timestamp": at_s, "Ridecast-Signature": signature(self._secret, at_s, body)}
        post(self.name, self._url, body, headers)

    def remind(self, alerts: Sequence[Alert], now_s: float) -> None:
        """Nothing: what a webhook has accepted it knows."""


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """The signature of a notice.

    >>> signature(b"secret", "1400000000", b"{}")[:19]
    'v1=77da604df4c9ec74'
    """
    return "v1=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def post(name: str, url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """POST JSON; redirects are not followed.

    Raises:
        Refused: a status of 4xx that does not ask for a repetition.
        StoreUnavailable: no answer in time, or another status than 2xx.
    """
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        said = answer.read(10_000).decode("utf-8", "replace")
    except (OSError, HTTPException, ValueError) as cause:  # ValueError: a host or a path that cannot be encoded
        raise StoreUnavailable(f"receiver {name}: expected an answer within {TIMEOUT_S:g} s: {cause!r}") from cause
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        # What it says is printed on terminals: without control characters.
        reason = " ".join("".join(letter if letter.isprintable() else " " for letter in said).split())[:LONGEST_REASON]
        refused = 400 <= answer.status < 500 and answer.status not in WORTH_WAITING
        raise (Refused if refused else StoreUnavailable)(f"receiver {name}: expected status 2xx, got {answer.status}: {reason}")


def is_address(url: str) -> bool:
    """Whether a request can be sent there; the address itself may be secret, so that nobody prints it.

    >>> is_address("https://example.org/hook"), is_address("https://example.org:99999/hook"), is_address("example.org")
    (True, False, False)
    """
    if not (url.isascii() and url.isprintable()) or " " in url:
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port out of bounds, or a broken IPv6 address
        return False


def read_receivers(path: Path, instance: str) -> list[Receiver]:
    """The receivers that a JSON file lists; docs/alerts.md describes it.

    Raises:
        ConfigError: the file or one of its rows cannot be used.
    """
    found: list[Receiver] = []
    try:
        rows = json.loads(path.read_text("utf-8"))["receivers"]
        for row in rows:
            name, kind, url = str(row["name"]), row["kind"], str(row["url"])
            if not name.replace("-", "").isalnum() or name in {one.name for one in found}:
                raise ConfigError(f"{path}: name: expected letters, digits and -, each name once, got {name!r}")
            if not is_address(url):
                raise ConfigError(f"{path}: receiver {name}: url: expected http://... or https://..., got another address")
            if kind == "alertmanager":
                found.append(Alertmanager(name, url, instance))
            elif kind == "webhook":
                found.append(Webhook(name, url, instance, (path.parent / row["secret_file"]).read_bytes().strip()))
            else:
                raise ConfigError(f"{path}: receiver {name}: kind: expected alertmanager or webhook, got {kind!r}")
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise ConfigError(f'{path}: expected {{"receivers": [{{"name", "kind", "url", "secret_file"}}]}}: {cause!r}') from cause
    return found
