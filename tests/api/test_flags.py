"""Feature flags over OFREP: what a client gets, and that the stock provider and ours say the same of a real process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openfeature import api as openfeature
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import GeneralError
from openfeature.flag_evaluation import Reason
from openfeature.provider import AbstractProvider

from dataflows.jobs.flags import remove_flag, set_flag
from dataflows.jobs.parameters import set_parameter
from ledger.store.log import Ledger
from ridecast.open_feature import HomeProvider
from schemas.configuration.settings import Settings
from schemas.errors import StoreUnavailable
from schemas.records.records import FlagSet
from tests.api.client import Client
from tests.api.test_serve import PROGRAM
from tests.api.town import Town, build_town

PATH = "/ofrep/v1/evaluate/flags"
SPLIT = [{"variant": "on", "share_milli": 600}, {"variant": "off", "share_milli": 400}]
DEFINITIONS: dict[str, dict[str, object]] = {
    "page": {"variants": {"on": True, "off": False}, "default": "off", "rules": [{"regions": ["nyc"], "variant": "on"}, {"split": SPLIT}]},
    "colour": {"variants": {"red": "#f00", "blue": "#00f"}, "default": "red"},
    "rows": {"variants": {"few": 10, "many": 500}, "default": "few", "rules": [{"cells": ["dr5"], "variant": "many"}]},
    "rate": {"variants": {"low": 1, "high": 2.5}, "default": "low"},
    "layout": {"variants": {"a": {"columns": 2}}, "default": "a"},
    "old": {"variants": {"on": True, "off": False}, "default": "off", "state": "disabled", "rules": [{"variant": "on"}]},
}


def define(ledger: Ledger) -> None:
    """All flags of these tests."""
    for key, definition in DEFINITIONS.items():
        assert set_flag(ledger, key, json.dumps(definition), lambda: 1_780_000_000_000_000, author="test", reason="a test")


def ask(client: Client, key: str = "", **context: object) -> httpx.Response:
    """An evaluation, of all flags without a key."""
    return client.post(f"{PATH}/{key}" if key else PATH, json.dumps({"context": context}).encode())


@pytest.fixture
def asked(growing_town: Town) -> Client:
    """A client of a town with flags."""
    define(growing_town.ledger)
    return growing_town.client()


def test_one_flag(asked: Client, growing_town: Town) -> None:
    """Value, variant, reason, and the entry that defines it; nothing is cached by others."""
    found = ask(asked, "page", region="nyc")
    [index] = [one.index for one in growing_town.ledger.scan("control", kind=FlagSet) if one.record.flag == "page"]
    expected = {"key": "page", "value": True, "variant": "on", "reason": "TARGETING_MATCH", "metadata": {"log": "control", "index": index}}
    assert (200, expected, "no-store") == (found.status_code, found.json(), found.headers["cache-control"])
    assert "SPLIT" == ask(asked, "page", targetingKey="rider-1").json()["reason"]
    assert 1.0 == ask(asked, "rate").json()["value"]
    assert '"value":1.0' in ask(asked, "rate").text


@pytest.mark.parametrize(
    ("key", "body", "status", "code"),
    [
        ("none", b"{}", 404, "FLAG_NOT_FOUND"),
        ("page", b"{}", 400, "TARGETING_KEY_MISSING"),
        ("page", b"{", 400, "PARSE_ERROR"),
        ("page", b"[1]", 400, "PARSE_ERROR"),
        ("page", b'{"context": NaN}', 400, "PARSE_ERROR"),
        ("page", b'{"context": 3}', 400, "INVALID_CONTEXT"),
        ("page", b'{"context": {"region": ["nyc"]}}', 400, "INVALID_CONTEXT"),
    ],
)
def test_errors_have_the_form_of_the_protocol(asked: Client, key: str, body: bytes, status: int, code: str) -> None:
    """A code of OpenFeature and one sentence, with the key."""
    found = asked.post(f"{PATH}/{key}", body)
    assert (status, {"key", "errorCode", "errorDetails"}, key, code) == (
        found.status_code,
        found.json().keys(),
        found.json()["key"],
        found.json()["errorCode"],
    )
    assert "\n" not in found.json()["errorDetails"]


def test_a_body_that_is_too_large_is_a_problem(asked: Client) -> None:
    """It is not read to its end."""
    assert 413 == asked.post(f"{PATH}/page", b'{"context": "' + b"x" * 20_000 + b'"}').status_code


def test_all_flags_at_once_have_a_version(asked: Client, growing_town: Town) -> None:
    """The ETag is that of the answer: 304 while nothing changes for this context, another after a change."""
    first = ask(asked, targetingKey="rider-1")
    assert (200, sorted(DEFINITIONS)) == (first.status_code, [one["key"] for one in first.json()["flags"]])
    etag = first.headers["etag"]

    def again(**context: object) -> int:
        async def send() -> int:
            transport = httpx.ASGITransport(app=asked.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://ridecast") as http:
                return (await http.post(PATH, json={"context": context}, headers={"if-none-match": etag})).status_code

        import asyncio

        return asyncio.run(send())

    assert [304, 200] == [again(targetingKey="rider-1"), again(targetingKey="rider-1", region="nyc")]
    set_parameter(growing_town.ledger, "publishing", "off", lambda: 1_780_000_000_000_000, author="test", reason="no flag")
    assert 304 == again(targetingKey="rider-1")
    remove_flag(growing_town.ledger, "old", lambda: 1_780_000_000_000_000, author="test", reason="a test")
    assert 200 == again(targetingKey="rider-1")
    assert "old" not in [one["key"] for one in ask(asked, targetingKey="rider-1").json()["flags"]]
    failed = [one for one in ask(asked).json()["flags"] if "errorCode" in one]
    assert [("page", "TARGETING_KEY_MISSING")] == [(one["key"], one["errorCode"]) for one in failed]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with flags, closed."""
    folder = tmp_path_factory.mktemp("flags")
    town = build_town(folder, slots=2)
    define(town.ledger)
    town.ledger.close()
    town.blobs.close()
    return folder


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    """A real process that serves the home."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "RIDECAST_HOME": str(home), "RIDECAST_API_PORT": str(port), "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            httpx.get(f"http://127.0.0.1:{port}/v1/live", timeout=1.0).raise_for_status()
            break
        except httpx.HTTPError:
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    process.send_signal(signal.SIGTERM)
    process.wait(15)


@pytest.fixture(scope="module", params=["stock", "ours"])
def provider(request: pytest.FixtureRequest, home: Path) -> Iterator[AbstractProvider]:
    """The stock OFREP provider over HTTP, and ours on the home."""
    if request.param == "ours":
        made: AbstractProvider = HomeProvider(Settings.from_env({"RIDECAST_HOME": str(home)}))
    else:
        made = OFREPProvider(request.getfixturevalue("address"))
    yield made
    made.shutdown()
    if isinstance(made, OFREPProvider):
        made.session.close()


@pytest.fixture
def sdk(provider: AbstractProvider) -> OpenFeatureClient:
    """A client of the SDK."""
    openfeature.set_provider(provider, "ridecast")
    return openfeature.get_client("ridecast")


NYC = EvaluationContext(attributes={"region": "nyc", "cell": "dr5ru7"})
RIDER = EvaluationContext("rider-1")


def test_both_providers_say_what_the_definitions_say(sdk: OpenFeatureClient) -> None:
    """Values of every type, with variant, reason and the entry of the definition."""
    page = sdk.get_boolean_details("page", False, NYC)
    assert (True, "on", Reason.TARGETING_MATCH) == (page.value, page.variant, page.reason)
    assert {"log", "index"} == page.flag_metadata.keys()
    assert (False, Reason.SPLIT) == ((shared := sdk.get_boolean_details("page", True, RIDER)).value, shared.reason)
    assert ("#f00", Reason.STATIC) == ((colour := sdk.get_string_details("colour", "", NYC)).value, colour.reason)
    assert (500, 10) == (sdk.get_integer_value("rows", 0, NYC), sdk.get_integer_value("rows", 0, RIDER))
    assert Reason.DEFAULT == sdk.get_integer_details("rows", 0, RIDER).reason
    assert 1.0 == sdk.get_float_value("rate", 0.0, NYC)
    assert {"columns": 2} == sdk.get_object_value("layout", {}, NYC)
    assert (False, Reason.DISABLED) == ((old := sdk.get_boolean_details("old", True, NYC)).value, old.reason)


def test_both_providers_give_the_default_and_the_code_of_an_error(sdk: OpenFeatureClient) -> None:
    """The calling code's default, the reason ERROR, and the code that says why."""
    cases = [
        (sdk.get_boolean_details("none", True, NYC), "FLAG_NOT_FOUND"),
        (sdk.get_boolean_details("page", True), "TARGETING_KEY_MISSING"),
        (sdk.get_boolean_details("page", True, EvaluationContext(attributes={"region": 3})), "INVALID_CONTEXT"),
        (sdk.get_boolean_details("colour", True, NYC), "TYPE_MISMATCH"),
    ]
    for details, code in cases:
        assert (True, Reason.ERROR, code) == (details.value, details.reason, details.error_code), details


