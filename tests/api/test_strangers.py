"""What a stranger can make the API do: no redirect of his making, no echo without bound, no names of hosts, no body for a 304."""

from dataclasses import replace

import pytest
from starlette.requests import Request
from starlette.responses import Response

from api.app import RESOURCES
from api.openapi import document
from api.problems import LONGEST_DETAIL, LONGEST_PATH
from api.recent import MOST_ANSWERS, RecentAnswers
from schemas.records.record_codec import encode
from schemas.records.records import JobAbandoned, JobFailed, JobLeased, JobStarted, JobSucceeded, RunStarted, RunStopped
from tests.api.client import Client
from tests.api.town import Town
from tests.state.decide.test_job_steps import HOURLY

PATH = "/v1/regions/nyc/forecasts"


@pytest.mark.parametrize("path", ["/v1/regions/", "/v1/health/", "//evil.example/v1/regions/"])
def test_no_address_is_made_from_the_host(client: Client, path: str) -> None:
    """A trailing slash is 404 and not a redirect to whatever Host the client sent."""
    answer = client.get(path, host="evil.example")
    assert (404, None) == (answer.status_code, answer.headers.get("location"))
    assert "evil.example/v1" not in answer.headers.get("location", "")


@pytest.mark.parametrize(
    "path",
    [
        f"{PATH}?target={'9' * 5_000}",
        f"{PATH}?{'x' * 5_000}=1",
        f"{PATH}?cell={'y' * 5_000}",
        f"/v1/regions/{'z' * 5_000}",
        f"/{'n' * 5_000}",
        f"/v1/ledger/{'l' * 5_000}/entries/1",
    ],
)
def test_what_is_sent_comes_back_shortened(client: Client, path: str) -> None:
    """A problem never repeats more of a request than a person can read."""
    answer = client.get(path)
    assert 400 <= answer.status_code < 500
    body = answer.json()
    assert len(body["detail"]) <= LONGEST_DETAIL
    assert len(body["instance"]) <= LONGEST_PATH
    assert len(answer.content) < 1_500


@pytest.mark.parametrize("accepted", ["gzip;q=0", "gzip;q=0, *", "br", "identity", "", "gzip;q=nonsense"])
@pytest.mark.parametrize("path", [PATH, "/openapi.json", "/v1/regions/nyc"])
def test_gzip_is_sent_only_to_who_takes_it(client: Client, path: str, accepted: str) -> None:
    """A quality of zero is a refusal."""
    answer = client.get(path, accept_encoding=accepted)
    assert (200, None) == (answer.status_code, answer.headers.get("content-encoding"))
    assert "gzip" == client.get("/openapi.json", accept_encoding="br, *;q=0.1").headers["content-encoding"]


@pytest.mark.parametrize(
    "path",
    [
        PATH,
        f"{PATH}?cell=dr5reg",
        f"{PATH}?target=2014-05-06T01:00",
        "/v1/models",
        "/openapi.json",
        "/",
        "/v1/ledger/region/nyc/checkpoint",
        "/v1/regions/nyc/cells/dr5reg/history",
        "/v1/regions/nyc/cells/dr5reg/track",
    ],
)
def test_a_304_has_the_headers_of_its_answer(client: Client, path: str) -> None:
    """Cache-Control, ETag and Vary are those of the 200, as caches need them; there is no body."""
    full = client.get(path)
    held = client.get(path, if_none_match=full.headers["etag"])
    assert (200, 304, b"") == (full.status_code, held.status_code, held.content)
    for name in ("cache-control", "etag", "vary", "x-content-type-options"):
        assert full.headers[name] == held.headers[name]
    assert "Accept-Encoding" == full.headers["vary"]


