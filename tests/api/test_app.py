"""What lies around every resource: problems instead of traces, methods, media types, the page and its parts."""

import doctest
import importlib
import logging
import pkgutil
import re

import pytest

import api
from api import regions
from api.answers import accepts
from api.app import OPERATIONS
from tests.api.client import Client
from tests.api.town import Town

MODULES = [module.name for module in pkgutil.iter_modules(api.__path__, "api.") if module.name != "api.page"]


@pytest.mark.parametrize("name", MODULES)
def test_documented_examples_run(name: str) -> None:
    """The examples in the docstrings give what they say."""
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_an_unexpected_error_is_logged_once_and_not_shown(
    town: Town, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug of ours is 500 with problem+json, its trace in the log and nowhere else."""

    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(regions, "_summary", fail)
    with caplog.at_level(logging.ERROR):
        answer = town.client().get("/v1/regions")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert [record.getMessage() for record in caplog.records] == ["GET /v1/regions failed"]
    assert "secret detail" in caplog.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_only_reading_is_allowed(client: Client, method: str) -> None:
    """Any other method is 405 and says which are allowed."""
    answer = client.send(method, "/v1/regions")
    assert (405, "application/problem+json", {"GET", "HEAD"}) == (
        answer.status_code,
        answer.headers["content-type"],
        set(re.findall(r"\w+", answer.headers["allow"])),
    )


def test_head_has_the_headers_of_get(client: Client) -> None:
    """HEAD is GET without a body."""
    head, get = client.send("HEAD", "/v1/regions/nyc/forecasts"), client.get("/v1/regions/nyc/forecasts")
    assert (200, b"", get.headers["etag"]) == (head.status_code, head.content, head.headers["etag"])


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("/v1/regions", "application/json", 200),
        ("/v1/regions", "text/html, */*;q=0.1", 200),
        ("/v1/regions", "text/html", 406),
        ("/v1/regions", "application/json;q=0, */*", 406),
        ("/metrics", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", 200),
        ("/metrics", "application/json", 406),
        ("/", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 200),
    ],
)
def test_an_answer_that_the_client_does_not_take_is_not_sent(client: Client, path: str, accept: str, status: int) -> None:
    """406 where the Accept header excludes what is here."""
    answer = client.get(path, accept=accept)
    assert (status, status == 406) == (answer.status_code, answer.headers["content-type"] == "application/problem+json")


def test_an_empty_accept_header_takes_everything() -> None:
    """No preference is no refusal; a quality that is no number is none."""
    assert accepts("", "application/json")
    assert not accepts("application/json;q=high", "application/json")


def test_an_unknown_path_points_to_the_document(client: Client) -> None:
    """404 for a path says where the paths are."""
    answer = client.get("/v2/nothing")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:ridecast:problem:no-such-resource")
    assert "/openapi.json" in answer.json()["detail"]


def test_the_page_loads_nothing_from_elsewhere(client: Client) -> None:
    """Every address in the page's files is one of ours, every file that it names is served, and a policy holds it to that."""
    paths = [operation.path for operation in OPERATIONS if not operation.documented]
    for path in paths:
        answer = client.get(path, accept="*/*")
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert {"http://www.w3.org/2000/svg"} >= set(re.findall(r"https?://[^\"'\s<>]+", answer.text))
        for named in re.findall(r"(?:src|href)=\"(/page/[^\"]+)\"|from \"\./([^\"]+)\"", answer.text):
            assert (named[0] or f"/page/{named[1]}") in paths
        assert client.get(path, accept="*/*", if_none_match=answer.headers["etag"]).status_code == 304


def test_large_answers_are_compressed_for_who_takes_it(client: Client) -> None:
    """gzip on request, plain otherwise, with one ETag."""
    path = "/v1/regions/nyc/forecasts"
    packed, plain = client.get(path, accept_encoding="gzip"), client.get(path, accept_encoding="identity")
    assert (packed.headers.get("content-encoding"), plain.headers.get("content-encoding")) == ("gzip", None)
    assert (plain.json(), plain.headers["etag"]) == (packed.json(), packed.headers["etag"])