def test_a_thousand_keys_are_shared_out_alike(home: Path, address: str) -> None:
    """Ours says of 1,000 keys what the API says over one connection: the same variant each."""
    ours = HomeProvider(Settings.from_env({"RIDECAST_HOME": str(home)}))
    different = []
    with httpx.Client(base_url=address) as http:
        for number in range(1_000):
            key = f"rider-{number}"
            theirs = http.post(f"{PATH}/page", json={"context": {"targetingKey": key}}).json()
            own = ours.resolve_boolean_details("page", False, EvaluationContext(key))
            if (own.variant, own.value) != (theirs["variant"], theirs["value"]):
                different.append(key)
    ours.shutdown()
    assert [] == different


def test_our_provider_sees_a_change_within_its_time(tmp_path: Path) -> None:
    """Within `refresh_s` it may say what was; after that, what is."""
    town, now_s = build_town(tmp_path, slots=1), [0.0]
    define(town.ledger)
    ours = HomeProvider(Settings.from_env({"RIDECAST_HOME": str(tmp_path)}), refresh_s=2.0, monotonic=lambda: now_s[0])
    assert "#f00" == ours.resolve_string_details("colour", "").value
    changed = DEFINITIONS["colour"] | {"default": "blue"}
    set_flag(town.ledger, "colour", json.dumps(changed), lambda: 1_780_000_000_000_000, author="test", reason="a test")
    assert "#f00" == ours.resolve_string_details("colour", "").value
    now_s[0] = 2.0
    assert "#00f" == ours.resolve_string_details("colour", "").value
    ours.shutdown()
    town.ledger.close()
    town.blobs.close()