def test_a_304_makes_no_body(town: Town, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has the version is told so before anything is read or written out for it."""
    paths = (PATH, f"{PATH}?target=2014-05-06T01:00", "/v1/regions/nyc/cells/dr5reg/history", "/v1/regions/nyc/cells/dr5reg/track")
    tags = {path: client.get(path).headers["etag"] for path in paths}

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a body was made")

    for name in ("api.prepared.PreparedIssue.selected", "api.history.count_slots", "api.tracks._point"):
        monkeypatch.setattr(name, fail)
    monkeypatch.setattr(type(town.blobs), "get", fail)
    for path, tag in tags.items():
        assert 304 == client.get(path, if_none_match=tag).status_code


def test_hosts_and_versions_are_not_for_the_public(growing_town: Town) -> None:
    """An entry of `runs` shows neither host nor packages nor source nor its bytes; its hash is shown, and other logs are whole."""
    started = RunStarted(
        run="r1",
        command="run nyc",
        started_at_us=1,
        host="secret-host",
        environment=bytes(32),
        packages="secret-package==1.2.3",
        source='{"topic": "secret-topic"}',
        processes=2,
    )
    growing_town.ledger.append("runs", 0, [encode(started), encode(RunStopped(run="r1", stopped_at_us=2, sizes={}))])
    growing_town.ledger.flush()
    client = growing_town.client()
    answer = client.get("/v1/ledger/runs/entries/1")
    entries = [client.get(f"/v1/ledger/runs/entries/{index}") for index in range(growing_town.ledger.head("runs").size)]
    assert all("secret" not in each.text for each in entries)
    shown = next(each.json() for each in entries if each.json()["kind"] == "RunStarted")
    assert (None, ["host", "packages", "source"], "run nyc", None) == (
        shown["payload"],
        shown["redacted"],
        shown["record"]["command"],
        shown["record"]["host"],
    )
    assert 64 == len(shown["leaf_hash"])
    size = growing_town.ledger.head("runs").size
    bundle = client.get(f"/v1/ledger/runs/tile/entries/000.p/{size}", accept="*/*")
    assert (403, "urn:ridecast:problem:redacted") == (bundle.status_code, bundle.json()["type"])
    assert 200 == client.get(f"/v1/ledger/runs/tile/0/000.p/{size}", accept="*/*").status_code
    assert answer.status_code == 200
    whole = client.get("/v1/ledger/region/nyc/entries/1").json()
    assert ([], True) == (whole["redacted"], bool(whole["payload"]))


def test_what_jobs_ran_and_printed_is_not_for_the_public(growing_town: Town) -> None:
    """Entries of `jobs` show no host, command, argument or output, and no bytes; what ran when and how it ended is shown."""
    run, at_us = bytes(16), 1_400_000_000_000_000
    job = replace(HOURLY, arguments=("--to", "/secret/archive"))
    leased = JobLeased(run=run, name=job.name, interval="x", owner="secret-host-1", token=1, attempt=1, at_us=at_us, until_us=at_us)
    ends = {"run": run, "token": 1, "at_us": at_us}
    records = (
        job,
        leased,
        JobStarted(**ends, command=("/secret/python",)),  # type: ignore[arg-type]
        JobFailed(**ends, attempt=1, duration_ms=1, error="secret", tail="secret", retry_after_s=0),  # type: ignore[arg-type]
        JobAbandoned(**ends, by="secret-host-2", last=False, why="its holder secret-host-1 was silent"),  # type: ignore[arg-type]
        JobSucceeded(**ends, duration_ms=7, tail="secret"),  # type: ignore[arg-type]
    )
    growing_town.ledger.append("jobs", 0, [encode(record) for record in records])
    growing_town.ledger.flush()
    client = growing_town.client()
    entries = [client.get(f"/v1/ledger/jobs/entries/{index}") for index in range(growing_town.ledger.head("jobs").size)]
    assert [200] * len(records) == [each.status_code for each in entries]
    assert [] == [each.json()["kind"] for each in entries if "secret" in each.text or each.json()["payload"] is not None]
    assert ("nightly", 7) == (entries[1].json()["record"]["name"], entries[-1].json()["record"]["duration_ms"])
    size = growing_town.ledger.head("jobs").size
    bundle = client.get(f"/v1/ledger/jobs/tile/entries/000.p/{size}", accept="*/*")
    assert (403, "urn:ridecast:problem:redacted") == (bundle.status_code, bundle.json()["type"])
    assert 200 == client.get(f"/v1/ledger/jobs/tile/0/000.p/{size}", accept="*/*").status_code


def test_every_parameter_is_bounded() -> None:
    """Each text in the document has a longest length, a form or a closed set, and each number a smallest and a largest value."""
    unbounded = []
    for operation in RESOURCES:
        for parameter in operation.parameters:
            schema = parameter.schema
            bounded = {
                "integer": {"minimum", "maximum"} <= schema.keys(),
                "string": bool({"maxLength", "pattern", "format", "enum"} & schema.keys()),
                None: "enum" in schema,
            }[schema.get("type")]  # type: ignore[index]  # the schemas here have a type that is a text
            if not bounded:
                unbounded.append((operation.name, parameter.name))
    assert [] == unbounded
    assert document(RESOURCES)["openapi"] == "3.1.0"


@pytest.mark.parametrize(
    ("path", "low", "high"),
    [(f"{PATH}?top=", 1, 1_000), ("/v1/regions/nyc?hours=", 1, 168), ("/v1/regions/nyc/cells/dr5reg/track?hours=", 1, 48)],
)
def test_the_documented_bounds_hold(client: Client, path: str, low: int, high: int) -> None:
    """The smallest and the largest documented value are accepted, and one beyond each is refused."""
    assert [200, 200, 422, 422] == [client.get(f"{path}{value}").status_code for value in (low, high, low - 1, high + 1)]


def test_an_answer_is_repeated_only_for_the_same_question() -> None:
    """Address, query, media type, coding and held version make the question; another token forgets all; the number is bounded."""

    def asked(query: bytes = b"", **headers: str) -> Request:
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        return Request({"type": "http", "raw_path": b"/a", "query_string": query, "headers": pairs})

    recent, answer = RecentAnswers(), Response(b"answer")
    assert recent.find(1, asked()) is None
    recent.keep(asked(user_agent="one"), answer)
    assert answer is recent.find(1, asked(user_agent="other"))
    for other in (asked(b"top=1"), asked(accept="text/html"), asked(accept_encoding="gzip"), asked(if_none_match='"a"')):
        assert recent.find(1, other) is None
    assert recent.find(2, asked()) is None
    for number in range(2 * MOST_ANSWERS):
        recent.keep(asked(b"%d" % number), answer)
    assert MOST_ANSWERS == len(recent._answers)
    recent.find(3, asked())
    large = Response(bytes(9 << 20))
    recent.keep(asked(b"1"), large)
    recent.keep(asked(b"2"), large)
    assert (large, None) == (recent.find(3, asked(b"1")), recent.find(3, asked(b"2")))