def test_without_the_sdk_the_error_says_what_to_install() -> None:
    """Importing our provider without the extra names the extra."""
    program = "import sys; sys.modules['openfeature'] = None; import ridecast.open_feature"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ImportError: the OpenFeature SDK is not installed; install it with: pip install 'ridecast[flags]'" in found.stderr


def test_our_provider_goes_on_while_the_ledger_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read last is said, with the reason STALE; before the first reading there is only an error."""
    town, now_s = build_town(tmp_path, slots=1), [0.0]
    define(town.ledger)
    ours, late = (HomeProvider(Settings.from_env({"RIDECAST_HOME": str(tmp_path)}), monotonic=lambda: now_s[0]) for _ in range(2))
    assert Reason.STATIC == ours.resolve_string_details("colour", "").reason

    def away(*_: object) -> None:
        raise StoreUnavailable("the ledger is away")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "head", away)
        now_s[0] = 1.0
        stale = ours.resolve_string_details("colour", "")
        assert ("#f00", Reason.STALE) == (stale.value, stale.reason)
        with pytest.raises(GeneralError, match="the ledger is away"):
            late.resolve_string_details("colour", "")
    now_s[0] = 2.0
    assert Reason.STATIC == ours.resolve_string_details("colour", "").reason
    for provider in (ours, late):
        provider.shutdown()
    town.ledger.close()
    town.blobs.close()
